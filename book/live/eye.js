/** The lab of chapter 12: copies of equal squared error, in the reader's order and in that of each judge. */

import { MARGIN } from "./damages.js";
import { squaredError, ssim } from "./judges.js";
import { asPictures, begin, copy, draw, inTurn, lists, pictureChoice, say } from "./lab.js";
import { get, showProblem } from "./page.js";
import { byChance, rankCorrelation } from "./ranks.js";
import { draws } from "./tiles.js";

/** @typedef {import("./types").Planes} Planes */
/** @typedef {import("./types").Copy} Copy */

const SIDE = Math.min(256, Math.max(64, 8 * Math.round(Number(new URLSearchParams(location.search).get("side") ?? 192) / 8) || 192));
const FIRST = "pagoda";
const NAMES = { shift: "moved", blur: "blur", noise: "noise", disc: "disc", jpeg: "JPEG", contrast: "contrast", brighter: "brighter", blocks: "blocks" };
/** @typedef {keyof typeof NAMES} Kind */

const { engine, lacking } = begin();
const run = inTurn(engine);

/** @typedef {{model: import("./types").ModelFile, layers: string[], deep?: import("./types").GatysGraph}} Graph */
/** What the network's layers are computed with. @type {Graph[]} */
const graphs = [];
/** @type {Planes | undefined} */
let whole;
let photos = 0;
/** As they lie on the page. @type {Copy[]} */
let copies = [];
/** The reader's kinds, from the best to the worst. @type {string[]} */
let mine = [];
/** Of whoever sent the link. @type {string[]} */
let sent = [];
/** By judge and kind a distance, 0 for the photo itself. @type {Record<string, Record<string, number>>} */
let distances = {};
const judges = () => ["SSIM", ...graphs.flatMap(({ layers }) => layers)];

const list = get("copies", HTMLOListElement);
const samples = get("samples", HTMLSelectElement);

/** @param {number} at */
const letter = (at) => String.fromCharCode(65 + at);
/** @param {string} kind */
const named = (kind) => NAMES[/** @type {Kind} */ (kind)] ?? kind;
const done = () => copies.length > 0 && mine.length === copies.length;

// --- the copies ---------------------------------------------------------------------

/** Where a copy lies says nothing of what was done to it. @param {Copy[]} made */
function lay(made) {
  const uniform = draws(17 + photos);
  const order = made.map((one) => ({ one, at: uniform() })).sort((a, b) => a.at - b.at);
  copies = order.map(({ one }) => one);
  list.replaceChildren(
    ...copies.map(({ kind, picture }, at) => {
      const item = document.createElement("li");
      const button = Object.assign(document.createElement("button"), { type: "button" });
      const canvas = document.createElement("canvas");
      canvas.setAttribute("aria-hidden", "true");
      draw(picture, canvas);
      const badge = Object.assign(document.createElement("b"), { hidden: true });
      badge.setAttribute("aria-hidden", "true");
      const heard = Object.assign(document.createElement("span"), { className: "unseen" });
      button.append(canvas, badge, heard, document.createElement("span"));
      button.dataset.kind = kind;
      button.dataset.letter = letter(at);
      button.onclick = () => pick(kind);
      item.append(button);
      return item;
    }),
  );
}

/** @param {string} kind */
function pick(kind) {
  if (done()) return;
  mine = mine.includes(kind) ? mine.filter((one) => one !== kind) : [...mine, kind];
  // the last one is the only one left
  if (mine.length === copies.length - 1) mine.push(...copies.map((one) => one.kind).filter((one) => !mine.includes(one)));
  asked = true;
  judge();
  show();
  if (done()) {
    get("result-title", HTMLElement).focus({ preventScroll: true });
    get("result", HTMLElement).scrollIntoView({ block: "nearest" });
  }
}

