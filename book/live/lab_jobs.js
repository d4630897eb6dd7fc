/** What the labs ask of the worker: photos at a size, feature losses, and steps that move pixels. */

import { decode } from "./decode.js";
import { Problem } from "./problem.js";
import { resize } from "./resize.js";

/** @typedef {import("./types").Planes} Planes */
/** @typedef {{data: Float32Array<ArrayBuffer>, dims: readonly number[]}} Tensor */
/** @typedef {(feeds: Record<string, [Float32Array, number[]]>) => Promise<Record<string, Tensor>>} Runner */

/**
 * A photo, decoded, so that it covers a square (its middle is kept) or fits into one.
 *
 * @param {import("./types").PhotoJob} job
 * @returns {Promise<import("./types").Outcome>}
 */
export async function photo({ blob, name, side, cover }) {
  const whole = await decode(blob, name);
  const scale = side / (cover ? Math.min(whole.width, whole.height) : Math.max(whole.width, whole.height));
  const [width, height] = [whole.width, whole.height].map((length) => Math.max(cover ? side : 1, Math.round(scale * length)));
  if (Math.min(width, height) < 16) {
    throw new Problem("input", `“${name}” is too narrow: ${width} by ${height} pixels at this size. Choose a picture that is less narrow.`);
  }
  const made = resize(whole, width, height);
  const planes = cover ? middle(made, side) : made;
  return { planes: { ...planes, data: planes.data.map((value) => Math.round(255 * value) / 255) }, seconds: 0, threads: 1 };
}

/** @param {Planes} picture @param {number} side @returns {Planes} */
function middle({ width, height, data }, side) {
  const [left, top] = [(width - side) >> 1, (height - side) >> 1];
  const made = new Float32Array(3 * side * side);
  for (let row = 0; row < 3 * side; row++) {
    const from = (Math.floor(row / side) * height + top + (row % side)) * width + left;
    made.set(data.subarray(from, from + side), row * side);
  }
  return { width: side, height: side, data: made };
}

/** Features of the last reference, kept. @type {{key: string, features: Record<string, Tensor>} | undefined} */
let reference;

/** @param {Planes} picture @returns {Record<string, [Float32Array, number[]]>} */
const asImage = ({ width, height, data }) => ({ image: [data, [1, 3, height, width]] });

/**
 * The feature loss of a picture at each layer, with the normalization "relative": 1 is a whole signal lost.
 *
 * @param {import("./types").FeaturesJob} job
 * @param {Runner} run
 * @returns {Promise<import("./types").Outcome>}
 */
export async function features(job, run) {
  if (reference?.key !== job.key) reference = { key: job.key, features: await run(asImage(job.reference)) };
  const start = performance.now();
  const found = await run(asImage(job.picture));
  const losses = job.layers.map((layer) => relative(found[layer].data, /** @type {NonNullable<typeof reference>} */ (reference).features[layer].data));
  return { losses, seconds: (performance.now() - start) / 1000, threads: 1 };
}

/** @param {Float32Array} output @param {Float32Array} target @returns {number} */
function relative(output, target) {
  let [off, all] = [0, 0];
  for (let at = 0; at < target.length; at++) {
    const difference = output[at] - target[at];
    off += difference * difference;
    all += target[at] * target[at];
  }
  return off / all;
}
