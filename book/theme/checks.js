// Chapters: questions that are checked in the page (book/checks.py says which), with the reader's own record of them, which stays in this browser until she exports it.
"use strict";
(() => {
  const KEY = "pltutorial.tries";
  const FILE = "pltutorial-answers.json";

  /** FNV-1a with 32 bits, as book/checks.py computes it. */
  const digest = (text) => {
    let value = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193);
    return (value >>> 0).toString(16).padStart(8, "0");
  };

  /** What a reader means by "0,5", "1/2", "65 025", "10^-7", "2e-3" or "34 %"; NaN if it is no number. */
  const parsed = (text) => {
    const given = text.normalize("NFKC").replace(/[\s%]/g, "").replace(/\u2212/g, "-").replace(/^\+/, "");
    const whole = /^-?[1-9]\d{0,2}(,\d{3})+$/.test(given) ? given.replace(/,/g, "") : given.replace(",", ".");
    const parts = whole.match(/^(-?[\d.]+(?:e-?\d+)?)(?:([/^])(-?[\d.]+))?$/i);
    if (!parts) return NaN;
    const [one, other] = [Number(parts[1]), Number(parts[3])];
    if (!parts[2]) return one;
    return parts[2] === "/" ? one / other : one ** other;
  };

  /** Whether an answer is near enough; the page holds no answer, only hashes of what is. */
  const right = ({ id, hashes, step }, said) => {
    const value = step ? parsed(said) : said;
    if (step && !Number.isFinite(value)) return false;
    return hashes.includes(digest(`${id}:${step ? Math.round(value / step) : value}`));
  };

  /** Local time to the second, as the package's own record writes it. */
  const stamp = (now = new Date()) => new Date(now.getTime() - 60000 * now.getTimezoneOffset()).toISOString().slice(0, 19);

  /** What is known of one question: how often it was tried, whether it is solved, what was said first. */
  const known = (tries, id) => {
    const mine = tries.filter((one) => one.label === id);
    return { count: mine.length, solved: mine.some((one) => one.solved), first: mine[0]?.said };
  };

  /** What `pltutorial progress --import` reads. */
  const exported = (tries) => JSON.stringify({ what: "pltutorial answers", version: 1, tries }, null, 1) + "\n";

  globalThis.pltutorialChecks = { digest, parsed, right, stamp, known, exported };
  if (typeof document === "undefined") return;

  // --- the record ---------------------------------------------------------------------

  let memory = []; // where the browser keeps nothing
  const read = () => {
    try {
      const tries = JSON.parse(localStorage.getItem(KEY) ?? "[]");
      return Array.isArray(tries) ? tries.filter((one) => one && typeof one.label === "string") : [];
    } catch {
      return memory;
    }
  };
  const write = (tries) => {
    memory = tries;
    try {
      localStorage.setItem(KEY, JSON.stringify(tries));
    } catch {
      // full or forbidden: it lasts as long as the page
    }
  };

  // --- the page -----------------------------------------------------------------------

  const make = (name, props = {}, ...children) => {
    const made = Object.assign(document.createElement(name), props);
    made.append(...children);
    return made;
  };
  const blocks = [...document.querySelectorAll(".checks[data-checks]")].map((place) => {
    const bytes = Uint8Array.from(atob(place.dataset.checks), (letter) => letter.charCodeAt(0));
    return { place, ...JSON.parse(new TextDecoder().decode(bytes)) };
  });
  const refreshers = [];
  const refresh = () => {
    const tries = read();
    refreshers.forEach((one) => one(tries));
  };

  /** One question: its field or its buttons, and what is said to the answer. */
  const row = (chapter, question) => {
    const { id, words, unit, options, measured } = question;
    const name = `check-${id.replace(/\W/g, "-")}`;
    const said = make("output", { id: `${name}-said` });
    said.setAttribute("role", "status");
    const answer = (text) => {
      if (!options && !Number.isFinite(parsed(text))) {
        said.textContent = "Give a number, such as 0.5, 1/2 or 2e-3.";
        return;
      }
      write([...read(), { time: stamp(), chapter, label: id, solved: right(question, text), said: text }]);
      refresh();
      if (!known(read(), id).solved && !measured) said.textContent = "Not yet: try again.";
    };
    const controls = make("span", { className: "controls" });
    const buttons = (options ?? []).map((option) => {
      const button = make("button", { type: "button", textContent: option });
      button.onclick = () => answer(option);
      return button;
    });
    const field = make("input", { id: name, type: "text", inputMode: "decimal", autocomplete: "off", size: 7 });
    field.setAttribute("aria-describedby", said.id);
    const submit = make("button", { type: "submit", textContent: measured ? "Commit" : "Check" });
    if (options) controls.append(...buttons);
    else controls.append(field, unit ? make("span", { textContent: unit }) : "", submit);
    const label = options ? make("span", { id: name, textContent: words }) : make("label", { htmlFor: name, textContent: words });
    const form = make("form", {}, label, controls, said);
    if (options) {
      form.setAttribute("role", "group");
      form.setAttribute("aria-labelledby", name);
    }
    form.onsubmit = (event) => {
      event.preventDefault();
      if (!options) answer(field.value);
    };
    refreshers.push((tries) => {
      const { count, solved, first } = known(tries, id);
      const ended = solved || (measured !== undefined && count > 0);
      form.classList.toggle("solved", solved);
      for (const one of [...buttons, field, submit]) one.disabled = ended;
      for (const button of buttons) {
        const chosen = ended && right(question, button.textContent);
        button.classList.toggle("right", chosen);
        button.setAttribute("aria-pressed", chosen ? "true" : "false");
      }
      if (measured !== undefined && count) {
        if (!options) field.value = first ?? "";
        said.textContent = `Measured: ${measured}${unit ? ` ${unit}` : ""}. ${solved ? "✓ Your prediction holds." : `You said ${first}.`}`;
      } else said.textContent = solved ? `✓ Right${count > 1 ? `, at try ${count}` : ""}.` : "";
      if (!count && !options) field.value = "";
    });
    return form;
  };

  /** How far the reader is in this chapter, and what she can do with the record. */
  const summary = (chapter) => {
    const ids = blocks.flatMap(({ questions }) => questions.map(({ id }) => id));
    const line = make("p");
    line.setAttribute("role", "status");
    refreshers.push((tries) => {
      const solved = ids.filter((id) => known(tries, id).solved).length;
      const all = new Set(tries.filter((one) => one.solved).map((one) => one.label)).size;
      line.textContent = `Of this chapter's ${ids.length} questions you have solved ${solved}; in the whole book ${all}. This is kept in your browser and sent nowhere.`;
    });
    const save = make("button", { type: "button", textContent: "Export" });
    save.onclick = () => {
      const address = URL.createObjectURL(new Blob([exported(read())], { type: "application/json" }));
      make("a", { href: address, download: FILE }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10000);
    };
    const reset = make("button", { type: "button", textContent: "Reset this chapter" });
    reset.onclick = () => {
      if (!confirm("Forget your answers to this chapter's questions?")) return;
      write(read().filter((one) => one.chapter !== chapter));
      refresh();
    };
    const how = make("p", { className: "how" }, "Export writes a file; ", make("code", { textContent: `pltutorial progress --import ${FILE}` }), " takes it into your record of the exercises.");
    return make("div", { className: "summary" }, line, make("div", { className: "buttons" }, save, reset), how);
  };

  for (const { place, chapter, questions, last } of blocks) {
    const predicts = questions.every(({ measured }) => measured !== undefined);
    place.setAttribute("role", "group");
    place.setAttribute("aria-label", predicts ? "Your prediction" : "Check your answers");
    place.append(make("p", { className: "head", textContent: predicts ? "Commit to your answer here: you have one try, then you see what was measured." : "Check your answers here." }));
    place.append(...questions.map((question) => row(chapter, question)));
    if (last) place.append(summary(chapter));
    place.hidden = false;
  }
  refresh();
  addEventListener("storage", ({ key }) => key === KEY && refresh()); // another page of the book
})();
