/** The lab of chapters 2 and 8: a photo to a layer of VGG-16 and back, round after round. */

import { toPixels } from "./blend.js";
import { divider } from "./divider.js";
import { EMBEDDED, asPictures, begin, copy, inTurn, keeper, lists, pictureChoice, say } from "./lab.js";
import { get, hideProblem, showProblem } from "./page.js";

/** @typedef {import("./types").Planes} Planes */
/** What was drawn in a round, and how far it is from the photo: squared error first, then the judges. @typedef {{picture: Planes, far: number[]}} Round */

let side = Math.min(256, Math.max(64, Number(new URLSearchParams(location.search).get("side")) || 192));
const STEPS = 40; // where pixels are moved, a round
const [FAST, SLOW] = [0.08, 0.02]; // Adam's step length, at the beginning and at the end
const SMOOTH = 0.002; // weight of the total variation
const MOST = 12; // rounds that a link may ask for
const FIRST = { photo: "chelsea", layer: "relu3_3", way: "deepsim" };
const DEEP = "relu4_3";
/** What draws. @type {Record<string, string>} */
const WAYS = { deepsim: "a network, trained by DeePSiM", image: "a network, trained by squared error", pixels: `${STEPS} steps on the pixels` };
/** How each layer can be drawn: networks ship for deep layers, and a gradient only for shallow ones. @type {Record<string, string[]>} */
const DRAWN = { relu1_2: ["pixels"], relu2_2: ["pixels"], relu3_3: ["deepsim", "image", "pixels"], relu4_3: ["deepsim", "image"] };
const NAMES = { pixels: "squared error of pixels" };

const { engine, lacking } = begin();
const run = inTurn(engine);

/** @type {import("./types").LabFacts | undefined} */
let facts;
/** @type {Planes | undefined} */
let photo;
let photos = 0;
/** @type {Round[]} */
let rounds = [];
/** What the judges are: those of DEEP come with its files. @type {string[]} */
let judges = ["relu1_2", "relu2_2", "relu3_3"];
let going = false;
let asked = 0; // counts what was asked for: what comes of an older question is not shown
let moved = 0; // counts pictures whose pixels are moved

const layer = get("layer", HTMLSelectElement);
const way = get("way", HTMLSelectElement);
const go = get("go", HTMLButtonElement);
const compare = get("compare", HTMLElement);
const view = divider(compare, () => ["photo", "drawing"]);

// --- what is shown ------------------------------------------------------------------

function show() {
  if (!photo) return;
  const last = rounds.at(-1);
  view.show(toPixels(photo), toPixels(last?.picture ?? photo));
  const words = last ? `What is drawn after ${many(rounds.length, "round")}` : "The photo again: nothing is drawn yet";
  compare.querySelector("canvas.after")?.setAttribute("aria-label", words);
  compare.setAttribute("aria-busy", String(going));
  go.disabled = Boolean(lacking) || !facts;
  go.textContent = going ? "Stop" : rounds.length ? "Again: draw the drawing" : "Draw it from its code";
  get("first", HTMLButtonElement).disabled = !rounds.length;
  get("now", HTMLElement).textContent = rounds.length > 1 ? `round ${rounds.length}` : "this round";
  const names = [NAMES.pixels, ...judges.map((judge) => `features at ${judge}`)];
  const rows = names.map((name, at) => {
    const row = document.createElement("tr");
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
    const cells = [rounds[0], rounds.length > 1 ? last : undefined].map((round) => {
      const value = round?.far[at];
      return Object.assign(document.createElement("td"), { textContent: value === undefined ? "–" : value.toPrecision(2) });
    });
    row.append(head, ...cells);
    return row;
  });
  get("judges", HTMLElement).replaceChildren(...rows);
  get("verdict", HTMLElement).textContent = verdict();
  document.documentElement.dataset.round = String(rounds.length);
  document.documentElement.dataset.far = (last?.far ?? []).join(" ");
}

/** What a device without room is offered. */
async function smaller() {
  side = Math.max(64, side >> 1);
  await reload();
  draw(1);
}

