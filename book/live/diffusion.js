/** The lab of chapter 11: the sampler of flow matching, one step after the other, with what the network is given and what it answers. */

import { EMBEDDED, begin, copy, draw, inTurn, keeper, lists, say, slider } from "./lab.js";
import { get, save, showProblem } from "./page.js";
import { normals, sharpness, sheet } from "./sampler.js";

/** @typedef {Float32Array<ArrayBuffer>} Floats */

const { engine, lacking } = begin();
const run = inTurn(engine);
const root = document.documentElement.dataset;
// Who asks for less motion sees where a walk ends, and every step by hand.
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

/** @type {import("./types").LabFacts["flow"] | undefined} */
let facts;
/** The points of the walk, and the answer at each; the last answer is not there yet. @type {{x: Floats, estimate?: Floats}[]} */
let walk = [];
let walks = 0;
let at = 0; // the point that is shown
let going = false;
let passes = 0;
let took = 0; // seconds in the network
let seed = 1;
let guidance = 1;

const go = get("go", HTMLButtonElement);
const one = get("one", HTMLButtonElement);
/** @param {string} id */
const select = (id) => get(id, HTMLSelectElement);
const steps = () => Number(select("steps").value);
const count = () => Number(select("faces").value);
const done = () => walk.length - 1;

// --- what is shown ------------------------------------------------------------------

function show() {
  if (!facts || !walk.length) return;
  const columns = Math.sqrt(count());
  const { x, estimate } = walk[at];
  const t = at / steps();
  const [given, answer] = [get("noisy", HTMLCanvasElement), get("estimate", HTMLCanvasElement)];
  draw(sheet(x, facts.size, columns, true), given);
  given.setAttribute("aria-label", at === 0 ? "Noise" : at === steps() ? "The faces at the end of the walk" : `Noisy faces, at t = ${t.toFixed(2)}`);
  const shown = estimate ?? (at === steps() ? x : undefined);
  answer.classList.toggle("waiting", !shown);
  if (shown) draw(sheet(shown, facts.size, columns, true), answer);
  answer.setAttribute("aria-label", shown ? `What the network answers at t = ${t.toFixed(2)}` : "No answer yet");
  const share = shown && (100 * sharpness(shown, facts.size)) / facts.sharpness;
  const where = `Step ${at} of ${steps()}, t = ${t.toFixed(2)}`;
  // While it walks by itself nothing is read out at each step.
  get("words", HTMLElement).setAttribute("aria-live", going ? "off" : "polite");
  get("words", HTMLElement).textContent = share === undefined ? `${where}: not asked yet.` : `${where}: x̂ has ${share.toFixed(0)} % of the sharpness of faces drawn by hand.`;
  if (share !== undefined) root.sharp = share.toFixed(3);
  position();
}

function buttons() {
  const finished = done() >= steps();
  go.textContent = going ? "Pause" : finished ? "Draw again" : done() ? "Go on" : "Draw";
  go.disabled = Boolean(lacking) || !facts;
  one.disabled = go.disabled || going || finished;
  get("save", HTMLButtonElement).disabled = !finished;
  Object.assign(root, { step: String(done()), going: going ? "yes" : "no", complete: finished && !going ? "yes" : "" });
}

const along = slider({
  id: "position",
  label: "Look back",
  range: [0, 1, 1],
  text: (value) => `step ${value}`,
  change: (value) => {
    going = false;
    at = Math.min(value, done());
    show();
    buttons();
  },
});

function position() {
  const input = get("position", HTMLInputElement);
  Object.assign(input, { max: String(Math.max(1, done())), disabled: !done() });
  along.set(at);
}

/** New noise, or another way through the same. */
function restart() {
  if (!facts) return;
  walks += 1;
  going = false;
  [at, passes, took] = [0, 0, 0];
  walk = [{ x: normals(seed, count() * 3 * facts.size ** 2) }];
  const open = !select("hair").value;
  get("guidance", HTMLInputElement).disabled = open;
  if (open) strength.set((guidance = 1));
  get("estimate", HTMLCanvasElement).getContext("2d")?.clearRect(0, 0, 9999, 9999);
  keep();
  show();
  buttons();
}

// --- the walk -----------------------------------------------------------------------

