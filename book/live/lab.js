/** What the labs share: the worker, photos, drawing, and what is said while something is fetched. */

import { toPixels } from "./blend.js";
import { createEngine } from "./engine.js";
import { json, missing } from "./needs.js";
import { get, hideProblem, showProblem } from "./page.js";
import { asProblem } from "./problem.js";
import { followOthers, themeButton } from "./theme.js";

/** @typedef {import("./types").Planes} Planes */
/** @typedef {{name: string, planes: Planes, credit: string}} Photo */

/** In a page of the book the lab has no header and no title of its own. */
export const EMBEDDED = new URLSearchParams(location.search).has("in");

/**
 * The page's frame: colours, what the browser lacks, the worker.
 *
 * @returns {{engine: import("./engine.js").Engine, lacking: string}}
 */
export function begin() {
  document.documentElement.dataset.ready = "yes";
  document.documentElement.classList.toggle("embedded", EMBEDDED);
  if (EMBEDDED) {
    for (const link of document.querySelectorAll("a")) link.target = "_top";
    followOthers();
  } else {
    themeButton(get("theme", HTMLButtonElement));
  }
  return { engine: createEngine(() => new Worker("worker.js", { type: "module" })), lacking: missing() };
}

/**
 * One job after the other: a new one would end the one that is under way.
 *
 * @param {import("./engine.js").Engine} engine
 * @returns {(job: import("./types").LabJob) => Promise<import("./types").Outcome>}
 */
export function inTurn(engine) {
  /** @type {Promise<unknown>} */
  let last = Promise.resolve();
  return (job) => {
    const made = last.then(() => engine.run(job, told));
    last = made.catch(() => {});
    return made.finally(quiet);
  };
}

/** @param {import("./types").Progress} progress */
function told({ stage, done, total, what }) {
  const bar = get("progress", HTMLProgressElement);
  bar.hidden = stage !== "download";
  if (stage !== "download") return;
  bar.value = total ? done / total : 0;
  say(`Fetching ${what} …`);
}

function quiet() {
  get("progress", HTMLProgressElement).hidden = true;
}

/** @param {string} text */
export function say(text) {
  get("status", HTMLElement).textContent = text;
}

/** @param {Planes} picture @param {HTMLCanvasElement} canvas */
export function draw(picture, canvas) {
  const { width, height, data } = toPixels(picture);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d", { willReadFrequently: true })?.putImageData(new ImageData(data, width, height), 0, 0);
}

/**
 * A list of our pictures and a file of the reader's; what is chosen comes as planes.
 *
 * @param {{list: HTMLSelectElement, file: HTMLInputElement, pictures: {id: string, file: string, title: string, credit: string}[],
 *   load: (blob: Blob, name: string) => Promise<Planes>, use: (photo: Photo) => void}} how
 * @returns {{take: (id: string) => Promise<void>, again: () => Promise<void>}} takes one of ours; loads anew what was taken
 */
export function pictureChoice({ list, file, pictures, load, use }) {
  list.replaceChildren(...pictures.map(({ id, title }) => new Option(title, id)));
  /** @type {[Blob, string, string] | undefined} */
  let taken;
  /** @param {Blob} blob @param {string} name @param {string} credit */
  async function take(blob, name, credit) {
    taken = [blob, name, credit];
    try {
      use({ name, planes: await load(blob, name), credit });
      hideProblem();
    } catch (error) {
      showProblem(error);
    }
  }
  /** @param {string} id */
  async function ours(id) {
    const { file: path, credit } = pictures.find((picture) => picture.id === id) ?? pictures[0];
    list.value = pictures.some((picture) => picture.id === id) ? id : pictures[0].id;
    const response = await fetch(`samples/${path}`).catch(() => null);
    if (!response?.ok) return showProblem(asProblem(new Error(`${path} could not be fetched`)), { again: () => ours(id) });
    await take(await response.blob(), list.value, credit);
  }
  list.addEventListener("change", () => ours(list.value));
  file.addEventListener("change", async () => {
    const chosen = file.files?.[0];
    if (!chosen) return;
    if (!list.querySelector('option[value=""]')) list.prepend(new Option("your own", ""));
    list.value = "";
    await take(chosen, chosen.name, "");
    file.value = "";
  });
  return { take: ours, again: async () => taken && take(...taken) };
}

/** @returns {Promise<{samples: import("./types").Samples, facts: import("./types").LabFacts}>} */
export async function lists() {
  const [samples, facts] = await Promise.all([json("samples/samples.json"), json("models/labs.json")]);
  return { samples, facts };
}

/** @param {import("./types").SamplePhoto[]} photos */
export function asPictures(photos) {
  return photos.map(({ file, title, author, licence }) => ({ id: file.replace(/\.jpg$/, ""), file, title, credit: `${author}, ${licence.replaceAll("-", " ")}` }));
}

/** A slider with its label and its value. @param {{id: string, label: string, range: [number, number, number], text: (value: number) => string, change: (value: number) => void}} how */
export function slider({ id, label, range: [min, max, step], text, change }) {
  const input = Object.assign(document.createElement("input"), { type: "range", id, min: String(min), max: String(max), step: String(step), value: "0" });
  const output = Object.assign(document.createElement("output"), { htmlFor: id });
  const name = Object.assign(document.createElement("label"), { htmlFor: id, textContent: label });
  const box = Object.assign(document.createElement("div"), { className: "field" });
  box.append(name, output, input);
  const show = () => {
    output.textContent = text(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => {
    show();
    change(Number(input.value));
  });
  show();
  return {
    box,
    /** @param {number} value */
    set(value) {
      input.value = String(value);
      show();
    },
  };
}

/** A function that writes the state into the address, a moment after its last call: browsers count how often that changes. @param {() => string} hash */
export function keeper(hash) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let keeping;
  return () => {
    clearTimeout(keeping);
    keeping = setTimeout(() => history.replaceState(null, "", hash()), 300);
  };
}

/** @param {string} text @param {HTMLButtonElement} button */
export async function copy(text, button) {
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = said), 2000);
  } catch {
    say(`The browser does not let this page copy; the link is ${text}`);
  }
}