/** Load the photo anew. @type {() => Promise<void>} */
let reload = async () => {};

/** @param {number} count @param {string} word */
const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function verdict() {
  const [one, last] = [rounds[0], rounds[rounds.length - 1]];
  if (!one || !last) return "";
  const at = 1 + judges.indexOf(layer.value);
  const share = `${(100 * last.far[at]).toPrecision(2)} %`;
  if (rounds.length === 1) return `At ${layer.value} itself the drawing's features are ${share} off.`;
  const times = last.far[at] / one.far[at];
  if (times < 1.1 && times > 0.9) return `After ${rounds.length} rounds the drawing's features at ${layer.value} are still ${share} off.`;
  return `After ${rounds.length} rounds the drawing's features at ${layer.value} are ${share} off, ${times.toFixed(1)} times as much as after the first.`;
}

// --- what is computed ---------------------------------------------------------------

/** The files of VGG-16, as far as the judges need them. */
function stages() {
  const { features, relu3_3, relu4_3 } = /** @type {import("./types").LabFacts} */ (facts);
  return [features, { ...relu3_3, layers: ["relu3_3"] }, { ...relu4_3, layers: [DEEP] }];
}

/** Rounds until there are so many, or somebody asks for something else. @param {number} until */
async function draw(until) {
  asked += 1;
  const mine = asked;
  const stale = () => mine !== asked;
  going = true;
  hideProblem();
  if (layer.value === DEEP && !judges.includes(DEEP)) {
    judges = [...judges, DEEP];
    rounds = [];
  }
  show();
  try {
    while (photo && rounds.length < until && !stale()) {
      const from = rounds.at(-1)?.picture ?? photo;
      const steps = way.value === "pixels";
      const picture = steps ? await stepped(from, stale) : from;
      if (stale()) return;
      const drawer = steps ? undefined : facts?.[`invert_${layer.value}_${way.value}`];
      const outcome = await run({ type: "knows", key: String(photos), photo, picture, layer: layer.value, drawer, stages: stages(), judges });
      if (stale()) return;
      rounds.push({ picture: /** @type {Planes} */ (outcome.planes), far: outcome.losses ?? [] });
      if (outcome.code?.length) describe(outcome.code);
      say(`${outcome.seconds.toFixed(1)} seconds a round, on this device.`);
      document.documentElement.dataset.update = (1000 * outcome.seconds).toFixed(0);
      show();
      keep();
    }
  } catch (error) {
    if (!stale()) showProblem(error, { again: () => void draw(until), less: smaller });
  } finally {
    if (!stale()) {
      going = false;
      show();
      document.documentElement.dataset.settled = "yes";
    }
  }
}

/**
 * Pixels moved from noise until their features are those of a picture, as in chapter 2.
 *
 * @param {Planes} target
 * @param {() => boolean} stale
 * @returns {Promise<Planes>}
 */
async function stepped(target, stale) {
  const graph = /** @type {import("./types").LabFacts} */ (facts)[layer.value === "relu3_3" ? "gatys" : `pixels_${layer.value}`];
  const { file, bytes, layers, channels, depth } = /** @type {import("./types").LabFacts["gatys"]} */ (graph);
  moved += 1;
  let made = target;
  for (let step = 0; step < STEPS && !stale(); step++) {
    const outcome = await run({
      type: "gatys",
      model: { file, bytes },
      layers,
      channels,
      depth,
      key: `moved ${moved}`,
      run: `moved ${moved}`,
      photo: target,
      painting: target,
      start: "noise",
      style: 0,
      shares: layers.map(() => 1),
      smooth: SMOOTH,
      rate: SLOW + (FAST - SLOW) * (1 - step / STEPS),
    });
    made = /** @type {Planes} */ (outcome.planes);
    if (stale()) break;
    if (photo) view.show(toPixels(photo), toPixels(made));
    say(`Step ${step + 1} of ${STEPS}: the pixels move until ${layer.value} says the same of them.`);
  }
  return made;
}

