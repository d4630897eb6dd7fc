/** The lab of chapter 7: holes cut by hand, or noise, and two networks that differ in the loss alone. */

import { in8Bits } from "./damages.js";
import { divider } from "./divider.js";
import { EMBEDDED, asPictures, begin, copy, draw, inTurn, keeper, lists, pictureChoice, say, slider } from "./lab.js";
import { get, showProblem } from "./page.js";
import { cut, drag, hatched, noisy, psnr, scratch, share, verdict } from "./repair_jobs.js";
import { toPixels } from "./blend.js";

/** @typedef {import("./types").Planes} Planes */
/** @typedef {"given" | "pixel" | "combined" | "photo"} View */
/** @typedef {"pixel" | "combined"} Loss */

const SIDE = Math.min(320, Math.max(64, 8 * Math.round(Number(new URLSearchParams(location.search).get("side") ?? 256) / 8) || 256));
const FIRST = { photo: "chelsea", task: "holes", sigma: 35, left: "pixel", right: "combined" };
const LOSSES = /** @type {Loss[]} */ (["pixel", "combined"]);
const NAMES = { given: "Damaged", pixel: "Pixel loss", combined: "Combined loss", photo: "The photo" };
const STEP = 4; // pixels that a key moves the box
const KEPT = 30; // masks that can be taken back
const LAYER = "relu2_2";

const { engine, lacking } = begin();
const run = inTurn(engine);

/** @type {import("./types").LabFacts | undefined} */
let facts;
/** @type {Planes | undefined} */
let photo;
/** What the networks are given: with stripes where it is missing, or noisy. @type {Planes | undefined} */
let given;
/** @type {Float32Array<ArrayBuffer>} */
let mask = new Float32Array();
/** @type {Float32Array<ArrayBuffer>[]} */
let before = [];
/** @type {Partial<Record<Loss, Planes>>} */
let made = {};
let [seed, photos, versions] = [1, 0, 0];
let asked = false; // the networks are fetched when something is touched
let held = false; // a stroke is under way

const canvas = get("given", HTMLCanvasElement);
const samples = get("samples", HTMLSelectElement);
const [left, right] = ["left", "right"].map((id) => get(id, HTMLSelectElement));
const box = get("compare", HTMLElement);
/** @param {HTMLSelectElement} side */
const nameOf = (side) => NAMES[/** @type {View} */ (side.value)];
const view = divider(box, () => [nameOf(left), nameOf(right)]);

const task = () => (get("task-noise", HTMLInputElement).checked ? "noise" : "holes");
const sigma = () => Number(get("sigma", HTMLInputElement).value);
const radius = () => Number(get("radius", HTMLInputElement).value);

// --- what is shown ------------------------------------------------------------------

/** The damage anew; then it is the networks' turn. */
function refresh() {
  if (!photo) return;
  const holes = task() === "holes";
  given = holes ? hatched(photo, mask) : noisy(photo, sigma(), seed);
  draw(given, canvas);
  const said = holes ? `${(100 * share(mask)).toFixed(1)} % missing` : `noise of σ = ${sigma()}`;
  get("words", HTMLElement).textContent = said;
  canvas.setAttribute("aria-label", `The photo, ${said}.${holes ? " Arrows move a box, space cuts it out." : ""}`);
  get("undo", HTMLButtonElement).disabled = !before.length;
  get("clear", HTMLButtonElement).disabled = !share(mask);
  compare();
  keep();
  if (asked) judge();
}

/** The two pictures under the divider. */
function compare() {
  if (!given || !photo) return;
  /** @type {Record<View, Planes>} */
  const pictures = { given, photo, pixel: made.pixel ?? given, combined: made.combined ?? given };
  const sides = [left, right].map((side) => pictures[/** @type {View} */ (side.value)]);
  view.show(toPixels(sides[0]), toPixels(sides[1]));
  const waits = !made.combined;
  [left, right].forEach((side, at) => {
    const name = nameOf(side);
    const tag = /** @type {HTMLElement} */ (box.querySelectorAll(".tag")[at]);
    tag.textContent = waits && LOSSES.some((loss) => loss === side.value) ? `${name}: not yet` : name;
    box.querySelectorAll("canvas")[at].setAttribute("aria-label", tag.textContent);
  });
}

let judging = false;
let again = false; // something has been changed meanwhile

