/** Mean and covariance of one map or picture given to another: `match_statistics` and `match_color` of the package. */

import { centred, changed, covariance, product } from "./matrix.js";

/** @typedef {import("./types").Planes} Planes */
/** What is taken from a painting's code. @typedef {{means: Float64Array, root: Float64Array}} Goal */

const SMALL = 1e-5; // of the largest eigenvalue: a direction that a code does not use

/** @param {number} value @param {number} largest */
const used = (value, largest) => value > SMALL * Math.max(largest, SMALL);

/**
 * What a painting's code gives: its means, and the square root of its covariance, or each channel's deviation.
 *
 * @param {ArrayLike<number>} code (channels, positions)
 * @param {number} channels
 * @param {"covariance" | "deviation"} statistics
 * @returns {Goal}
 */
export function goalOf(code, channels, statistics) {
  const { means, centred: rest } = centred(code, channels);
  if (statistics === "deviation") return { means, root: deviations(rest, channels) };
  const matrix = covariance(rest, channels, rest.length / channels);
  return { means, root: changed(matrix, (value, largest) => (used(value, largest) ? Math.sqrt(value) : 0)) };
}

/**
 * A code with the mean and the covariance of another: whitening and colouring (Li et al. 2017, equations 2 and 3), or each
 * channel alone (Huang and Belongie 2017, equation 8).
 *
 * @param {ArrayLike<number>} code (channels, positions)
 * @param {number} channels
 * @param {"covariance" | "deviation"} statistics
 * @returns {(goal: Goal) => Float64Array} what depends on the code alone is computed once
 */
export function matcher(code, channels, statistics) {
  const { centred: rest } = centred(code, channels);
  const count = rest.length / channels;
  if (statistics === "deviation") {
    const own = deviations(rest, channels);
    return ({ means, root }) => rest.map((value, at) => {
      const channel = Math.floor(at / count);
      return (value / Math.max(own[channel], SMALL)) * root[channel] + means[channel];
    });
  }
  const whiten = changed(covariance(rest, channels, count), (value, largest) => (used(value, largest) ? value ** -0.5 : 0));
  return ({ means, root }) => {
    const made = product(product(root, whiten, channels), rest, channels);
    for (let at = 0; at < made.length; at++) made[at] += means[Math.floor(at / count)];
    return made;
  };
}

/** @param {Float64Array} rest @param {number} channels */
function deviations(rest, channels) {
  const count = rest.length / channels;
  return Float64Array.from({ length: channels }, (_, channel) => {
    const squares = rest.subarray(channel * count, (channel + 1) * count).reduce((sum, value) => sum + value * value, 0);
    return Math.sqrt(squares / count);
  });
}

/**
 * A picture with the mean and the covariance of another's colours (Gatys et al. 2017, section 5.1).
 *
 * @param {Planes} picture
 * @param {Planes} reference
 * @returns {Planes} values in [0, 1]
 */
export function matchColor(picture, reference) {
  const [own, other] = [picture, reference].map(({ data }) => centred(data, 3));
  const [from, to] = [own, other].map(({ centred: rest }) => {
    const matrix = covariance(rest, 3, rest.length / 3 - 1);
    for (const at of [0, 4, 8]) matrix[at] += 1e-6;
    return matrix;
  });
  const whiten = changed(from, (value) => 1 / Math.sqrt(Math.max(value, 0)));
  const root = changed(to, (value) => Math.sqrt(Math.max(value, 0)));
  const made = product(product(root, whiten, 3), own.centred, 3);
  const count = made.length / 3;
  const data = Float32Array.from(made, (value, at) => Math.min(1, Math.max(0, value + other.means[Math.floor(at / count)])));
  return { width: picture.width, height: picture.height, data };
}