/** @param {number[]} code its shape */
function describe([, channels, height, width]) {
  if (!photo) return;
  const [numbers, values] = [channels * height * width, photo.data.length];
  const times = numbers / values;
  get("code", HTMLElement).textContent =
    `The code: ${channels} channels at ${height} × ${width} positions, ${numbers.toLocaleString("en")} numbers. ` +
    `The photo has ${values.toLocaleString("en")}: ${times >= 1 ? `the code has ${times.toFixed(1)} times as many` : `the code has ${(1 / times).toFixed(1)} times fewer`}.`;
}

/** Nothing is drawn of what was chosen before. @param {boolean} again draw at once what was drawn before */
function anew(again) {
  asked += 1;
  going = false;
  rounds = [];
  get("code", HTMLElement).textContent = "";
  show();
  keep();
  if (again) draw(1);
}

// --- the address --------------------------------------------------------------------

function hash() {
  const state = new URLSearchParams({ photo: get("samples", HTMLSelectElement).value || FIRST.photo, layer: layer.value, by: way.value, round: String(rounds.length) });
  return `#${state}`;
}

const keep = keeper(() => `${location.pathname}${location.search}${hash()}`);

function offer() {
  const ways = DRAWN[layer.value];
  const before = way.value;
  way.replaceChildren(...ways.map((name) => new Option(WAYS[name], name)));
  if (ways.includes(before)) way.value = before;
}

// --- start --------------------------------------------------------------------------

async function start() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const found = await lists();
  facts = found.facts;
  const { features, relu3_3, relu4_3 } = facts;
  const megabytes = (/** @type {number} */ bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  layer.replaceChildren(...Object.keys(DRAWN).map((name) => new Option(name === DEEP ? `${name} (${megabytes(relu4_3.bytes)} more)` : name, name)));
  layer.value = wanted.get("layer") ?? FIRST.layer;
  if (!layer.value) layer.value = FIRST.layer;
  offer();
  const by = wanted.get("by") ?? FIRST.way;
  if (DRAWN[layer.value].includes(by)) way.value = by;
  layer.onchange = () => {
    const again = rounds.length > 0 || going;
    offer();
    anew(again);
  };
  way.onchange = () => anew(rounds.length > 0 || going);
  go.onclick = () => {
    if (!going) return void draw(rounds.length + 1);
    asked += 1;
    going = false;
    say("Stopped.");
    show();
  };
  get("first", HTMLButtonElement).onclick = () => anew(false);
  const link = get("link", HTMLButtonElement);
  link.onclick = () => copy(new URL(`knows.html${hash()}`, location.href).href, link);
  // Somebody who was sent the link wants the answer; within the book it waits for a hand.
  const saving = /** @type {{saveData?: boolean}} */ (Reflect.get(navigator, "connection") ?? {}).saveData;
  let until = Math.min(MOST, Math.max(0, Number(wanted.get("round") ?? 1) || 0));
  if (EMBEDDED || saving || lacking) until = 0;
  const { take, again } = pictureChoice({
    list: get("samples", HTMLSelectElement),
    file: get("file", HTMLInputElement),
    pictures: asPictures(found.samples.photos),
    load: async (blob, name) => {
      const outcome = await run({ type: "photo", blob, name, side, cover: false });
      return /** @type {Planes} */ (outcome.planes);
    },
    use: ({ planes, credit }) => {
      const before = rounds.length > 0 || going;
      photo = planes;
      photos += 1;
      get("credit", HTMLElement).textContent = credit;
      anew(before);
    },
  });
  reload = again;
  await take(wanted.get("photo") ?? FIRST.photo);
  addEventListener("hashchange", () => location.reload());
  say(
    lacking ||
      `To ${FIRST.layer} the network weighs ${megabytes(features.bytes + relu3_3.bytes)}, and the program that runs it 4 MB, once for the whole site; both are fetched when you start.`,
  );
  if (until) await draw(until);
}

start().catch((error) => showProblem(error, { again: () => location.reload() }));