function show() {
  const ended = done();
  for (const button of list.querySelectorAll("button")) {
    const kind = button.dataset.kind ?? "";
    const place = mine.indexOf(kind) + 1;
    const badge = /** @type {HTMLElement} */ (button.querySelector("b"));
    badge.hidden = !place;
    badge.textContent = String(place || "");
    const heard = /** @type {HTMLElement} */ (button.querySelector(".unseen"));
    const words = /** @type {HTMLElement} */ (button.lastElementChild);
    const said = copies.find((one) => one.kind === kind)?.words ?? "";
    heard.textContent = `Copy ${button.dataset.letter}${place ? `, your number ${place}` : ""}${ended ? ": " : ""}`;
    words.textContent = ended ? said : (button.dataset.letter ?? "");
    words.setAttribute("aria-hidden", ended ? "false" : "true");
    button.setAttribute("aria-pressed", place ? "true" : "false");
    button.setAttribute("aria-disabled", ended ? "true" : "false");
  }
  const next = mine.length + 1;
  get("turn", HTMLElement).textContent = ended ? "Your order is complete." : copies.length ? `Number ${next} of ${copies.length}: ${next === 1 ? "the best" : "the best of the rest"}.` : "The copies are made …";
  get("again", HTMLButtonElement).disabled = !mine.length;
  get("result", HTMLElement).hidden = !ended;
  document.documentElement.dataset.picked = String(mine.length);
  if (ended) results();
}

// --- the judges ---------------------------------------------------------------------

let judging = false;
let asked = false; // by the first click

/** What some judge has not said yet. @returns {{one: Copy, graph?: Graph} | undefined} */
function missing() {
  if (!asked) return undefined;
  for (const one of copies) {
    if (distances.SSIM?.[one.kind] === undefined) return { one };
    const graph = lacking ? undefined : graphs.find(({ layers }) => distances[layers[0]]?.[one.kind] === undefined);
    if (graph) return { one, graph };
  }
  return undefined;
}

/** All judges, while the reader is still choosing. */
async function judge() {
  if (judging) return;
  judging = true;
  let seconds = 0;
  try {
    for (let next = missing(); next && whole; next = missing()) {
      const { one, graph } = next;
      const [now, { kind, picture }] = [photos, one];
      if (!graph) (distances.SSIM ??= {})[kind] = 1 - ssim(picture, whole);
      else {
        const { layers } = graph;
        const outcome = await run({ ...graph, type: "features", key: `${photos} ${layers}`, reference: whole, picture });
        if (now !== photos) continue; // another photo was taken
        layers.forEach((layer, at) => ((distances[layer] ??= {})[kind] = outcome.losses?.[at] ?? NaN));
        seconds += outcome.seconds;
      }
      if (done()) results();
    }
    document.documentElement.dataset.judged = "yes";
    if (!lacking && seconds) say(`The network's answers took ${seconds.toFixed(1)} seconds, on this device.`);
  } catch (error) {
    showProblem(error, { again: judge });
  } finally {
    judging = false;
  }
}

/** The order of a judge, or nothing where it has not seen all. @param {string} name */
function orderOf(name) {
  const known = distances[name] ?? {};
  if (Object.keys(known).length < copies.length) return undefined;
  return Object.keys(known).sort((one, other) => known[one] - known[other]);
}

function results() {
  const rows = [row("you", mine, "")];
  if (sent.length) rows.push(row("whoever sent the link", sent, agreement(sent)));
  const decibels = whole ? -10 * Math.log10(squaredError(copies[0].picture, whole)) : 0;
  rows.push(row("PSNR", undefined, "no order", `${decibels.toFixed(1)} dB for each: to squared error all are alike`));
  let best = { name: "", value: -2 };
  for (const name of judges()) {
    const order = orderOf(name);
    rows.push(row(name, order, order ? agreement(order) : "…", lacking && name !== "SSIM" ? "needs the network" : "…"));
    const value = order ? rankCorrelation(mine, order) : -2;
    if (value > best.value) best = { name, value };
  }
  get("orders", HTMLTableSectionElement).replaceChildren(...rows);
  const complete = judges().every((name) => orderOf(name) || (lacking && name !== "SSIM"));
  const chance = byChance(best.value, copies.length);
  get("verdict", HTMLElement).textContent = complete
    ? `You agree most with ${best.name} (${signed(best.value)}). Of all orders, one in ${Math.max(1, Math.round(1 / chance))} agrees with it as well as yours, and it is the best of ${judges().length} judges: one picture decides nothing.`
    : "";
  get("share", HTMLButtonElement).disabled = !complete;
  document.documentElement.dataset.complete = complete ? "yes" : "no";
}

/** @param {number} value */
const signed = (value) => value.toFixed(2).replace("-", "−");
/** @param {string[]} order */
const agreement = (order) => signed(rankCorrelation(mine, order));

