/** Pictures by two networks in one place: flipped by button, key and finger, or with a divider between them. */

import { divider } from "./divider.js";
import { begin, copy, keeper, say } from "./lab.js";
import { json } from "./needs.js";
import { get, hideProblem, showProblem } from "./page.js";
import { Problem } from "./problem.js";

/** @typedef {"a" | "b"} Side */

const FOLDER = "flip";
const PHOTO = "photo"; // the photograph itself, a view of every task
const FIRST = "enlarge";
const SIDES = /** @type {Side[]} */ (["a", "b"]);

begin();

const [task, samples, a, b] = ["task", "samples", "a", "b"].map((id) => get(id, HTMLSelectElement));
const lists = { a, b };
const stage = get("stage", HTMLElement);
const box = get("compare", HTMLElement);
const handle = /** @type {HTMLElement} */ (box.querySelector("[role=slider]"));
const canvases = { a: canvas("before"), b: canvas("after") };
const [split, twice] = ["split", "twice"].map((id) => get(id, HTMLButtonElement));

/** @type {import("./types").FlipFacts} */
let facts;
/** @type {Side} */
let on = "a";
let asked = 0;
/** @type {Map<string, Promise<HTMLImageElement>>} */
const fetched = new Map();

/** @param {string} name */
function canvas(name) {
  return /** @type {HTMLCanvasElement} */ (box.querySelector(`canvas.${name}`));
}

/** @param {Side} side */
const nameOf = (side) => lists[side].selectedOptions[0]?.text ?? side;
const view = divider(box, () => [nameOf("a"), nameOf("b")]);
/** @param {HTMLButtonElement} button */
const pressed = (button) => button.getAttribute("aria-pressed") === "true";
/** @param {HTMLButtonElement} button @param {boolean} yes */
const press = (button, yes) => button.setAttribute("aria-pressed", String(yes));

// --- what is shown ------------------------------------------------------------------

/** @param {Side} side */
function pathOf(side) {
  const shown = lists[side].value;
  return `${FOLDER}/${shown === PHOTO ? PHOTO : task.value}_${samples.value}${shown === PHOTO ? "" : `_${shown}`}.webp`;
}

/** @param {string} path @returns {Promise<HTMLImageElement>} */
function picture(path) {
  const known = fetched.get(path);
  if (known) return known;
  const image = new Image();
  image.src = path;
  const decoded = image.decode().then(
    () => image,
    () => {
      fetched.delete(path);
      throw new Problem("network", `“${path}” could not be fetched. Check the network, then try again.`);
    },
  );
  fetched.set(path, decoded);
  return decoded;
}

/** Both pictures anew: the newest choice only. */
async function compare() {
  const turn = ++asked;
  document.documentElement.dataset.settled = "";
  keep();
  try {
    const images = await Promise.all(SIDES.map((side) => picture(pathOf(side))));
    if (turn !== asked) return;
    hideProblem();
    SIDES.forEach((side, at) => {
      const { naturalWidth: width, naturalHeight: height } = images[at];
      Object.assign(canvases[side], { width, height });
      canvases[side].getContext("2d", { willReadFrequently: true })?.drawImage(images[at], 0, 0);
      box.style.setProperty("--ratio", String(width / height));
      box.style.setProperty("--side", String(width));
    });
    table();
    show();
    say("");
    document.documentElement.dataset.settled = "yes";
  } catch (error) {
    if (turn === asked) showProblem(error, { again: compare });
  }
}

/** One of both, or the divider between them. */
function show() {
  const both = pressed(split);
  box.classList.toggle("whole", !both);
  handle.hidden = !both;
  if (!both) view.set(on === "a" ? 100 : 0);
  const alt = facts.photos[samples.value].alt;
  for (const side of SIDES) {
    const made = lists[side].value === PHOTO ? "the photograph" : `${task.selectedOptions[0].text}: ${nameOf(side)}`;
    canvases[side].setAttribute("aria-label", `${alt} – ${made}`);
    canvases[side].setAttribute("aria-hidden", String(!both && side !== on));
    const row = /** @type {HTMLElement} */ (document.querySelector(`#judged [data-side="${side}"]`));
    row.dataset.on = both || side === on ? "yes" : "";
  }
  get("shown", HTMLElement).textContent = both ? `Left A, ${nameOf("a")}; right B, ${nameOf("b")}` : `${on.toUpperCase()}: ${nameOf(on)}`;
  keep();
}

