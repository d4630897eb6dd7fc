/** The lab of chapter 4: style transfer by moving pixels, one step after the other, with the weights in the reader's hand. */

import { asPictures, begin, draw, inTurn, lists, pictureChoice, say, slider } from "./lab.js";
import { get, save, showProblem } from "./page.js";

/** @typedef {import("./types").Planes} Planes */

const STEPS = 40; // at a time
const [FAST, SLOW] = [0.06, 0.012]; // Adam's step length, at the beginning and at the end of the first 40
const COLOURS = ["a", "b", "c", "content"];

const { engine, lacking } = begin();
const run = inTurn(engine);

/** @type {import("./types").LabFacts["gatys"] | undefined} */
let facts;
/** @type {{photo?: Planes, painting?: Planes}} */
const pictures = {};
let chosen = 0; // counts pairs of pictures
let runs = 0;
let step = 0;
let until = 0;
let going = false;
let ready = false; // both pictures are there, and nothing moves any more
/** @type {number[][]} */
let history = [];
const weights = { style: 90, smooth: 10, layers: [100, 100, 100] };

const go = get("go", HTMLButtonElement);
const again = get("again", HTMLButtonElement);
const size = get("size", HTMLSelectElement);
const result = get("result", HTMLCanvasElement);

function restart() {
  runs += 1;
  [step, until] = [0, 0];
  history = [];
  going = false;
  if (pictures.photo) draw(pictures.photo, result);
  result.classList.toggle("waiting", true);
  show();
}

function show() {
  go.textContent = going ? "Pause" : step ? (step < until ? "Go on" : `${STEPS} more steps`) : `Start: ${STEPS} steps`;
  go.disabled = Boolean(lacking) || !ready;
  again.disabled = !step;
  get("save", HTMLButtonElement).disabled = !step;
  get("step", HTMLElement).textContent = `Step ${step}`;
  result.setAttribute("aria-label", `The picture after ${step} steps`);
  document.documentElement.dataset.step = String(step);
  document.documentElement.dataset.going = going ? "yes" : "no";
  drawCurve();
}

async function advance() {
  if (going || !facts) return;
  going = true;
  if (step >= until) until = step + STEPS;
  const mine = runs;
  show();
  try {
    while (going && mine === runs && step < until) {
      const { photo, painting } = pictures;
      if (!photo || !painting) break;
      const outcome = await run({
        type: "gatys",
        model: { file: facts.file, bytes: facts.bytes },
        layers: facts.layers,
        channels: facts.channels,
        depth: facts.depth,
        key: String(chosen),
        run: String(mine),
        photo,
        painting,
        start: get("start", HTMLSelectElement).value === "noise" ? "noise" : "photo",
        style: weights.style / 100,
        shares: weights.layers.map((share) => share / 100),
        smooth: weights.smooth / 100,
        rate: FAST + (SLOW - FAST) * Math.min(1, step / STEPS),
      });
      if (mine !== runs) return;
      step += 1;
      history.push(outcome.losses ?? []);
      result.classList.toggle("waiting", false);
      if (outcome.planes) draw(outcome.planes, result);
      say(`${outcome.seconds.toFixed(2)} seconds a step, on this device.`);
      document.documentElement.dataset.seconds = outcome.seconds.toFixed(3);
      show();
    }
  } catch (error) {
    showProblem(error, { again: () => void advance() });
  } finally {
    if (mine === runs) going = false;
    show();
  }
}

// --- the curve ----------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const [LEFT, RIGHT, TOP, BOTTOM] = [38, 282, 8, 168];

/** @param {string} kind @param {Record<string, string | number>} attributes @param {string} [text] */
function part(kind, attributes, text) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  if (text) made.textContent = text;
  return made;
}