/** @param {string} name @param {string[] | undefined} order @param {string} agrees @param {string} [instead] */
function row(name, order, agrees, instead = "") {
  const line = document.createElement("tr");
  const head = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
  const middle = document.createElement("td");
  if (order) {
    const items = order.map((kind) => {
      const canvas = document.createElement("canvas");
      canvas.setAttribute("aria-hidden", "true");
      const copied = copies.find((one) => one.kind === kind);
      if (copied) draw(copied.picture, canvas);
      const item = document.createElement("li");
      item.append(canvas, Object.assign(document.createElement("span"), { textContent: named(kind) }));
      return item;
    });
    const all = document.createElement("ol");
    all.append(...items);
    middle.append(all);
  } else middle.textContent = instead;
  const last = Object.assign(document.createElement("td"), { textContent: agrees });
  line.append(head, middle, last);
  return line;
}

// --- the result, and its link -------------------------------------------------------

/** Only our own photos are the same for somebody else. */
function address() {
  const ours = samples.value;
  const kept = ours ? `#photo=${ours}&order=${mine.join("-")}` : "";
  return new URL(`eye.html${kept}`, location.href).href;
}

function line() {
  const orders = judges().flatMap((name) => {
    const order = orderOf(name);
    return order ? `${name} ${agreement(order)}` : [];
  });
  return `My eye against the judges (${samples.value || "a photo of mine"}), from best to worst: ${mine.map(named).join(", ")}. Rank correlation with me: ${orders.join(", ")}. ${address()}`;
}

/** What the address says. */
function given() {
  const said = new URLSearchParams(location.hash.slice(1));
  const kinds = (said.get("order") ?? "").split("-").filter((kind) => kind in NAMES);
  return { photo: said.get("photo") ?? FIRST, order: [...new Set(kinds)] };
}

// --- start --------------------------------------------------------------------------

async function start() {
  const found = await lists();
  const { features, gatys } = found.facts;
  graphs.push({ model: { file: features.file, bytes: features.bytes }, layers: features.layers });
  const link = given();
  get("again", HTMLButtonElement).onclick = () => {
    mine = [];
    show();
  };
  const last = gatys.layers.slice(-1);
  const deeper = get("deeper", HTMLButtonElement);
  deeper.textContent = `Ask ${last} too (${(gatys.bytes / 1e6).toFixed(1)} MB)`;
  deeper.disabled = Boolean(lacking);
  deeper.onclick = () => {
    deeper.disabled = true;
    graphs.push({ model: { file: gatys.file, bytes: gatys.bytes }, layers: last, deep: { layers: gatys.layers, channels: gatys.channels, depth: gatys.depth } });
    results();
    judge();
  };
  const share = get("share", HTMLButtonElement);
  share.onclick = () => copy(line(), share);
  /** @type {Copy[]} */
  let made = [];
  const { take } = pictureChoice({
    list: samples,
    file: get("file", HTMLInputElement),
    pictures: asPictures(found.samples.photos),
    load: async (blob, name) => {
      say("The copies are made …");
      const outcome = await run({ type: "photo", blob, name, side: SIDE + 2 * MARGIN, cover: true });
      const { planes, copies: found } = await run({ type: "equal", photo: /** @type {Planes} */ (outcome.planes) });
      made = found ?? [];
      return /** @type {Planes} */ (planes);
    },
    use: ({ planes, credit }) => {
      whole = planes;
      photos += 1;
      [mine, distances, asked] = [[], {}, false];
      lay(made);
      // an order of other kinds is an order of another picture
      const fits = samples.value === link.photo && link.order.length === copies.length && copies.every(({ kind }) => link.order.includes(kind));
      sent = fits ? link.order : [];
      draw(planes, get("photo", HTMLCanvasElement));
      get("credit", HTMLElement).textContent = credit;
      show();
      if (lacking) say(`${lacking} SSIM works without.`);
      else say(photos > 1 ? "" : "With your first click the network (0.5 MB) and the program that runs it (4 MB, once for the whole site) are fetched.");
    },
  });
  await take(link.photo);
  addEventListener("hashchange", () => location.reload());
}

start().catch((error) => showProblem(error, { again: () => location.reload() }));
