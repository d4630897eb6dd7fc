/** The lab of the book's thesis: two damaged copies of a photo, and judges that disagree about which is nearer. */

import { KINDS, MARGIN, NONE, RANGES, bounded, damaged, inWords } from "./damages.js";
import { squaredError, ssim } from "./judges.js";
import { EMBEDDED, asPictures, begin, copy, draw, inTurn, keeper, lists, pictureChoice, say, slider } from "./lab.js";
import { get, showProblem } from "./page.js";

/** @typedef {import("./damages.js").Damage} Damage */
/** @typedef {import("./types").Planes} Planes */
/** @typedef {"a" | "b"} Side */
/** By judge a distance, 0 for the photo itself; undefined while it is computed. @typedef {Record<string, number | undefined>} Distances */

const SIDES = /** @type {const} */ (["a", "b"]);
const SIDE = Math.min(256, Math.max(64, 8 * Math.round(Number(new URLSearchParams(location.search).get("side") ?? 192) / 8) || 192));
const FIRST = { photo: "pagoda", a: "x=1", b: "blur=1.5" };
/** Pairs that judges like to disagree about; of the second, so much is done that squared error finds it a little nearer. @type {[Partial<Damage>, keyof Damage][]} */
const PAIRS = [
  [{ x: 1 }, "blur"],
  [{ noise: 24 }, "blur"],
  [{ x: 1, y: 1 }, "jpeg"],
  [{ x: 2 }, "disc"],
];
const SHARE = 0.9;
/** @type {Record<string, [string, (value: number) => string]>} */
const LABELS = {
  x: ["To the right", (value) => `${value} px`],
  y: ["Down", (value) => `${value} px`],
  blur: ["Blur", (value) => `σ ${value} px`],
  disc: ["Grey disc", (value) => `${value} px`],
  noise: ["Noise", (value) => `σ ${value} of 255`],
  jpeg: ["JPEG", (value) => (value ? `quality ${100 - value}` : "none")],
};

/** @type {Record<Side, Damage>} */
const damages = { a: bounded({}), b: bounded({}) };
/** @type {Record<Side, Planes | undefined>} */
const pictures = { a: undefined, b: undefined };
/** @type {Record<Side, Distances>} */
const distances = { a: {}, b: {} };
/** @type {Side} */
let chosen = "a";
/** @type {import("./lab.js").Photo | undefined} */
let photo;
/** @type {Planes | undefined} */
let whole;
let photos = 0;
let asked = false; // the network is fetched when something is moved

const { engine, lacking } = begin();
const run = inTurn(engine);

/** @type {string[]} */
let layers = [];
/** @type {import("./types").LabFacts | undefined} */
let facts;
/** @type {Record<string, {row: HTMLTableRowElement, cells: Record<Side, HTMLElement>, verdict: HTMLElement, needle: HTMLElement}>} */
const rows = {};

/** @param {Side} side */
const canvas = (side) => /** @type {HTMLCanvasElement} */ (document.querySelector(`[data-side="${side}"] canvas`));

// --- what is shown ------------------------------------------------------------------

/** Compute and show what needs no network, and ask for the rest. @param {Side} side */
function refresh(side) {
  if (!photo || !whole) return;
  const picture = damaged(photo.planes, damages[side]);
  pictures[side] = picture;
  draw(picture, canvas(side));
  const words = inWords(damages[side]);
  const caption = document.querySelector(`[data-side="${side}"] figcaption span`);
  if (caption) caption.textContent = words;
  canvas(side).setAttribute("aria-label", `Picture ${side.toUpperCase()}: ${words}`);
  distances[side] = { "squared error": squaredError(picture, whole), SSIM: 1 - ssim(picture, whole) };
  waiting.add(side);
  show();
  keep();
  if (asked) judge();
}

/** @type {Set<Side>} */
const waiting = new Set();
let judging = false;

/** The network's turn: the newest state only, one picture after the other. */
async function judge() {
  if (judging || lacking || !facts) return;
  judging = true;
  try {
    for (let side = [...waiting][0]; side; side = [...waiting][0]) {
      waiting.delete(side);
      const picture = pictures[side];
      if (!picture || !whole) continue;
      const key = `${photos} ${SIDE}`;
      const outcome = await run({ type: "features", model: facts.features, layers, key, reference: whole, picture });
      if (pictures[side] !== picture || key !== `${photos} ${SIDE}`) continue; // moved meanwhile: it waits again
      layers.forEach((layer, at) => (distances[side][layer] = outcome.losses?.[at]));
      document.documentElement.dataset.update = (1000 * outcome.seconds).toFixed(0);
      show();
      say("");
    }
    document.documentElement.dataset.judged = "yes";
  } catch (error) {
    showProblem(error, { again: () => SIDES.forEach((side) => refresh(side)) });
  } finally {
    judging = false;
  }
}