/** The networks' turn: the newest state only. */
async function judge() {
  again = true;
  if (judging || lacking) return;
  judging = true;
  document.documentElement.dataset.settled = "";
  try {
    while (again && facts && photo && given) {
      again = false;
      const [now, holes, whole, damaged, missing] = [photos, task() === "holes", photo, given, mask.slice()];
      if (holes && !share(missing)) {
        made = { pixel: photo, combined: photo };
        compare();
        table({}, "Nothing is missing: cut something out of the photo.");
        continue;
      }
      let seconds = 0;
      /** @type {Partial<Record<Loss, Planes>>} */
      const found = {};
      for (const loss of LOSSES) {
        const model = facts[/** @type {"inpaint_pixel"} */ (`${holes ? "inpaint" : "denoise"}_${loss}`)];
        const outcome = await run({ type: "repair", model, photo: damaged, mask: holes ? missing : undefined });
        found[loss] = in8Bits(/** @type {Planes} */ (outcome.planes));
        seconds += outcome.seconds;
      }
      if (now !== photos) continue; // another photo was taken
      made = found;
      compare();
      const shown = /** @type {Record<Loss, Planes>} */ (found);
      /** @type {Record<string, import("./repair_jobs.js").Judged>} */
      const judged = Object.fromEntries(LOSSES.map((loss) => [loss, { psnr: psnr(shown[loss], whole, holes ? missing : undefined) }]));
      if (!holes) judged.given = { psnr: psnr(in8Bits(damaged), whole) };
      table(judged, verdict(/** @type {Record<Loss, import("./repair_jobs.js").Judged>} */ (judged)));
      document.documentElement.dataset.update = (1000 * seconds).toFixed(0);
      if (again || held) continue;
      for (const name of Object.keys(judged)) {
        if (again) break;
        const picture = name === "given" ? in8Bits(damaged) : shown[/** @type {Loss} */ (name)];
        const { file, bytes } = facts.features;
        /** @type {import("./types").GramJob} */
        const job = { type: "gram", model: { file, bytes }, layer: LAYER, key: `repair ${now}`, version: String(++versions), reference: whole, picture, cell: [0, 0] };
        [judged[name].style, judged[name].feature] = (await run(job)).losses ?? [];
      }
      say(`Both networks: ${seconds.toFixed(2)} seconds, on this device.`);
      if (!again && now === photos) table(judged, verdict(/** @type {Record<Loss, import("./repair_jobs.js").Judged>} */ (judged)));
    }
    document.documentElement.dataset.settled = held ? "" : "yes";
  } catch (error) {
    showProblem(error, { again: judge });
  } finally {
    judging = false;
  }
}

/** @param {Record<string, import("./repair_jobs.js").Judged>} judged @param {string} said */
function table(judged, said) {
  get("psnr-head", HTMLElement).textContent = task() === "holes" ? "PSNR in the holes" : "PSNR";
  for (const row of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("#judged tr"))) {
    const name = row.dataset.view ?? "";
    const of = judged[name];
    const rival = name === "given" ? undefined : judged[name === "pixel" ? "combined" : "pixel"];
    const [decibels, features, style] = row.querySelectorAll("td");
    decibels.textContent = of ? `${of.psnr.toFixed(2)} dB` : "–";
    decibels.classList.toggle("best", Boolean(rival && of.psnr > rival.psnr));
    for (const [cell, judge] of /** @type {const} */ ([[features, "feature"], [style, "style"]])) {
      const value = of?.[judge];
      cell.textContent = of ? (value?.toPrecision(3) ?? "…") : "–";
      cell.classList.toggle("best", value !== undefined && value < (rival?.[judge] ?? 0));
    }
    if (name === "given") row.hidden = task() === "holes";
  }
  get("verdict", HTMLElement).textContent = said;
}

// --- the state, and its link --------------------------------------------------------

const hash = () => `#photo=${samples.value || FIRST.photo}&task=${task()}&sigma=${sigma()}&left=${left.value}&right=${right.value}`;
const keep = keeper(hash);

/** What the address says, within its bounds; returns the photo. */
function said() {
  const link = new URLSearchParams(location.hash.slice(1));
  get(`task-${link.get("task") === "noise" ? "noise" : "holes"}`, HTMLInputElement).checked = true;
  strength.set(Math.min(75, Math.max(1, Math.round(Number(link.get("sigma") ?? FIRST.sigma)) || FIRST.sigma)));
  for (const [name, side] of /** @type {const} */ ([["left", left], ["right", right]])) {
    const wanted = link.get(name) ?? FIRST[name];
    side.value = wanted in NAMES ? wanted : FIRST[name];
  }
  return link.get("photo") ?? FIRST.photo;
}

// --- hands --------------------------------------------------------------------------

const strength = slider({ id: "sigma", label: "Noise σ", range: [1, 75, 1], text: (value) => `${value} of 255`, change: () => ((asked = true), refresh()) });
const brush = slider({ id: "radius", label: "Brush", range: [2, 32, 1], text: (value) => `${2 * value} px`, change: () => place() });

/** What is cut out can be taken back. */
function remember() {
  before = [...before.slice(1 - KEPT), mask.slice()];
  asked = true;
}

/** Where an event lies, in pixels of the photo. @param {PointerEvent} event @returns {[number, number]} */
function at(event) {
  const { left: x, top: y, width, height } = canvas.getBoundingClientRect();
  return [((event.clientX - x) / width) * canvas.width, ((event.clientY - y) / height) * canvas.height];
}

/** The middle of the keyboard's box. */
const middle = { x: SIDE / 2, y: SIDE / 3 };

