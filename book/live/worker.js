/** The page's worker: decodes pictures and runs the networks, so that the page itself never waits. */

import { mix, toPixels } from "./blend.js";
import { decode } from "./decode.js";
import { equal } from "./equal.js";
import { decode as decodeFaces, flow } from "./faces_jobs.js";
import { gram } from "./gram_jobs.js";
import { knows } from "./knows_jobs.js";
import { features, gatys, photo as labPhoto } from "./lab_jobs.js";
import { fetchBytes } from "./fetching.js";
import { plan, seenAt } from "./plan.js";
import { repair } from "./repair_jobs.js";
import { Problem, asProblem } from "./problem.js";
import { resize } from "./resize.js";
import { restyle } from "./restyle_jobs.js";
import { inTiles } from "./tiling.js";
import { pixels } from "./format.js";

/** The little of onnxruntime-web that is used. @typedef {{data: Float32Array<ArrayBuffer>, dims: readonly number[]}} Tensor */
/** @typedef {{run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>}} Session */
/**
 * @typedef {{
 *   env: {logLevel: string, wasm: {wasmPaths: string, numThreads: number, wasmBinary: Uint8Array}},
 *   Tensor: new (type: "float32", data: Float32Array, dims: number[]) => Tensor,
 *   InferenceSession: {create(model: Uint8Array, options: object): Promise<Session>},
 * }} Runtime
 */

const SMALLEST = 16; // pixels along a side that the style network needs
const WASM = "ort/ort-wasm-simd-threaded.wasm";
const WASM_BYTES = 14_239_897; // for the progress bar only

const threads = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
/** @type {Promise<Runtime> | undefined} */
let runtime;
/** @type {Map<string, Promise<Session>>} */
const sessions = new Map();
/** The last of each is kept: only what has changed is computed again. */
/** @type {{key: number, photo: Awaited<ReturnType<typeof decode>>} | undefined} */
let source;
/** @type {{of: string, picture: import("./types").Planes} | undefined} */
let sized;
/** @type {{of: string, picture: import("./types").Planes} | undefined} */
let printed;

/** @typedef {(progress: import("./types").Progress) => void} Report */

/**
 * @param {Report} report
 * @returns {Promise<Runtime>}
 */
async function loadRuntime(report) {
  const here = import.meta.url;
  let ort;
  try {
    ort = /** @type {Runtime} */ (await import(new URL("ort/ort.wasm.min.mjs", here).href));
  } catch {
    throw new Problem("network", "The program that runs networks could not be fetched. Check the network, then try again.");
  }
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = new URL("ort/", here).href;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmBinary = await fetchBytes(new URL(WASM, here), WASM_BYTES, (done, total) =>
    report({ stage: "download", done, total, what: "the program that runs networks" }),
  );
  return ort;
}

/**
 * @param {import("./types").ModelFile} model
 * @param {Report} report
 * @returns {Promise<[Runtime, Session]>}
 */
async function ready({ file, bytes }, report) {
  if (typeof WebAssembly === "undefined") {
    throw new Problem("unsupported", "WebAssembly is switched off in this browser, and the networks need it. Allow it, or use another browser.");
  }
  runtime ??= loadRuntime(report);
  const ort = await runtime;
  let session = sessions.get(file);
  if (!session) {
    session = fetchBytes(new URL(`models/${file}`, import.meta.url), bytes, (done, total) =>
      report({ stage: "download", done, total, what: "the network" }),
    ).then((model) => ort.InferenceSession.create(model, { executionProviders: ["wasm"] }));
    sessions.set(file, session);
  }
  return [ort, await session];
}

/**
 * @param {Runtime} ort
 * @param {Session} session
 * @param {import("./types").Planes} picture
 * @param {number[]} [weights]
 * @returns {Promise<import("./types").Planes>}
 */
async function run(ort, session, { width, height, data }, weights) {
  /** @type {Record<string, Tensor>} */
  const feeds = { image: new ort.Tensor("float32", data, [1, 3, height, width]) };
  if (weights) feeds.weights = new ort.Tensor("float32", Float32Array.from(weights), [weights.length]);
  const { output } = await session.run(feeds);
  return { width: output.dims[3], height: output.dims[2], data: output.data };
}

/**
 * The photo, decoded once.
 *
 * @param {{blob: Blob, name: string, key: number}} job
 * @param {Report} report
 */
async function photo({ blob, name, key }, report) {
  if (source?.key !== key) {
    report({ stage: "decode", done: 0, total: 0 });
    source = undefined; // two large photos at a time would be one too many
    source = { key, photo: await decode(blob, name) };
  }
  return source.photo;
}

/**
 * The photo at the size that a network shall see, kept for the next time.
 *
 * @param {import("./types").StyleJob | import("./types").UpscaleJob} job
 * @param {Report} report
 */
async function atSize(job, report) {
  const whole = await photo(job, report);
  const { width, height } = whole.original;
  const size = plan(width, height, job.size, job.largest);
  const of = `${job.key} ${size.width} ${size.height}`;
  if (sized?.of !== of) sized = { of, picture: resize(whole, size.width, size.height) };
  return { ...sized, original: { width, height } };
}