/** @param {string} judge @param {number | undefined} value */
function written(judge, value) {
  if (value === undefined) return lacking ? "–" : "…";
  if (judge === "SSIM") return (1 - value).toFixed(3);
  return value ? value.toPrecision(3) : "0";
}

const TIE = 1.02; // nearer by less than 2% is as near

/** @param {string} judge @returns {{nearer: Side | "", times: number} | undefined} */
function opinion(judge) {
  const [a, b] = SIDES.map((side) => distances[side][judge]);
  if (a === undefined || b === undefined) return undefined;
  if (a === b) return { nearer: "", times: 1 };
  const times = Math.max(a, b) / Math.max(1e-9, Math.min(a, b));
  return { nearer: times < TIE ? "" : a < b ? "a" : "b", times };
}

function show() {
  /** @type {Record<string, string[]>} */
  const votes = { a: [], b: [], "": [] };
  for (const [judge, { cells, verdict, needle }] of Object.entries(rows)) {
    for (const side of SIDES) cells[side].textContent = written(judge, distances[side][judge]);
    const said = opinion(judge);
    if (!said) {
      verdict.textContent = lacking ? "–" : asked ? "…" : "move something";
      needle.hidden = true;
      continue;
    }
    votes[said.nearer].push(judge);
    const turn = Math.min(1, Math.log2(said.times) / 2) * (said.nearer === "b" ? 1 : said.nearer ? -1 : 0);
    needle.hidden = false;
    needle.style.setProperty("--turn", turn.toFixed(3));
    const times = said.times >= 100 ? "over 100" : said.times.toFixed(said.times < 10 ? 1 : 0);
    verdict.textContent = said.nearer ? `${said.nearer.toUpperCase()}, ${times} times` : "both alike";
  }
  const complete = Object.keys(rows).every((judge) => opinion(judge));
  /** @param {string[]} names */
  const named = (names) => (names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0]);
  let text = "";
  if (votes.a.length && votes.b.length) {
    text = `They disagree: ${named(votes.a)} find${votes.a.length > 1 ? "" : "s"} A nearer, ${named(votes.b)} B. And you?`;
  } else if (complete && (votes.a.length || votes.b.length)) {
    text = `All that see a difference find ${votes.a.length ? "A" : "B"} nearer. And you?`;
  }
  get("verdict", HTMLElement).textContent = complete ? text : "";
  document.documentElement.dataset.complete = complete ? "yes" : "no";
}

// --- the state, and its link --------------------------------------------------------

/** @param {Damage} damage */
const packed = (damage) => KINDS.filter((kind) => damage[kind]).map((kind) => `${kind}=${damage[kind]}`).join(";");

/** @param {string | null} text @returns {Damage} */
function unpacked(text) {
  return bounded(Object.fromEntries((text ?? "").split(";").map((part) => part.split("="))));
}

function hash() {
  const ours = get("samples", HTMLSelectElement).value;
  return `#photo=${ours || FIRST.photo}&a=${packed(damages.a)}&b=${packed(damages.b)}`;
}

const keep = keeper(hash);

/** What the address says. @returns {{photo: string, a: Damage, b: Damage}} */
function given() {
  const said = new URLSearchParams(location.hash.slice(1));
  return { photo: said.get("photo") ?? FIRST.photo, a: unpacked(said.get("a") ?? FIRST.a), b: unpacked(said.get("b") ?? FIRST.b) };
}

// --- hands --------------------------------------------------------------------------

const sliders = Object.fromEntries(
  KINDS.map((kind) => [
    kind,
    slider({ id: kind, label: LABELS[kind][0], range: RANGES[kind], text: LABELS[kind][1], change: (value) => change(chosen, { [kind]: value }) }),
  ]),
);

/** @param {Side} side @param {Partial<Damage>} what */
function change(side, what) {
  asked = true;
  choose(side);
  damages[side] = bounded({ ...damages[side], ...what });
  for (const kind of KINDS) sliders[kind].set(damages[side][kind]);
  refresh(side);
}

/** @param {Side} side */
function choose(side) {
  chosen = side;
  for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll('input[name="side"]'))) input.checked = input.value === side;
  for (const kind of KINDS) sliders[kind].set(damages[side][kind]);
  for (const one of SIDES) canvas(one).parentElement?.classList.toggle("chosen", one === side);
}