function drawCurve() {
  const place = document.getElementById("curve");
  if (!place || !facts) return;
  const names = [...facts.layers, "content"];
  const last = Math.max(STEPS, history.length);
  const least = 0.001;
  /** @param {number} value */
  const y = (value) => TOP + ((BOTTOM - TOP) * Math.log10(2 / Math.min(2, Math.max(least, value)))) / Math.log10(2 / least);
  /** @param {number} at */
  const x = (at) => LEFT + ((RIGHT - LEFT) * at) / Math.max(1, last - 1);
  const parts = [1, 0.1, 0.01, 0.001].flatMap((value) => [
    part("line", { x1: LEFT, x2: RIGHT, y1: y(value), y2: y(value), class: "rule" }),
    part("text", { x: LEFT - 4, y: y(value) + 4, "text-anchor": "end" }, String(value)),
  ]);
  parts.push(part("text", { x: RIGHT, y: BOTTOM + 18, "text-anchor": "end" }, `step ${last}`));
  let free = -Infinity;
  const ends = names.map((name, at) => ({ name, at, value: history.at(-1)?.[at] ?? 1 })).sort((one, other) => y(one.value) - y(other.value));
  for (const { name, at, value } of ends) {
    const points = history.map((losses, index) => `${x(index).toFixed(1)},${y(losses[at]).toFixed(1)}`).join(" ");
    parts.push(part("polyline", { points, class: `term ${COLOURS[at]}` }));
    free = Math.max(free + 15, y(value) + 4);
    if (history.length) parts.push(part("text", { x: RIGHT + 6, y: free, class: `name ${COLOURS[at]}` }, `${name} ${value.toPrecision(2)}`));
  }
  place.replaceChildren(...parts);
}

// --- start --------------------------------------------------------------------------

async function start() {
  const found = await lists();
  facts = found.facts.gatys;
  const sliders = [
    { id: "style", label: "Style", value: weights.style, set: (/** @type {number} */ value) => (weights.style = value) },
    ...facts.layers.map((layer, at) => ({ id: layer, label: layer, value: 100, set: (/** @type {number} */ value) => (weights.layers[at] = value) })),
    { id: "smooth", label: "Smoothness", value: weights.smooth, set: (/** @type {number} */ value) => (weights.smooth = value) },
  ];
  for (const { id, label, value, set } of sliders) {
    const made = slider({ id, label, range: [0, 100, 1], text: (now) => `${now} %`, change: set });
    made.set(value);
    get("sliders", HTMLElement).append(made.box);
  }
  /** @param {Blob} blob @param {string} name */
  const load = async (blob, name) => {
    const outcome = await run({ type: "photo", blob, name, side: Number(size.value), cover: false });
    return /** @type {Planes} */ (outcome.planes);
  };
  /** @param {"photo" | "painting"} which */
  const use = (which) => (/** @type {import("./lab.js").Photo} */ { planes, credit }) => {
    pictures[which] = planes;
    chosen += 1;
    draw(planes, get(`${which}-view`, HTMLCanvasElement));
    get(`${which}-credit`, HTMLElement).textContent = credit;
    restart();
  };
  const photos = pictureChoice({
    list: get("photos", HTMLSelectElement),
    file: get("photo-file", HTMLInputElement),
    pictures: asPictures(found.samples.photos),
    load,
    use: use("photo"),
  });
  const paintings = pictureChoice({
    list: get("paintings", HTMLSelectElement),
    file: get("painting-file", HTMLInputElement),
    pictures: Object.entries(found.samples.styles).map(([id, { file, title, author }]) => ({ id, file, title, credit: `${title}, ${author}` })),
    load,
    use: use("painting"),
  });
  go.onclick = () => {
    if (going) {
      going = false;
      show();
    } else advance();
  };
  again.onclick = () => {
    restart();
    advance();
  };
  get("save", HTMLButtonElement).onclick = () => result.toBlob((blob) => blob && save(blob, "pltutorial_step_by_step.png"));
  get("start", HTMLSelectElement).onchange = restart;
  size.onchange = async () => {
    await photos.again();
    await paintings.again();
  };
  await photos.take("pagoda");
  await paintings.take("great_wave");
  ready = Boolean(pictures.photo && pictures.painting);
  say(lacking || `The network (${(facts.bytes / 1e6).toFixed(1)} MB) and the program that runs it (4 MB, once for the whole site) are fetched when you start.`);
  show();
}

start().catch((error) => showProblem(error, { again: () => location.reload() }));
