/** The lab of chapter 9: a point between four faces, decoded by three networks; vectors added to its code; new faces. */

import { toPlanes } from "./blend.js";
import { EMBEDDED, begin, copy, draw, inTurn, keeper, lists, say, slider } from "./lab.js";
import { json } from "./needs.js";
import { get, showProblem } from "./page.js";
import { Problem } from "./problem.js";
import { between, changed, drawnCodes, normals, sheet } from "./sampler.js";

/** @typedef {Float32Array<ArrayBuffer>} Floats */

const PAD = 240; // pixels along the side of the pad
const STEP = 0.05; // of a key
const [MOST, PART] = [2, 0.25]; // of a vector, and the least change
const COUNT = 64;

const { engine, lacking } = begin();
const run = inTurn(engine);
const root = document.documentElement.dataset;

/** @type {import("./types").LabFacts["faces"] | undefined} */
let facts;
/** @type {import("./types").FaceCodes | undefined} */
let about;
/** Those that a walk may begin at, (3, size, size). @type {number[][]} */
let ends = [];
let four = 0; // which four of them
const place = { x: 0.5, y: 0.5 };
/** @type {number[]} */
let amounts = [];
let seed = 0; // of the sheet; 0 is none drawn
let spread = 1;
let network = "deepsim";
/** @type {Record<string, Floats> | undefined} */
let drawn;
let asked = false; // networks are fetched when something is moved

const pad = get("pad", HTMLCanvasElement);
const source = get("source", HTMLSelectElement);

const corners = () => [0, 1, 2, 3].map((at) => (4 * four + at) % ends.length);

// --- between four faces -------------------------------------------------------------

function drawPad() {
  const size = facts?.size ?? 0;
  Object.assign(pad, { width: PAD, height: PAD });
  const pen = pad.getContext("2d");
  if (!pen || !size) return;
  pen.imageSmoothingEnabled = false;
  const small = document.createElement("canvas");
  corners().forEach((end, at) => {
    draw(sheet(Float32Array.from(ends[end]), size, 1), small);
    const side = 2 * size;
    pen.drawImage(small, at % 2 ? PAD - side : 0, at > 1 ? PAD - side : 0, side, side);
  });
}

/** What is seen at once, and what the networks are asked for. */
function refresh() {
  if (!facts) return;
  const { x, y } = place;
  const mixed = between(corners().map((end) => ends[end]), x, y);
  draw(sheet(Float32Array.from(mixed), facts.size, 1), get("mixed", HTMLCanvasElement));
  const point = get("point", HTMLElement);
  point.style.setProperty("--column", String(x));
  point.style.setProperty("--row", String(y));
  pad.setAttribute("aria-label", `Four faces and a point between them, ${Math.round(100 * x)} percent to the right and ${Math.round(100 * y)} percent down. Arrows move it.`);
  root.settled = "";
  keep();
  if (asked) decode();
}

let working = false;
let again = false; // something has been moved meanwhile

/** The networks' turn: the newest state only. */
async function decode() {
  again = true;
  if (working || lacking) return;
  working = true;
  try {
    while (again && facts && about) {
      again = false;
      /** @type {Record<string, Floats>} */
      const codes = {};
      for (const [name, known] of Object.entries(about.networks)) {
        const code = between(corners().map((end) => known.codes[end]), place.x, place.y);
        codes[name] = Float32Array.from(changed(code, known.vectors, amounts));
      }
      const { faces, seconds } = await asking(codes);
      for (const name of Object.keys(faces)) draw(sheet(faces[name], facts.size, 1), get(name, HTMLCanvasElement));
      say(`${Math.round(1000 * seconds)} milliseconds for three faces, on this device.`);
      root.update = (1000 * seconds).toFixed(1);
    }
    root.settled = "yes";
  } catch (error) {
    showProblem(error, { again: decode });
  } finally {
    working = false;
  }
}

