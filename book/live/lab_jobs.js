/** What the labs ask of the worker: photos at a size, feature losses, and steps that move pixels. */

import { normal } from "./damages.js";
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
  const { deep, layers } = job;
  /** @param {Planes} picture @returns {Promise<Record<string, Tensor>>} */
  const look = async (picture) => (deep ? { [layers[0]]: await seen(picture, layers[0], deep, run) } : run(asImage(picture)));
  if (reference?.key !== job.key) reference = { key: job.key, features: await look(job.reference) };
  const start = performance.now();
  const found = await look(job.picture);
  const losses = layers.map((layer) => relative(found[layer].data, /** @type {NonNullable<typeof reference>} */ (reference).features[layer].data));
  return { losses, seconds: (performance.now() - start) / 1000, threads: 1 };
}

/** The squared difference over the target's own square. @param {Float32Array} output @param {Float32Array} target @returns {number} */
export function relative(output, target) {
  let [off, all] = [0, 0];
  for (let at = 0; at < target.length; at++) {
    const difference = output[at] - target[at];
    off += difference * difference;
    all += target[at] * target[at];
  }
  return off / all;
}

/** The picture that is moved, with Adam's means, and what it is compared with. @type {{key: string, picture: Planes, mean: Float32Array, square: Float32Array, step: number} | undefined} */
let moved;
/** @type {{key: string, grams: Record<string, Tensor>, scales: number[], content: Tensor, loudness: number} | undefined} */
let targets;

const [FIRST, SECOND] = [0.9, 0.99]; // Adam's betas: of few steps the second mean should know soon

/**
 * One step of Adam on the pixels of a picture, against a painting's Gram matrices and a photo's features.
 *
 * Terms are relative: 1 is a whole signal lost. The style's weight is shared by its layers, the content has the rest.
 *
 * @param {import("./types").GatysJob} job
 * @param {Runner} run
 * @returns {Promise<import("./types").Outcome>}
 */
export async function gatys(job, run) {
  if (targets?.key !== job.key) targets = await newTargets(job, run);
  const start = performance.now();
  if (moved?.key !== job.run) moved = begun(job);
  const { picture, mean, square } = moved;
  const total = job.shares.reduce((sum, share) => sum + share, 0) || 1;
  const weights = job.shares.map((share, at) => (job.style * share) / total / /** @type {NonNullable<typeof targets>} */ (targets).scales[at]);
  const { losses, gradient } = await run({
    ...feedsOf(picture, job.layers, targets.grams, targets.content),
    style_weights: [Float32Array.from(weights), [weights.length]],
    content_weight: [Float32Array.of((1 - job.style) / targets.loudness), [1]],
  });
  const slope = smoothed(picture, gradient.data, job.smooth);
  moved.step += 1;
  const [a, b] = [1 - FIRST ** moved.step, 1 - SECOND ** moved.step];
  for (let at = 0; at < slope.length; at++) {
    mean[at] += (1 - FIRST) * (slope[at] - mean[at]);
    square[at] += (1 - SECOND) * (slope[at] * slope[at] - square[at]);
    const next = picture.data[at] - (job.rate * (mean[at] / a)) / (Math.sqrt(square[at] / b) + 1e-8);
    picture.data[at] = Math.min(1, Math.max(0, next));
  }
  const relative = [...losses.data].map((loss, at) => loss / (targets?.scales[at] ?? targets?.loudness ?? 1));
  const shown = { ...picture, data: picture.data.slice() };
  return { planes: shown, losses: relative, seconds: (performance.now() - start) / 1000, threads: 1 };
}

/** @param {Planes} picture @param {string[]} layers @param {Record<string, Tensor>} grams @param {Tensor} content */
function feedsOf(picture, layers, grams, content) {
  /** @type {Record<string, [Float32Array, number[]]>} */
  const feeds = { ...asImage(picture), content: [content.data, [...content.dims]] };
  for (const layer of layers) feeds[`gram_${layer}`] = [grams[layer].data, [...grams[layer].dims]];
  return feeds;
}

/**
 * What the graph that moves pixels says of a picture itself; what it compares with is nothing.
 *
 * @param {Planes} picture
 * @param {import("./types").GatysGraph} graph
 * @param {Runner} run
 */
function itself(picture, { layers, channels, depth }, run) {
  /** @param {number[]} dims */
  const nothing = (dims) => ({ data: new Float32Array(dims.reduce((product, length) => product * length, 1)), dims });
  const grams = Object.fromEntries(layers.map((layer, at) => [layer, nothing([channels[at], channels[at]])]));
  const sides = [picture.height, picture.width].map((side) => side >> depth);
  const empty = /** @type {Tensor} */ (nothing([1, /** @type {number} */ (channels.at(-1)), ...sides]));
  return run({
    ...feedsOf(picture, layers, /** @type {Record<string, Tensor>} */ (grams), empty),
    style_weights: [new Float32Array(layers.length), [layers.length]],
    content_weight: [new Float32Array(1), [1]],
  });
}

/**
 * The features of a picture at one layer, which the deeper graph has of its last layer only.
 *
 * @param {Planes} picture
 * @param {string} layer
 * @param {import("./types").GatysGraph | undefined} deep
 * @param {Runner} run
 * @returns {Promise<Tensor>}
 */
export async function seen(picture, layer, deep, run) {
  return deep ? (await itself(picture, deep, run)).new_content : (await run(asImage(picture)))[layer];
}

/** @param {import("./types").GatysJob} job @param {Runner} run @returns {Promise<NonNullable<typeof targets>>} */
async function newTargets({ key, photo, painting, layers, channels, depth }, run) {
  const graph = { layers, channels, depth };
  const style = await itself(painting, graph, run);
  const content = (await itself(photo, graph, run)).new_content;
  const grams = Object.fromEntries(layers.map((layer) => [layer, style[`new_gram_${layer}`]]));
  /** @param {Float32Array} values */
  const squares = (values) => values.reduce((sum, value) => sum + value * value, 0);
  const scales = layers.map((layer) => squares(grams[layer].data));
  return { key, grams, scales, content, loudness: squares(content.data) / content.data.length };
}

/** @param {import("./types").GatysJob} job @returns {NonNullable<typeof moved>} */
function begun({ run, photo, start }) {
  const { width, height } = photo;
  const data = start === "photo" ? photo.data.slice() : Float32Array.from(normal(photo.data.length), (value) => Math.min(1, Math.max(0, 0.5 + 0.1 * value)));
  return { key: run, picture: { width, height, data }, mean: new Float32Array(data.length), square: new Float32Array(data.length), step: 0 };
}

/** The slope with that of the total variation, mean |dx| + mean |dy|. @param {Planes} picture @param {Float32Array} gradient @param {number} weight */
function smoothed({ width, height, data }, gradient, weight) {
  const slope = gradient.slice();
  if (!weight) return slope;
  const across = weight / (3 * height * (width - 1));
  const down = weight / (3 * (height - 1) * width);
  for (let row = 0; row < 3 * height; row++) {
    for (let x = 0; x < width; x++) {
      const at = row * width + x;
      if (x + 1 < width) {
        const sign = across * Math.sign(data[at + 1] - data[at]);
        slope[at + 1] += sign;
        slope[at] -= sign;
      }
      if ((row + 1) % height) {
        const sign = down * Math.sign(data[at + width] - data[at]);
        slope[at + width] += sign;
        slope[at] -= sign;
      }
    }
  }
  return slope;
}
