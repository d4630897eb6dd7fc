/** The lab of chapter 5: any painting as a style in one pass, with its share and the size of its strokes. */

import { toPixels } from "./blend.js";
import { divider } from "./divider.js";
import { EMBEDDED, asPictures, begin, copy, draw, inTurn, keeper, lists, pictureChoice, say, slider } from "./lab.js";
import { get, hideProblem, save, showProblem } from "./page.js";
import { encodePng } from "./png.js";

/** @typedef {import("./types").Planes} Planes */

let side = Math.min(384, Math.max(64, Number(new URLSearchParams(location.search).get("side")) || 256));
const STROKES = [64, 96, 128, 192, 256, 384]; // the painting's longer side in pixels
const FIRST = { photo: "pagoda", painting: "great_wave", share: 60, stroke: 256, statistics: "covariance", layers: "one" };
/** From the deep to the shallow, as the package goes. @type {Record<string, string[]>} */
const LAYERS = { one: ["relu3_3"], two: ["relu4_3", "relu3_3"] };

const { engine, lacking } = begin();
const run = inTurn(engine);

/** @type {import("./types").LabFacts | undefined} */
let facts;
/** @type {{photo?: Planes, painting?: Planes}} */
const pictures = {};
let [photos, paintings] = [0, 0]; // count what was chosen
let [share, stroke] = [FIRST.share, FIRST.stroke];
let asked = false; // the networks are fetched on a click
/** @type {Planes | undefined} */
let painted;

const go = get("go", HTMLButtonElement);
const saving = get("save", HTMLButtonElement);
const compare = get("compare", HTMLElement);
const statistics = get("statistics", HTMLSelectElement);
const layers = get("layers", HTMLSelectElement);
const view = divider(compare, () => ["photo", "painted"]);

// --- what is computed ---------------------------------------------------------------

let painting = false;
let again = false; // something has been changed meanwhile

/** The newest state only. */
async function paint() {
  again = true;
  if (painting || lacking) return;
  painting = true;
  hideProblem();
  compare.setAttribute("aria-busy", "true");
  try {
    while (again && facts && pictures.photo && pictures.painting) {
      again = false;
      const { features, relu3_3, relu4_3, decode_relu3_3, decode_relu4_3 } = facts;
      const outcome = await run({
        type: "restyle",
        key: String(photos),
        style: String(paintings),
        photo: pictures.photo,
        painting: pictures.painting,
        layers: LAYERS[layers.value],
        stages: [features, { ...relu3_3, layers: ["relu3_3"] }, { ...relu4_3, layers: ["relu4_3"] }],
        decoders: { relu3_3: decode_relu3_3, relu4_3: decode_relu4_3 },
        statistics: statistics.value === "deviation" ? "deviation" : "covariance",
        share: share / 100,
      });
      painted = outcome.planes;
      document.documentElement.dataset.update = (1000 * outcome.seconds).toFixed(0);
      say(`${outcome.seconds.toFixed(1)} seconds, on this device.`);
      show();
    }
  } catch (error) {
    showProblem(error, { again: () => void paint(), less: smaller });
  } finally {
    painting = false;
    compare.setAttribute("aria-busy", "false");
    document.documentElement.dataset.settled = "yes";
  }
}

/** What a device without room is offered: then it is painted by itself, as after any change. */
async function smaller() {
  side = Math.max(64, side >> 1);
  layers.value = "one";
  await reload();
}

/** Load the photo anew. @type {() => Promise<void>} */
let reload = async () => {};

function show() {
  if (!pictures.photo) return;
  view.show(toPixels(pictures.photo), toPixels(painted ?? pictures.photo));
  compare.querySelector("canvas.after")?.setAttribute("aria-label", painted ? "The photo, painted" : "The photo again: nothing is painted yet");
  go.disabled = Boolean(lacking) || !facts;
  go.hidden = asked;
  saving.disabled = !painted;
}

function change() {
  keep();
  if (asked) paint();
}

// --- the address --------------------------------------------------------------------

function hash() {
  const [photo, style] = ["photos", "paintings"].map((id) => get(id, HTMLSelectElement).value);
  const state = { photo: photo || FIRST.photo, painting: style || FIRST.painting, share: String(share), stroke: String(stroke), statistics: statistics.value, layers: layers.value };
  return `#${new URLSearchParams(state)}`;
}