/** So many steps on from where the walk is. @param {number} until */
async function advance(until) {
  if (going || !facts) return;
  going = true;
  const mine = walks;
  at = done();
  buttons();
  try {
    while (going && mine === walks && done() < until) {
      const now = done();
      const { x } = walk[now];
      const heun = select("solver").value === "heun";
      const { step, seconds } = await run({
        type: "flow",
        model: { file: facts.file, bytes: facts.bytes },
        x,
        size: facts.size,
        classes: facts.classes.length,
        label: select("hair").value ? facts.classes.indexOf(select("hair").value) : facts.classes.length,
        guidance,
        t: now / steps(),
        after: (now + 1) / steps(),
        heun,
      });
      if (mine !== walks || !step) return;
      walk[now].estimate = step.estimate;
      walk.push({ x: step.x });
      passes += (heun && now + 1 < steps() ? 2 : 1) * (guidance === 1 ? 1 : 2);
      took += seconds;
      const last = done() >= steps();
      // An answer belongs to the point that it was asked at; the end answers for itself.
      if (going) at = last ? steps() : now;
      if (!still || last || done() >= until) show();
      say(`${count()} ${count() > 1 ? "faces" : "face"}, ${passes} ${passes > 1 ? "passes" : "pass"} through the network: ${took.toFixed(1)} seconds on this device.`);
      root.seconds = took.toFixed(3);
      buttons();
    }
  } catch (error) {
    showProblem(error, { again: () => void advance(until) });
  } finally {
    if (mine === walks) {
      going = false;
      show();
      buttons();
    }
  }
}

// --- the state, and its link --------------------------------------------------------

function hash() {
  const values = ["steps", "solver", "hair", "faces"].map((id) => `${id}=${select(id).value.replaceAll(" ", "_")}`);
  return `#${values.join("&")}&guidance=${guidance}&seed=${seed}`;
}

const keep = keeper(hash);

function given() {
  const said = new URLSearchParams(location.hash.slice(1));
  for (const id of ["steps", "solver", "hair", "faces"]) {
    const wanted = (said.get(id) ?? "").replaceAll("_", " ");
    if (said.has(id) && [...select(id).options].some(({ value }) => value === wanted)) select(id).value = wanted;
  }
  const [strong, number] = [Number(said.get("guidance") ?? 1), Number(said.get("seed") ?? 1)];
  if (Number.isFinite(strong)) guidance = Math.min(4, Math.max(0, Math.round(2 * strong) / 2));
  if (Number.isFinite(number)) seed = Math.min(9999, Math.max(0, Math.floor(number)));
  strength.set(guidance);
}

const strength = slider({
  id: "guidance",
  label: "Guidance",
  range: [0, 4, 0.5],
  text: (value) => String(value),
  change: (value) => {
    guidance = value;
    restart();
  },
});

// --- start --------------------------------------------------------------------------

async function start() {
  const found = (await lists()).facts.flow;
  select("hair").append(...found.classes.map((name) => new Option(name, name)));
  get("controls", HTMLFormElement).append(strength.box);
  get("walked", HTMLElement).append(along.box);
  given();
  facts = found;
  for (const id of ["steps", "solver", "hair", "faces"]) select(id).onchange = restart;
  go.onclick = () => {
    if (going) {
      going = false;
      buttons();
      return;
    }
    if (done() >= steps()) restart();
    void advance(steps());
  };
  one.onclick = () => void advance(done() + 1);
  get("other", HTMLButtonElement).onclick = () => {
    seed = (seed % 9999) + 1;
    restart();
  };
  get("save", HTMLButtonElement).onclick = () => {
    const ended = document.createElement("canvas");
    draw(sheet(walk[done()].x, found.size, Math.sqrt(count()), true), ended);
    ended.toBlob((blob) => blob && save(blob, "pltutorial_faces.png"));
  };
  const link = get("link", HTMLButtonElement);
  link.onclick = () => copy(new URL(`diffusion.html${hash()}`, location.href).href, link);
  restart();
  addEventListener("hashchange", () => location.reload());
  // Somebody who was sent the link wants the answer; within the book it waits for a hand.
  const waits = EMBEDDED || /** @type {{saveData?: boolean}} */ (Reflect.get(navigator, "connection") ?? {}).saveData;
  if (lacking) say(lacking);
  else if (waits) say(`The network (${(found.bytes / 1e6).toFixed(1)} MB) and the program that runs it (4 MB, once for the whole site) are fetched when you draw.`);
  else void advance(steps());
}

start().catch((error) => showProblem(error, { again: () => location.reload() }));