/**
 * @param {import("./types").StyleJob} job
 * @param {Report} report
 * @returns {Promise<import("./types").Outcome>}
 */
async function stylize(job, report) {
  const { of, picture, original } = await atSize(job, report);
  const { width, height } = picture;
  const stroke = Math.max(job.stroke, Math.max(width, height) / job.largest);
  const seen = seenAt(width, height, stroke);
  if (Math.min(seen.width, seen.height) < SMALLEST) {
    throw new Problem(
      "input",
      `“${job.name}” is ${pixels(seen.width, seen.height)} at this size, and the network needs at least ${SMALLEST} along each side. ` +
        `Choose a larger size${stroke > 1 ? ", smaller strokes" : ""}, or a picture that is less narrow.`,
    );
  }
  const [ort, session] = await ready(job.model, report);
  const wanted = `${of} ${job.weights} ${stroke}`;
  let seconds = 0;
  if (printed?.of !== wanted) {
    report({ stage: "compute", done: 0, total: seen.width * seen.height });
    printed = undefined;
    const start = performance.now();
    const made = await run(ort, session, resize(picture, seen.width, seen.height), job.weights);
    seconds = (performance.now() - start) / 1000;
    printed = { of: wanted, picture: resize(made, width, height) };
  }
  const after = toPixels(mix(picture, printed.picture, job.strength, job.keepColors));
  return { before: toPixels(picture), after, seconds, threads, original, stroke };
}

/**
 * @param {import("./types").UpscaleJob} job
 * @param {Report} report
 * @returns {Promise<import("./types").Outcome>}
 */
async function upscale(job, report) {
  const { picture, original } = await atSize(job, report);
  const { width, height } = picture;
  /** @type {Record<string, import("./types").Pixels>} */
  const enlarged = { bicubic: toPixels(resize(picture, job.factor * width, job.factor * height)) };
  let seconds = 0;
  let finished = 0;
  for (const model of job.models) {
    const [ort, session] = await ready(model, report);
    const start = performance.now();
    enlarged[model.loss] = await inTiles(
      picture,
      job.factor,
      model.reach,
      job.tile,
      (part) => run(ort, session, part),
      (done, total) =>
        report({ stage: "compute", done: finished + done / total, total: job.models.length, what: model.loss }),
    );
    seconds += (performance.now() - start) / 1000;
    finished++;
  }
  return { before: toPixels(picture), enlarged, seconds, threads, original };
}

/**
 * @param {import("./types").LabJob} job
 * @param {Report} report
 * @returns {Promise<import("./types").Outcome>}
 */
async function lab(job, report) {
  if (job.type === "photo") return labPhoto(job);
  if (job.type === "equal") return equal(job);
  const total = extent(job);
  /** @param {import("./types").ModelFile} model @returns {Promise<import("./lab_jobs.js").Runner>} */
  const open = async (model) => {
    const [ort, session] = await ready(model, report);
    report({ stage: "compute", done: 0, total });
    return (feeds) =>
      session.run(Object.fromEntries(Object.entries(feeds).map(([name, [data, dims]]) => [name, new ort.Tensor("float32", data, dims)])));
  };
  if (job.type === "knows") return knows(job, open);
  if (job.type === "restyle") return restyle(job, open);
  const runner = await open(job.model);
  if (job.type === "decode") return decodeFaces(job, runner);
  if (job.type === "flow") return flow(job, runner);
  if (job.type === "gram") return gram(job, runner);
  if (job.type === "repair") return repair(job, runner);
  return job.type === "gatys" ? gatys(job, runner) : features(job, runner);
}

/** Pixels that a network has before it. @param {Exclude<import("./types").LabJob, import("./types").PhotoJob | import("./types").EqualJob>} job */
function extent(job) {
  if (job.type === "flow") return job.x.length / 3;
  if (job.type === "decode") return 48 * 48 * Object.values(job.codes).reduce((sum, { length }) => sum + length / job.length, 0);
  const { width, height } = "photo" in job ? job.photo : job.reference;
  return width * height;
}

/** @param {import("./types").Job} job @param {Report} report */
function work(job, report) {
  if (job.type === "stylize") return stylize(job, report);
  return job.type === "upscale" ? upscale(job, report) : lab(job, report);
}

/** @type {(message: import("./types").FromWorker, transfer?: Transferable[]) => void} */
const post = (message, transfer = []) => /** @type {Worker} */ (/** @type {unknown} */ (self)).postMessage(message, transfer);
/** Jobs one after the other. @type {Promise<void>} */
let queue = Promise.resolve();

addEventListener("message", (event) => {
  const { id, job } = /** @type {{id: number, job: import("./types").Job}} */ (event.data);
  queue = queue.then(async () => {
    try {
      /** @type {Report} */
      const report = (progress) => post({ type: "progress", id, ...progress });
      const outcome = await work(job, report);
      const made = [outcome.before, outcome.after, outcome.planes, ...Object.values(outcome.enlarged ?? {})];
      post({ type: "result", id, outcome }, made.flatMap((picture) => picture?.data.buffer ?? []));
    } catch (error) {
      const { kind, message } = asProblem(error);
      post({ type: "problem", id, kind, message });
    }
  });
});

post({ type: "ready" });