/** Its mark on the photo. */
function place() {
  const mark = get("brush", HTMLElement);
  const { width, height } = canvas;
  mark.style.setProperty("--column", String((middle.x + 0.5) / width));
  mark.style.setProperty("--row", String((middle.y + 0.5) / height));
  mark.style.setProperty("--wide", String((2 * radius() + 1) / width));
  mark.style.setProperty("--high", String((2 * radius() + 1) / height));
}

function paintable() {
  /** @type {[number, number] | undefined} */
  let last;
  canvas.addEventListener("pointerdown", (event) => {
    if (task() !== "holes" || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    remember();
    held = true;
    last = at(event);
    cut(mask, canvas.width, { x: last[0], y: last[1], radius: radius() });
    refresh();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = at(event);
    drag(mask, canvas.width, last, next, radius());
    last = next;
    refresh();
  });
  for (const type of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(type, () => {
      if (!last) return;
      last = undefined;
      held = false;
      judge(); // now the features too
    });
  }
  const mark = get("brush", HTMLElement);
  canvas.addEventListener("blur", () => (mark.hidden = true));
  canvas.addEventListener("keydown", (event) => {
    /** @type {Record<string, [number, number]>} */
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (task() !== "holes" || event.altKey || event.ctrlKey || event.metaKey) return;
    const way = ways[event.key];
    if (way) {
      middle.x = Math.min(canvas.width - 1, Math.max(0, middle.x + STEP * way[0]));
      middle.y = Math.min(canvas.height - 1, Math.max(0, middle.y + STEP * way[1]));
    } else if (event.key === " " || event.key === "Enter") {
      remember();
      cut(mask, canvas.width, { ...middle, radius: radius(), box: true });
      refresh();
    } else if (event.key === "Backspace") undo();
    else return;
    event.preventDefault();
    mark.hidden = false;
    place();
  });
}

function undo() {
  mask = before.pop() ?? mask;
  asked = true;
  refresh();
}

function tasks() {
  const noise = task() === "noise";
  document.documentElement.dataset.task = task();
  get("more", HTMLButtonElement).textContent = noise ? "Other noise" : "Add a scratch";
  strength.box.hidden = !noise;
  brush.box.hidden = noise;
  for (const id of ["undo", "clear"]) get(id, HTMLButtonElement).hidden = noise;
  get("brush", HTMLElement).hidden = true;
  made = {};
  table({}, "");
}

// --- start --------------------------------------------------------------------------

async function start() {
  const found = await lists();
  facts = found.facts;
  get("sliders", HTMLElement).append(brush.box, strength.box);
  brush.set(8);
  for (const side of [left, right]) {
    side.replaceChildren(...Object.entries(NAMES).map(([value, name]) => new Option(name, value)));
    side.onchange = () => (compare(), keep());
  }
  const wanted = said();
  tasks();
  paintable();
  for (const id of ["task-holes", "task-noise"]) {
    get(id, HTMLInputElement).onchange = () => {
      asked = true;
      tasks();
      refresh();
    };
  }
  get("more", HTMLButtonElement).onclick = () => {
    seed += 1;
    if (task() === "holes") {
      remember();
      scratch(mask, canvas.width, seed, radius());
    } else asked = true;
    refresh();
  };
  get("undo", HTMLButtonElement).onclick = undo;
  get("clear", HTMLButtonElement).onclick = () => {
    remember();
    mask = new Float32Array(mask.length);
    refresh();
  };
  const link = get("link", HTMLButtonElement);
  link.onclick = () => copy(new URL(`repair.html${hash()}`, location.href).href, link);
  // Somebody who was sent the link wants the answer; within the book it waits for a hand.
  asked = !EMBEDDED && !(/** @type {{saveData?: boolean}} */ (Reflect.get(navigator, "connection") ?? {}).saveData);
  const { take } = pictureChoice({
    list: samples,
    file: get("file", HTMLInputElement),
    pictures: asPictures(found.samples.photos),
    load: async (blob, name) => {
      const outcome = await run({ type: "photo", blob, name, side: SIDE, cover: false });
      return /** @type {Planes} */ (outcome.planes);
    },
    use: ({ planes, credit }) => {
      photo = planes;
      photos += 1;
      [made, before] = [{}, []];
      mask = new Float32Array(planes.width * planes.height);
      for (const number of [13, 17]) scratch(mask, planes.width, number, 8);
      get("credit", HTMLElement).textContent = credit && `Photo: ${credit}`;
      table({}, "");
      refresh();
    },
  });
  await take(wanted);
  addEventListener("hashchange", () => location.reload());
  const bytes = facts.inpaint_pixel.bytes + facts.inpaint_combined.bytes;
  if (lacking) say(lacking);
  else if (!asked) say(`With the first stroke the networks (${(bytes / 1e6).toFixed(1)} MB) and the program that runs them (4 MB, once for the whole site) are fetched.`);
}

start().catch((error) => showProblem(error, { again: () => location.reload() }));