const keep = keeper(() => `${location.pathname}${location.search}${hash()}`);

// --- start --------------------------------------------------------------------------

async function start() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const found = await lists();
  facts = found.facts;
  const { features, relu3_3, relu4_3, decode_relu3_3, decode_relu4_3 } = facts;
  const megabytes = (/** @type {number[]} */ ...bytes) => `${(bytes.reduce((sum, one) => sum + one, 0) / 1e6).toFixed(1)} MB`;
  layers.replaceChildren(new Option("relu3_3 alone", "one"), new Option(`relu4_3, then relu3_3 (${megabytes(relu4_3.bytes, decode_relu4_3.bytes)} more)`, "two"));
  if (wanted.get("layers") === "two") layers.value = "two";
  if (wanted.get("statistics") === "deviation") statistics.value = "deviation";
  const given = (/** @type {string} */ name, /** @type {number} */ other) => Number(wanted.get(name) ?? other);
  share = Math.min(100, Math.max(0, Math.round(given("share", FIRST.share)))) || 0;
  stroke = STROKES.includes(given("stroke", FIRST.stroke)) ? given("stroke", FIRST.stroke) : FIRST.stroke;
  /** @param {Blob} blob @param {string} name @param {number} longer */
  const load = async (blob, name, longer) => /** @type {Planes} */ ((await run({ type: "photo", blob, name, side: longer, cover: false })).planes);
  const chosenPhotos = pictureChoice({
    list: get("photos", HTMLSelectElement),
    file: get("photo-file", HTMLInputElement),
    pictures: asPictures(found.samples.photos),
    load: (blob, name) => load(blob, name, side),
    use: ({ planes, credit }) => {
      pictures.photo = planes;
      painted = undefined;
      photos += 1;
      get("photo-credit", HTMLElement).textContent = credit;
      show();
      change();
    },
  });
  const chosenPaintings = pictureChoice({
    list: get("paintings", HTMLSelectElement),
    file: get("painting-file", HTMLInputElement),
    pictures: Object.entries(found.samples.styles).map(([id, { whole, title, author }]) => ({ id, file: whole, title, credit: `${title}, ${author}` })),
    load: (blob, name) => load(blob, name, stroke),
    use: ({ planes, credit }) => {
      pictures.painting = planes;
      paintings += 1;
      draw(planes, get("painting", HTMLCanvasElement));
      get("painting-credit", HTMLElement).textContent = credit;
      change();
    },
  });
  const blend = slider({ id: "share", label: "Share", range: [0, 100, 5], text: (value) => `${value} %`, change: (value) => ((share = value), change()) });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  const strokes = slider({
    id: "stroke",
    label: "Strokes",
    range: [0, STROKES.length - 1, 1],
    text: (at) => `${STROKES[at]} px`,
    change: (at) => {
      stroke = STROKES[at];
      clearTimeout(waiting); // a painting is not decoded at each size on the way
      waiting = setTimeout(() => chosenPaintings.again(), 150);
    },
  });
  get("sliders", HTMLElement).append(blend.box, strokes.box);
  blend.set(share);
  strokes.set(STROKES.indexOf(stroke));
  statistics.onchange = layers.onchange = change;
  go.onclick = () => {
    asked = true;
    show();
    paint();
  };
  saving.onclick = async () => painted && save(await encodePng(toPixels(painted)), "pltutorial_any_painting.png");
  const link = get("link", HTMLButtonElement);
  link.onclick = () => copy(new URL(`restyle.html${hash()}`, location.href).href, link);
  reload = chosenPhotos.again;
  await chosenPhotos.take(wanted.get("photo") ?? FIRST.photo);
  await chosenPaintings.take(wanted.get("painting") ?? FIRST.painting);
  addEventListener("hashchange", () => location.reload());
  say(
    lacking ||
      `The networks (${megabytes(features.bytes, relu3_3.bytes, decode_relu3_3.bytes)}) and the program that runs them (4 MB, once for the whole site) are fetched when you start.`,
  );
  // Somebody who was sent the link wants the answer; within the book it waits for a hand.
  const sparing = /** @type {{saveData?: boolean}} */ (Reflect.get(navigator, "connection") ?? {}).saveData;
  if (EMBEDDED || sparing || lacking) return;
  asked = true;
  show();
  paint();
}

start().catch((error) => showProblem(error, { again: () => location.reload() }));
