/** The lab of chapter 3: a picture, a copy that is shuffled and painted on, their Gram matrices, and single channels. */

import { EMBEDDED, asPictures, begin, copy, draw, inTurn, keeper, lists, pictureChoice, say, slider } from "./lab.js";
import { get, showProblem } from "./page.js";
import { dab, moved, places, sizes } from "./tiles.js";

/** @typedef {import("./types").Planes} Planes */
/** @typedef {import("./types").Grams} Grams */

const SIDE = Math.min(192, Math.max(64, 16 * Math.round(Number(new URLSearchParams(location.search).get("side") ?? 160) / 16) || 160));
const FIRST = { picture: "starry_night", tile: 32, cell: [1, 0] };
const TILES = sizes(SIDE);
const DARKEST = 0.02; // of the original's entries are shown as dark as can be
const FULL = 2; // of the bars; 1 is marked
const STEP = 4; // pixels that a key moves the brush
/** From dark to bright in even steps of brightness. */
const HEAT = [[0, 0, 4], [50, 10, 94], [120, 28, 109], [187, 55, 84], [237, 105, 37], [251, 180, 26], [252, 255, 164]];

const { engine, lacking } = begin();
const run = inTurn(engine);

/** @type {import("./types").LabFacts | undefined} */
let facts;
/** @type {Planes | undefined} */
let original;
/** The original, painted on, with every pixel where it was. @type {Planes | undefined} */
let painted;
/** @type {Int32Array} */
let from = new Int32Array();
/** @type {Planes | undefined} */
let changed;
let strokes = 0;
let [seed, tile] = [0, FIRST.tile];
/** Row and column of the matrix. @type {[number, number]} */
let cell = [FIRST.cell[0], FIRST.cell[1]];
let photos = 0;
let version = 0; // of the copy
let asked = false; // the network is fetched when something is moved
/** @type {Grams | undefined} */
let grams;

const layer = get("layer", HTMLSelectElement);
const canvas = get("changed", HTMLCanvasElement);
const matrices = ["before", "after"].map((id) => get(id, HTMLCanvasElement));

// --- what is shown ------------------------------------------------------------------

/** The copy anew, from what was painted and how the tiles lie. */
function refresh() {
  if (!painted) return;
  changed = moved(painted, from);
  version += 1;
  draw(changed, canvas);
  const said = [seed && `tiles of ${tile} pixels, shuffled`, strokes && "painted on"].filter(Boolean).join(", ") || "as it is";
  get("words", HTMLElement).textContent = said;
  canvas.setAttribute("aria-label", `The copy: ${said}. Arrows move the brush, space paints.`);
  keep();
  if (asked) judge();
}

const depth = () => (facts && layer.value === facts.gatys.layers.at(-1) ? facts.gatys : undefined);

let judging = false;
let again = false; // something has been changed meanwhile

/** The network's turn: the newest state only. */
async function judge() {
  again = true;
  if (judging || lacking) return;
  judging = true;
  try {
    while (again && facts && original && changed) {
      again = false;
      const key = `${photos} ${layer.value}`;
      const deep = depth();
      const { file, bytes } = deep ?? facts.features;
      const outcome = await run({
        type: "gram",
        model: { file, bytes },
        layer: layer.value,
        deep: deep && { layers: deep.layers, channels: deep.channels, depth: deep.depth },
        key,
        version: String(version),
        reference: original,
        picture: changed,
        cell,
      });
      if (key !== `${photos} ${layer.value}` || !outcome.gram || !outcome.losses) continue;
      grams = outcome.gram;
      show(outcome.gram, outcome.losses[0], outcome.losses[1]);
      say(`${outcome.seconds.toFixed(2)} seconds, on this device.`);
      document.documentElement.dataset.update = (1000 * outcome.seconds).toFixed(0);
    }
    document.documentElement.dataset.settled = "yes";
  } catch (error) {
    showProblem(error, { again: judge });
  } finally {
    judging = false;
  }
}