/** @param {Record<string, Floats>} codes */
async function asking(codes) {
  if (!facts || !about) throw new Problem("broken", "The page is not ready.");
  const { file, bytes } = facts;
  const length = Object.values(about.networks)[0].mean.length;
  const { faces, seconds } = await run({ type: "decode", model: { file, bytes }, codes, length });
  return { faces: faces ?? {}, seconds };
}

// --- new faces ----------------------------------------------------------------------

/** Redrawn while the last is under way: the newest only. */
let [sheeting, more] = [false, false];

async function drawSheet() {
  more = true;
  keep();
  if (!seed || sheeting || lacking) return;
  sheeting = true;
  try {
    while (more && about) {
      more = false;
      root.drawn = "";
      /** @type {Record<string, Floats>} */
      const codes = {};
      for (const [name, known] of Object.entries(about.networks)) {
        codes[name] = drawnCodes(normals(seed, COUNT * known.mean.length), spread, source.value === "fitted" ? known : undefined);
      }
      const { faces, seconds } = await asking(codes);
      drawn = faces;
      showSheet();
      say(`${seconds.toFixed(2)} seconds for three times ${COUNT} faces, on this device.`);
      Object.assign(root, { seconds: seconds.toFixed(3), drawn: String(seed) });
    }
  } catch (error) {
    showProblem(error, { again: drawSheet });
  } finally {
    sheeting = false;
  }
}

function showSheet() {
  if (!drawn || !facts || !about) return;
  const place = get("sheet", HTMLCanvasElement);
  draw(sheet(drawn[network], facts.size, 8), place);
  const from = source.value === "fitted" ? "the fitted Gaussian" : "the prior";
  const said = `${COUNT} faces by the ${about.titles[network]} network, of codes from ${from}`;
  place.setAttribute("aria-label", said);
  get("drawn", HTMLElement).textContent = `${said}. The same random numbers go into all three networks: change the network and compare face by face.`;
}

// --- the state, and its link --------------------------------------------------------

function hash() {
  const moved = `#four=${four}&x=${place.x.toFixed(2)}&y=${place.y.toFixed(2)}&add=${amounts.join("_")}`;
  return `${moved}&seed=${seed}&from=${source.value}&spread=${spread}&network=${network}`;
}

const keep = keeper(hash);

/** A number that the address gives, within bounds. @param {string | null} text @param {number} least @param {number} most @param {number} otherwise */
function within(text, least, most, otherwise) {
  const value = text === null || text === "" ? NaN : Number(text);
  return Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : otherwise;
}

/** @param {import("./types").FaceCodes} codes */
function given(codes) {
  const said = new URLSearchParams(location.hash.slice(1));
  four = Math.floor(within(said.get("four"), 0, ends.length / 4 - 1, 0));
  place.x = within(said.get("x"), 0, 1, 0.5);
  place.y = within(said.get("y"), 0, 1, 0.5);
  const added = (said.get("add") ?? "").split("_");
  amounts = codes.names.map((_, at) => PART * Math.round(within(added[at] ?? null, -MOST, MOST, 0) / PART));
  seed = Math.floor(within(said.get("seed"), 0, 9999, 0));
  spread = PART * Math.round(within(said.get("spread"), PART, MOST, 1) / PART);
  if (said.get("from") === "fitted") source.value = "fitted";
  if ((said.get("network") ?? "") in codes.titles) network = said.get("network") ?? network;
}

// --- hands --------------------------------------------------------------------------

function moved() {
  asked = true;
  refresh();
}

function movable() {
  let held = false;
  /** @param {PointerEvent} event */
  const here = (event) => {
    const { left, top, width, height } = pad.getBoundingClientRect();
    place.x = Math.min(1, Math.max(0, (event.clientX - left) / width));
    place.y = Math.min(1, Math.max(0, (event.clientY - top) / height));
    moved();
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    held = true;
    here(event);
  });
  pad.addEventListener("pointermove", (event) => held && here(event));
  for (const type of ["pointerup", "pointercancel"]) pad.addEventListener(type, () => (held = false));
  pad.addEventListener("keydown", (event) => {
    /** @type {Record<string, [number, number]>} */
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key];
    if (!way || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    /** @param {number} value */
    const kept = (value) => Math.round(100 * Math.min(1, Math.max(0, value))) / 100;
    Object.assign(place, { x: kept(place.x + STEP * way[0]), y: kept(place.y + STEP * way[1]) });
    moved();
  });
}