/** @param {Side} side */
function draggable(side) {
  const place = canvas(side);
  /** @type {{x: number, y: number, from: Damage} | undefined} */
  let held;
  place.addEventListener("pointerdown", (event) => {
    place.setPointerCapture(event.pointerId);
    held = { x: event.clientX, y: event.clientY, from: damages[side] };
    choose(side);
  });
  place.addEventListener("pointermove", (event) => {
    if (!held) return;
    const scale = place.width / place.clientWidth;
    const [x, y] = [held.from.x + Math.round(scale * (event.clientX - held.x)), held.from.y + Math.round(scale * (event.clientY - held.y))];
    if (x !== damages[side].x || y !== damages[side].y) change(side, { x, y });
  });
  for (const type of ["pointerup", "pointercancel"]) place.addEventListener(type, () => (held = undefined));
  place.addEventListener("focus", () => choose(side));
  place.addEventListener("keydown", (event) => {
    /** @type {Record<string, [number, number]>} */
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key];
    if (!way || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    change(side, { x: damages[side].x + way[0], y: damages[side].y + way[1] });
  });
}

let pair = -1;

/** The next pair: as much of the second damage as squared error still finds nearer. */
function disagree() {
  if (!photo || !whole) return;
  pair = (pair + 1) % PAIRS.length;
  const [first, kind] = PAIRS[pair];
  const limit = SHARE * squaredError(damaged(photo.planes, bounded(first)), whole);
  const [least, most, step] = RANGES[kind];
  let [low, high] = [Math.max(0, least), most];
  while (high - low > step) {
    const middle = Math.round((low + high) / 2 / step) * step;
    if (middle <= low || middle >= high) break;
    if (squaredError(damaged(photo.planes, bounded({ [kind]: middle })), whole) < limit) low = middle;
    else high = middle;
  }
  damages.a = bounded(first);
  change("b", { ...NONE, [kind]: low });
  refresh("a");
}

// --- start --------------------------------------------------------------------------

/** @param {string} judge @param {string} about */
function row(judge, about) {
  const line = get("judges", HTMLTableSectionElement).insertRow();
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = judge;
  name.title = about;
  line.append(name);
  const a = line.insertCell();
  const middle = line.insertCell();
  const b = line.insertCell();
  middle.className = "balance";
  const needle = Object.assign(document.createElement("i"), { hidden: true });
  const verdict = document.createElement("span");
  middle.append(needle, verdict);
  rows[judge] = { row: line, cells: { a, b }, verdict, needle };
}

async function start() {
  get("sliders", HTMLElement).append(...Object.values(sliders).map(({ box }) => box));
  const found = await lists();
  facts = found.facts;
  layers = facts.features.layers;
  row("squared error", "the mean squared difference of the pixels: 0 is the photo itself");
  row("SSIM", "structural similarity: 1 is the photo itself");
  for (const layer of layers) row(layer, "the squared difference of VGG's features at this layer, of those of the photo: 0 is the photo itself");
  SIDES.forEach(draggable);
  for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll('input[name="side"]'))) {
    input.addEventListener("change", () => choose(/** @type {Side} */ (input.value)));
  }
  get("reset", HTMLButtonElement).onclick = () => change(chosen, NONE);
  get("disagree", HTMLButtonElement).onclick = disagree;
  const link = get("link", HTMLButtonElement);
  link.onclick = () => copy(new URL(`thesis.html${hash()}`, location.href).href, link);
  const state = given();
  Object.assign(damages, { a: state.a, b: state.b });
  // Somebody who was sent the link wants the answer; within the book it waits for a hand.
  asked = !EMBEDDED && !(/** @type {{saveData?: boolean}} */ (Reflect.get(navigator, "connection") ?? {}).saveData);
  const { take } = pictureChoice({
    list: get("samples", HTMLSelectElement),
    file: get("file", HTMLInputElement),
    pictures: asPictures(found.samples.photos),
    load: async (blob, name) => {
      const outcome = await run({ type: "photo", blob, name, side: SIDE + 2 * MARGIN, cover: true });
      return /** @type {Planes} */ (outcome.planes);
    },
    use: (picture) => {
      photo = picture;
      photos += 1;
      whole = damaged(picture.planes, NONE);
      get("credit", HTMLElement).textContent = picture.credit;
      draw(whole, /** @type {HTMLCanvasElement} */ (document.querySelector(".photo-pane canvas")));
      SIDES.forEach(refresh);
    },
  });
  choose("a");
  await take(state.photo);
  addEventListener("hashchange", () => {
    const now = given();
    Object.assign(damages, { a: now.a, b: now.b });
    choose(chosen);
    take(now.photo);
  });
  if (lacking) say(`${lacking} Squared error and SSIM work without.`);
  else if (!asked) say("Move anything: then the network (0.5 MB) and the program that runs it (4 MB, once for the whole site) are fetched.");
}

start().catch((error) => showProblem(error, { again: () => location.reload() }));