/** @param {Grams} found @param {number} style @param {number} feature */
function show(found, style, feature) {
  const logs = found.before.map((value) => Math.log10(value || 1e-9)).sort(); // typed arrays sort by size
  const [low, top] = [logs[Math.floor(DARKEST * logs.length)], logs[logs.length - 1]];
  [found.before, found.after].forEach((values, at) => {
    const count = found.channels.length;
    paint(matrices[at], count, count, values, (value) => (value ? (Math.log10(value) - low) / (top - low || 1) : 0));
  });
  for (const place of document.querySelectorAll(".loudest")) {
    place.textContent = found.channels.length < found.of ? `(its ${found.channels.length} loudest of ${found.of} channels)` : `(all ${found.of} channels)`;
  }
  bar("style", style);
  bar("feature", feature);
  get("verdict", HTMLElement).textContent = verdict(style, feature);
  Object.assign(document.documentElement.dataset, { style: String(style), feature: String(feature) });
  showCell(found);
}

/** @param {string} which @param {number} value */
function bar(which, value) {
  get(`${which}-value`, HTMLOutputElement).textContent = written(value);
  const place = get(`${which}-bar`, HTMLElement);
  place.style.setProperty("--share", Math.min(1, value / FULL).toFixed(4));
  place.classList.toggle("over", value > FULL);
}

/** @param {number} value */
const written = (value) => (value ? (value >= 0.0001 ? Number(value.toPrecision(2)).toString() : value.toExponential(1)) : "0");

/** @param {number} value */
const entry = (value) => Number(value.toPrecision(3)).toLocaleString("en");

/** @param {number} style @param {number} feature */
function verdict(style, feature) {
  if (!feature) return "The copy is the original, so nothing is off.";
  const times = feature / style;
  if (times >= 2) return `The features are off by ${written(feature)}, the matrix by ${written(style)}: ${times >= 10 ? Math.round(times) : times.toFixed(1)} times less.`;
  const why = seed && !strokes ? " Each cut is an edge that the original does not have." : "";
  return `The features are off by ${written(feature)}, and the matrix by ${written(style)}: this it notices.${why}`;
}

/** The two channels of the chosen cell, and their product. @param {Grams} found */
function showCell(found) {
  const count = found.channels.length;
  const [row, column] = cell;
  for (const matrix of matrices) {
    const mark = /** @type {HTMLElement} */ (matrix.nextElementSibling);
    mark.hidden = false;
    mark.style.setProperty("--row", String(row / count));
    mark.style.setProperty("--column", String(column / count));
    mark.style.setProperty("--cell", String(1 / count));
  }
  const { width, height, values } = found.maps;
  const [one, other] = found.pair;
  const shown = [0, 2].flatMap((at) => [values[at], values[at + 1], values[at].map((value, place) => value * values[at + 1][place])]);
  const entries = [found.before, found.after].map((matrix) => matrix[row * count + column]);
  const pair = one === other ? `Channel ${one} with itself` : `Channels ${one} and ${other}`;
  get("cell", HTMLElement).textContent =
    `${pair}: the entry is the mean of their product, divided by ${found.of}: ${entry(entries[0])} in the original, ${entry(entries[1])} in the copy. Click another cell, or use the arrow keys on a matrix.`;
  get("maps", HTMLElement).hidden = false;
  document.querySelectorAll("#maps figure").forEach((figure, at) => {
    const top = Math.max(largest(shown[at % 3]), largest(shown[(at % 3) + 3])) || 1;
    const place = /** @type {HTMLCanvasElement} */ (figure.querySelector("canvas"));
    paint(place, width, height, shown[at], (value) => value / top);
    const whose = at < 3 ? "original" : "copy";
    const what = ["channel " + one, "channel " + other, "product"][at % 3];
    place.setAttribute("aria-label", `${what}, ${whose}`);
    /** @type {HTMLElement} */ (figure.querySelector("figcaption")).textContent = `${what} (${whose})`;
  });
  const said = `row ${row + 1}, column ${column + 1}: ${pair.toLowerCase()}`;
  matrices.forEach((matrix, at) => matrix.setAttribute("aria-label", `Gram matrix of the ${at ? "copy" : "original"}, ${said}. Arrows choose another cell.`));
  Object.assign(document.documentElement.dataset, { before: String(entries[0]), after: String(entries[1]), pair: `${one} ${other}` });
}

/** Of more values than a call may have arguments. @param {Float32Array} values */
const largest = (values) => values.reduce((most, value) => Math.max(most, value), 0);

