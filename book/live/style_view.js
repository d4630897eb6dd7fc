/** Repainting: the controls, the picture and its divider, saving. */

import { weights } from "./blend.js";
import { divider } from "./divider.js";
import { bytes, fileName, pixels, seconds } from "./format.js";
import { get, hideProblem, meter, save, showProblem } from "./page.js";
import { encodePng } from "./png.js";
import { asProblem } from "./problem.js";

/** @typedef {import("./source.js").Photo & {key: number}} Current */

const FIRST = "great_wave";

/**
 * @param {import("./engine.js").Engine} engine
 * @param {import("./types").ModelFile & import("./types").ModelFacts} model
 * @param {import("./types").Samples} samples
 * @returns {{repaint: (photo: Current) => void, photo: () => Current | null}}
 */
export function styleView(engine, model, samples) {
  const styles = model.styles ?? [];
  const names = styles.map(({ name }) => name);
  const second = get("second", HTMLSelectElement);
  const [mix, strength, size, stroke] = ["mix", "strength", "size", "stroke"].map((id) => get(id, HTMLInputElement));
  const [asIs, colors] = ["as-is", "colors"].map((id) => get(id, HTMLInputElement));
  const [saveButton, share, cancel] = ["save", "share", "cancel"].map((id) => get(id, HTMLButtonElement));
  const [status, compare, credit] = ["status", "compare", "credit"].map((id) => get(id, HTMLElement));
  const view = divider(compare);
  const clock = meter(get("progress", HTMLProgressElement), cancel, get("clock", HTMLElement));
  /** @type {Current | null} */
  let photo = null;
  /** The last one that could be read. @type {Current | null} */
  let good = null;
  /** @type {{pixels: import("./types").Pixels, name: string} | null} */
  let result = null;
  let shown = -1; // key of the photo that is on the screen
  let running = false;
  let again = false; // something has changed meanwhile

  get("styles", HTMLElement).replaceChildren(...styles.map(thumb));
  second.append(...styles.map(({ name, title }) => new Option(title, name)));

  /** @param {import("./types").StyleFacts} style */
  function thumb({ name, title, artist }) {
    const label = Object.assign(document.createElement("label"), { className: "thumb", title: `${artist}: ${title}` });
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "style", value: name, checked: name === FIRST });
    input.setAttribute("aria-label", `${title}, ${artist}`);
    const file = samples.styles[name]?.file;
    if (file) label.append(Object.assign(new Image(160, 160), { src: `samples/${file}`, alt: "" }));
    label.append(input);
    return label;
  }

  const chosen = () => document.querySelector("input[name=style]:checked")?.getAttribute("value") ?? names[0];

  /** From half to twice as large, in even ratios. */
  const factor = () => 2 ** (Number(stroke.value) / 2);

  function describe() {
    const facts = samples.styles[chosen()];
    get("style-title", HTMLElement).textContent = facts ? `${facts.author}: ${facts.title}` : chosen();
    get("mix-value", HTMLOutputElement).value = `${mix.value} %`;
    get("strength-value", HTMLOutputElement).value = `${strength.value} %`;
    get("size-value", HTMLOutputElement).value = asIs.checked ? "as it is" : `${size.value} pixels`;
    get("stroke-value", HTMLOutputElement).value = factor() === 1 ? "as learned" : `${factor().toFixed(1)} times`;
    stroke.setAttribute("aria-valuetext", get("stroke-value", HTMLOutputElement).value);
    size.disabled = asIs.checked;
    get("share-field", HTMLElement).hidden = !second.value || second.value === chosen();
  }

  /** @returns {import("./types").StyleJob} */
  function job() {
    const { blob, name, key } = /** @type {Current} */ (photo);
    return {
      type: "stylize",
      blob,
      name,
      key,
      model: { file: model.file, bytes: model.bytes },
      largest: model.largest,
      size: asIs.checked ? null : Number(size.value),
      weights: weights(names, chosen(), second.value, Number(mix.value) / 100),
      stroke: factor(),
      strength: Number(strength.value) / 100,
      keepColors: colors.checked,
    };
  }

  /** Paint with the present settings; what changes meanwhile is painted after it. @param {boolean} [quick] without the network */
  async function run(quick = false) {
    if (!photo) return;
    again = running;
    if (running) return;
    running = true;
    const mine = photo;
    const { key, name, credit: said } = mine;
    const labels = [chosen(), second.value && second.value !== chosen() ? `${second.value}-${mix.value}` : ""];
    hideProblem();
    clock.start();
    compare.setAttribute("aria-busy", "true");
    saveButton.disabled = share.disabled = !quick || !result;
    try {
      const outcome = await engine.run(job(), ({ stage, done, total, what }) => {
        const texts = { download: `Fetching ${what} (${bytes(total)}) …`, decode: "Reading the photo …", compute: "Painting …" };
        if (status.textContent !== texts[stage]) status.textContent = texts[stage];
        clock.at(stage === "download" && total ? done / total : null);
      });
      if (!outcome.before || !outcome.after) return;
      show(outcome, key, said);
      good = mine;
      result = { pixels: outcome.after, name: fileName(name, labels.filter(Boolean).join("-")) };
    } catch (error) {
      const { kind } = asProblem(error);
      const cancelled = kind === "cancelled";
      again &&= !cancelled;
      if (kind === "input" && key !== shown && photo === mine) photo = good; // go on with the photo on the screen
      status.textContent = cancelled ? "Stopped. Change anything to begin again." : "There is no new picture: see the message above.";
      showProblem(error, { again: () => run(), less: () => ((asIs.checked = false), (size.value = "256"), change()) });
    } finally {
      running = false;
      clock.stop();
      compare.setAttribute("aria-busy", "false");
      saveButton.disabled = share.disabled = !result;
      if (again) run();
    }
  }

  /** @param {import("./types").Outcome} outcome @param {number} key @param {string} said */
  function show({ before, after, seconds: took, threads, original, stroke: painted }, key, said) {
    if (!before || !after) return;
    view.show(before, after);
    compare.hidden = false;
    get("empty", HTMLElement).hidden = true;
    credit.textContent = said;
    const shrunk = original && asIs.checked && original.width !== before.width;
    const size = `${pixels(before.width, before.height)}${shrunk ? `, shrunk from ${pixels(original.width, original.height)}` : ""}`;
    const finer = painted && painted > factor() + 0.01 ? " Finer strokes need a smaller longer side." : "";
    status.textContent = (took ? `Painted in ${seconds(took)}: ${size}.` : `Ready: ${size}.`) + finer;
    get("threads", HTMLElement).textContent = `here on ${threads === 1 ? "one thread" : `${threads} threads`}`;
    if (key !== shown && !matchMedia("(prefers-reduced-motion: reduce)").matches) reveal();
    shown = key;
  }

  /** The first photo stands on the empty place until it is painted. @param {Blob} blob */
  function preview(blob) {
    const image = Object.assign(new Image(), { src: URL.createObjectURL(blob), alt: "The photo, not yet painted" });
    image.addEventListener("load", () => compare.hidden && get("empty", HTMLElement).replaceChildren(image));
    for (const type of ["load", "error"]) image.addEventListener(type, () => URL.revokeObjectURL(image.src));
  }

  /** The divider sweeps once over a new photo. */
  function reveal() {
    const begin = performance.now();
    let moved = false;
    compare.addEventListener("pointerdown", () => (moved = true), { once: true });
    compare.addEventListener("keydown", () => (moved = true), { once: true });
    /** @param {number} now */
    const step = (now) => {
      if (moved) return;
      const share = Math.min(1, Math.max(0, now - begin) / 900);
      view.set(100 - 60 * (1 - (1 - share) ** 3));
      if (share < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  function change() {
    describe();
    run();
  }

  get("settings", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());
  get("settings", HTMLFormElement).addEventListener("change", ({ target }) => {
    if (target !== strength && target !== colors) change();
  });
  for (const input of [mix, size, stroke]) input.addEventListener("input", describe);
  // These cost no run of the network, so they follow at once.
  for (const input of [strength, colors]) {
    input.addEventListener("input", () => {
      describe();
      run(true);
    });
  }
  cancel.addEventListener("click", () => engine.cancel());
  saveButton.addEventListener("click", async () => {
    if (result) save(await encodePng(result.pixels), result.name);
  });
  share.hidden = !navigator.canShare?.({ files: [new File([], "print.png", { type: "image/png" })] });
  share.addEventListener("click", async () => {
    if (!result) return;
    const file = new File([await encodePng(result.pixels)], result.name, { type: "image/png" });
    await navigator.share({ files: [file] }).catch(() => {}); // the reader has closed the dialog
  });
  describe();

  return {
    photo: () => photo,
    repaint(given) {
      photo = given;
      if (compare.hidden) preview(given.blob);
      run();
    },
  };
}