/** @param {number} value */
const signed = (value) => (value ? `${value > 0 ? "+" : "−"}${Math.abs(value)}` : "0");

/** @param {import("./types").FaceCodes} codes */
function controls(codes) {
  const sliders = codes.names.map((label, at) => {
    const made = slider({
      id: `add-${at}`,
      label,
      range: [-MOST, MOST, PART],
      text: signed,
      change: (value) => {
        amounts[at] = value;
        moved();
      },
    });
    made.set(amounts[at]);
    return made;
  });
  get("controls", HTMLFormElement).append(...sliders.map(({ box }) => box));
  get("zero", HTMLButtonElement).onclick = () => {
    amounts = amounts.map(() => 0);
    sliders.forEach(({ set }) => set(0));
    moved();
  };
  get("other", HTMLButtonElement).onclick = () => {
    four = (four + 1) % (ends.length / 4);
    drawPad();
    moved();
  };
  const wide = slider({
    id: "spread",
    label: "Spread",
    range: [PART, MOST, PART],
    text: (value) => `× ${value}`,
    change: (value) => {
      spread = value;
      drawSheet();
    },
  });
  wide.set(spread);
  get("how", HTMLFormElement).append(wide.box);
  source.onchange = drawSheet;
  get("draw", HTMLButtonElement).onclick = () => {
    seed = (seed % 9999) + 1;
    drawSheet();
  };
  for (const [name, title] of Object.entries(codes.titles)) {
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "network", value: name, checked: name === network });
    input.onchange = () => {
      network = name;
      keep();
      showSheet();
    };
    const label = document.createElement("label");
    label.append(input, title);
    get("which", HTMLFieldSetElement).append(label);
  }
  const link = get("link", HTMLButtonElement);
  link.onclick = () => copy(new URL(`faces.html${hash()}`, location.href).href, link);
}

// --- start --------------------------------------------------------------------------

/** The faces that lie side by side in one file. @param {string} file @param {number} size @returns {Promise<number[][]>} */
async function faces(file, size) {
  const image = new Image();
  image.src = `models/${file}`;
  await image.decode().catch(() => {
    throw new Problem("network", "The faces could not be fetched. Check the network, then try again.");
  });
  const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: size });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen?.drawImage(image, 0, 0);
  return Array.from({ length: canvas.width / size }, (_, at) => {
    const part = pen?.getImageData(at * size, 0, size, size);
    return [...toPlanes(part?.data ?? new Uint8ClampedArray(), size, size).data];
  });
}

async function start() {
  facts = (await lists()).facts.faces;
  /** @type {import("./types").FaceCodes} */
  const codes = await json(`models/${facts.about}`);
  about = codes;
  ends = await faces(facts.picture, facts.size);
  given(codes);
  controls(codes);
  movable();
  for (const id of ["pixel", "deepsim", "gan"]) Object.assign(get(id, HTMLCanvasElement), { width: facts.size, height: facts.size });
  Object.assign(get("sheet", HTMLCanvasElement), { width: 8 * facts.size, height: 8 * facts.size });
  drawPad();
  // Somebody who was sent the link wants the answer; within the book it waits for a hand.
  asked = !EMBEDDED && !(/** @type {{saveData?: boolean}} */ (Reflect.get(navigator, "connection") ?? {}).saveData);
  if (lacking) say(lacking);
  else if (!asked) say(`Move the point: then the networks (${(facts.bytes / 1e6).toFixed(1)} MB) and the program that runs them (4 MB, once for the whole site) are fetched.`);
  refresh();
  if (asked && seed) drawSheet();
  addEventListener("hashchange", () => location.reload());
  root.begun = "yes";
}

start().catch((error) => showProblem(error, { again: () => location.reload() }));