/** Values in the colours of heat. @param {HTMLCanvasElement} place @param {number} width @param {number} height @param {Float32Array} values @param {(value: number) => number} scale to [0, 1] */
function paint(place, width, height, values, scale) {
  if (place.width !== width || place.height !== height) Object.assign(place, { width, height });
  const data = new Uint8ClampedArray(4 * width * height);
  values.forEach((value, at) => {
    const heat = (HEAT.length - 1) * Math.min(1, Math.max(0, scale(value)));
    const low = Math.min(HEAT.length - 2, Math.floor(heat));
    for (let channel = 0; channel < 3; channel++) data[4 * at + channel] = HEAT[low][channel] + (heat - low) * (HEAT[low + 1][channel] - HEAT[low][channel]);
    data[4 * at + 3] = 255;
  });
  place.getContext("2d")?.putImageData(new ImageData(data, width, height), 0, 0);
}

// --- the state, and its link --------------------------------------------------------

function hash() {
  const ours = get("samples", HTMLSelectElement).value || FIRST.picture;
  return `#picture=${ours}&layer=${layer.value}&tile=${tile}&seed=${seed}&cell=${cell.join("-")}`;
}

const keep = keeper(hash);

/** What the address says, within its bounds; returns the picture. */
function given() {
  const said = new URLSearchParams(location.hash.slice(1));
  const wanted = Number(said.get("tile") ?? FIRST.tile);
  tile = TILES.reduce((best, size) => (Math.abs(size - wanted) < Math.abs(best - wanted) ? size : best), TILES[0]);
  seed = Math.min(9999, Math.max(0, Math.floor(Number(said.get("seed")) || 0)));
  const [row, column] = (said.get("cell") ?? FIRST.cell.join("-")).split("-").map((part) => Math.min(63, Math.floor(Number(part)) || 0));
  cell = [row, column ?? 0];
  const named = said.get("layer") ?? "";
  if ([...layer.options].some(({ value }) => value === named)) layer.value = named;
  tiles.set(TILES.indexOf(tile));
  return said.get("picture") ?? FIRST.picture;
}

// --- hands --------------------------------------------------------------------------

function shuffled() {
  asked = true;
  from = places(SIDE, tile, seed);
  refresh();
}

const tiles = slider({
  id: "tile",
  label: "Tiles of",
  range: [0, TILES.length - 1, 1],
  text: (at) => `${TILES[at]} px`,
  change: (at) => {
    tile = TILES[at];
    seed ||= 1;
    shuffled();
  },
});
const radius = slider({ id: "radius", label: "Brush of", range: [2, 24, 1], text: (value) => `${2 * value} px`, change: () => {} });

/** @param {number} x @param {number} y in pixels of the copy */
function stroke(x, y) {
  if (!painted) return;
  const colour = [1, 3, 5].map((at) => parseInt(get("colour", HTMLInputElement).value.slice(at, at + 2), 16) / 255);
  dab(painted, from, { x, y, radius: Number(get("radius", HTMLInputElement).value), colour });
  asked = true;
  strokes += 1;
}

/** Where an event lies on a canvas, in its pixels. @param {PointerEvent} event @param {HTMLCanvasElement} place */
function at(event, place) {
  const { left, top, width, height } = place.getBoundingClientRect();
  return [((event.clientX - left) / width) * place.width, ((event.clientY - top) / height) * place.height];
}

function paintable() {
  /** @type {number[] | undefined} */
  let last;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = at(event, canvas);
    stroke(last[0], last[1]);
    refresh();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = at(event, canvas);
    const [x, y] = last;
    const parts = Math.ceil(Math.hypot(next[0] - x, next[1] - y) / 2) || 1;
    for (let part = 1; part <= parts; part++) stroke(x + ((next[0] - x) * part) / parts, y + ((next[1] - y) * part) / parts);
    last = next;
    refresh();
  });
  for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, () => (last = undefined));
  const place = { x: SIDE / 2, y: SIDE / 2 };
  const mark = get("brush", HTMLElement);
  canvas.addEventListener("blur", () => (mark.hidden = true));
  canvas.addEventListener("keydown", (event) => {
    const way = arrow(event);
    if (way) {
      place.x = Math.min(SIDE - 1, Math.max(0, place.x + STEP * way[1]));
      place.y = Math.min(SIDE - 1, Math.max(0, place.y + STEP * way[0]));
    } else if (event.key === " ") {
      event.preventDefault();
      stroke(place.x, place.y);
      refresh();
    } else return;
    mark.hidden = false;
    mark.style.setProperty("--column", String((place.x + 0.5) / SIDE));
    mark.style.setProperty("--row", String((place.y + 0.5) / SIDE));
  });
}