function table() {
  const { numbers, style, words } = facts.tasks[task.value];
  const names = style ? ["of the photo lost", "of the painting lost"] : [task.value === "holes" ? "PSNR in the holes" : "PSNR", "perceptual distance"];
  ["first-head", "second-head"].forEach((id, at) => (get(id, HTMLElement).textContent = names[at]));
  get("words", HTMLElement).textContent = words;
  const rows = SIDES.map((side) => Object.values(numbers[samples.value][lists[side].value] ?? {}));
  SIDES.forEach((side, at) => {
    const row = /** @type {HTMLElement} */ (document.querySelector(`#judged [data-side="${side}"]`));
    /** @type {HTMLElement} */ (row.querySelector("th")).textContent = `${side.toUpperCase()}: ${nameOf(side)}`;
    row.querySelectorAll("td").forEach((cell, column) => {
      const [value, other] = [rows[at][column], rows[1 - at][column]];
      const more = !style && column === 0; // PSNR
      cell.textContent = value === undefined ? "–" : more ? `${value.toFixed(2)} dB` : value.toFixed(3);
      cell.classList.toggle("best", value !== undefined && other !== undefined && (more ? value > other : value < other));
    });
  });
}

// --- the state, and its link --------------------------------------------------------

const hash = () =>
  `#task=${task.value}&photo=${samples.value}&a=${a.value}&b=${b.value}&show=${on}&zoom=${pressed(twice) ? 2 : 1}${pressed(split) ? "&divider" : ""}`;
const keep = keeper(hash);

/** The networks of the task; what is asked for, if it is there. @param {URLSearchParams} [link] */
function networks(link) {
  const { views, first } = facts.tasks[task.value];
  const names = { ...views, [PHOTO]: "the photograph" };
  SIDES.forEach((side, at) => {
    lists[side].replaceChildren(...Object.entries(names).map(([value, name]) => new Option(name, value)));
    const wanted = link?.get(side) ?? "";
    lists[side].value = wanted in names ? wanted : first[at];
  });
}

/** What the address says, within what there is. */
function said() {
  const link = new URLSearchParams(location.hash.slice(1));
  const [wanted, photo] = [link.get("task") ?? "", link.get("photo") ?? ""];
  task.value = wanted in facts.tasks ? wanted : FIRST;
  samples.value = photo in facts.photos ? photo : Object.keys(facts.photos)[0];
  networks(link);
  on = link.get("show") === "b" ? "b" : "a";
  press(split, link.has("divider"));
  press(twice, link.get("zoom") === "2");
}

// --- hands --------------------------------------------------------------------------

function flip() {
  press(split, false);
  on = on === "a" ? "b" : "a";
  show();
}

/** One pixel as one or as two by two; what was in the middle stays there. */
function zoom() {
  const middle = (stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth;
  box.style.setProperty("--zoom", pressed(twice) ? "2" : "1");
  stage.scrollLeft = middle * stage.scrollWidth - stage.clientWidth / 2;
}

function credit() {
  const { title, credit } = facts.photos[samples.value];
  get("credit", HTMLElement).textContent = `Photograph: ${title}, ${credit}.`;
}

async function start() {
  facts = await json(`${FOLDER}/flip.json`);
  task.replaceChildren(...Object.entries(facts.tasks).map(([value, { name }]) => new Option(name, value)));
  samples.replaceChildren(...Object.entries(facts.photos).map(([value, { title }]) => new Option(title, value)));
  task.onchange = () => (networks(), compare());
  samples.onchange = () => (credit(), compare());
  for (const side of SIDES) lists[side].onchange = compare;
  get("flip", HTMLButtonElement).onclick = flip;
  split.onclick = () => {
    press(split, !pressed(split));
    if (pressed(split)) view.set(50);
    show();
  };
  twice.onclick = () => (press(twice, !pressed(twice)), zoom(), keep());
  const link = get("link", HTMLButtonElement);
  link.onclick = () => copy(new URL(`flip.html${hash()}`, location.href).href, link);
  // while one picture is shown whole, a finger flips and moves no divider
  stage.addEventListener("pointerdown", (event) => pressed(split) || event.stopPropagation(), true);
  box.addEventListener("click", () => pressed(split) || flip());
  addEventListener("keydown", (event) => {
    const busy = event.target instanceof Element && event.target.closest("a, button, select, input, [role=slider]");
    if (event.key !== " " || busy || event.repeat || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    flip();
    event.preventDefault();
  });
  const open = () => {
    said();
    credit();
    zoom();
    if (pressed(split)) view.set(50);
    return compare();
  };
  await open();
  addEventListener("hashchange", open);
}

start().catch((error) => showProblem(error, { again: () => location.reload() }));