/** The way of an arrow key, down and to the right. @param {KeyboardEvent} event */
function arrow(event) {
  /** @type {Record<string, [number, number]>} */
  const ways = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const way = ways[event.key];
  if (!way || event.altKey || event.ctrlKey || event.metaKey) return undefined;
  event.preventDefault();
  return way;
}

/** @param {number} row @param {number} column */
function choose(row, column) {
  const last = (grams?.channels.length ?? 64) - 1;
  cell = [Math.min(last, Math.max(0, row)), Math.min(last, Math.max(0, column))];
  asked = true;
  keep();
  judge();
}

/** @param {HTMLCanvasElement} matrix */
function choosable(matrix) {
  let held = false;
  /** @param {PointerEvent} event */
  const here = (event) => {
    const [x, y] = at(event, matrix);
    choose(Math.floor(y), Math.floor(x));
  };
  matrix.addEventListener("pointerdown", (event) => {
    if (!grams) return choose(...cell); // nothing to point at yet
    matrix.setPointerCapture(event.pointerId);
    held = true;
    here(event);
  });
  matrix.addEventListener("pointermove", (event) => held && here(event));
  for (const type of ["pointerup", "pointercancel"]) matrix.addEventListener(type, () => (held = false));
  matrix.addEventListener("keydown", (event) => {
    const way = arrow(event);
    if (way) choose(cell[0] + way[0], cell[1] + way[1]);
  });
}

// --- start --------------------------------------------------------------------------

async function start() {
  const found = await lists();
  facts = found.facts;
  const { features, gatys } = facts;
  const deep = /** @type {string} */ (gatys.layers.at(-1));
  layer.replaceChildren(...features.layers.map((name) => new Option(name, name)), new Option(`${deep}: means for maxima, ${(gatys.bytes / 1e6).toFixed(1)} MB`, deep));
  get("sliders", HTMLElement).append(tiles.box, radius.box);
  radius.set(8);
  paintable();
  matrices.forEach(choosable);
  layer.onchange = () => {
    asked = true;
    refresh();
  };
  get("shuffle", HTMLButtonElement).onclick = () => {
    seed += 1;
    shuffled();
  };
  get("reset", HTMLButtonElement).onclick = () => {
    if (!original) return;
    painted = { ...original, data: original.data.slice() };
    [seed, strokes] = [0, 0];
    shuffled();
  };
  const link = get("link", HTMLButtonElement);
  link.onclick = () => copy(new URL(`gram.html${hash()}`, location.href).href, link);
  const wanted = given();
  // Somebody who was sent the link wants the answer; within the book it waits for a hand.
  asked = !EMBEDDED && !(/** @type {{saveData?: boolean}} */ (Reflect.get(navigator, "connection") ?? {}).saveData);
  const paintings = Object.entries(found.samples.styles).map(([id, { file, title, author }]) => ({ id, file, title, credit: `${title}, ${author}` }));
  const { take } = pictureChoice({
    list: get("samples", HTMLSelectElement),
    file: get("file", HTMLInputElement),
    pictures: [...paintings, ...asPictures(found.samples.photos)],
    load: async (blob, name) => {
      const outcome = await run({ type: "photo", blob, name, side: SIDE, cover: true });
      return /** @type {Planes} */ (outcome.planes);
    },
    use: ({ planes, credit }) => {
      original = planes;
      painted = { ...planes, data: planes.data.slice() };
      [photos, strokes] = [photos + 1, 0];
      from = places(SIDE, tile, seed);
      draw(planes, get("original", HTMLCanvasElement));
      get("credit", HTMLElement).textContent = credit;
      refresh();
    },
  });
  await take(wanted);
  addEventListener("hashchange", () => location.reload());
  if (lacking) say(lacking);
  else if (!asked) say(`Shuffle or paint: then the network (${(features.bytes / 1e6).toFixed(1)} MB) and the program that runs it (4 MB, once for the whole site) are fetched.`);
}

start().catch((error) => showProblem(error, { again: () => location.reload() }));
