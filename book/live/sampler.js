/** Draws, codes and steps from noise to a picture: pure functions. */

import { draws } from "./tiles.js";

/** @typedef {Float32Array<ArrayBuffer>} Floats */

/** Standard normal draws that depend on the seed alone; of more draws the first are the same. @param {number} seed @param {number} count @returns {Floats} */
export function normals(seed, count) {
  const uniform = draws(seed + 1);
  const made = new Float32Array(count);
  for (let at = 0; at < count; at += 2) {
    const [radius, angle] = [Math.sqrt(-2 * Math.log(1 - uniform())), 2 * Math.PI * uniform()];
    made[at] = radius * Math.cos(angle);
    if (at + 1 < count) made[at + 1] = radius * Math.sin(angle);
  }
  return made;
}

/**
 * One step from time t to `after`, along the velocity (estimate - x) / (1 - t); Heun's takes the mean of two, but not at the end.
 *
 * @param {(x: Floats, t: number) => Promise<Floats>} denoise the estimate of the picture
 * @param {Floats} x
 * @param {{t: number, after: number, heun: boolean}} how
 * @returns {Promise<{x: Floats, estimate: Floats}>} where the step leads, and the estimate at its beginning
 */
export async function stepped(denoise, x, { t, after, heun }) {
  const estimate = await denoise(x, t);
  const slope = estimate.map((value, at) => (value - x[at]) / (1 - t));
  const ahead = () => x.map((value, at) => value + (after - t) * slope[at]);
  if (heun && after < 1) {
    const guess = ahead();
    const second = await denoise(guess, after);
    for (let at = 0; at < slope.length; at++) slope[at] = (slope[at] + (second[at] - guess[at]) / (1 - after)) / 2;
  }
  return { x: ahead(), estimate };
}

/** From the answer without a condition on in the direction of that with it. @param {Floats} plain @param {Floats} told @param {number} guidance @returns {Floats} */
export function guided(plain, told, guidance) {
  return plain.map((value, at) => value + guidance * (told[at] - value));
}

/** The code between four others, top left, top right, bottom left, bottom right. @param {number[][]} codes @param {number} x @param {number} y in [0, 1] @returns {number[]} */
export function between(codes, x, y) {
  const shares = [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y];
  return codes[0].map((_, at) => codes.reduce((sum, code, which) => sum + shares[which] * code[at], 0));
}

/** A code and so much of each vector. @param {number[]} code @param {number[][]} vectors @param {number[]} amounts */
export function changed(code, vectors, amounts) {
  return code.map((value, at) => vectors.reduce((sum, vector, which) => sum + amounts[which] * vector[at], value));
}

/**
 * Codes from standard normal draws: of the prior, or of a Gaussian with this mean and this lower triangle, row by row.
 *
 * @param {Floats} drawn one code after the other
 * @param {number} spread 1 is the distribution itself, less stays nearer to its middle
 * @param {{mean: number[], factor: number[]} | undefined} fitted
 * @returns {Floats}
 */
export function drawnCodes(drawn, spread, fitted) {
  if (!fitted) return drawn.map((value) => spread * value);
  const { mean, factor } = fitted;
  const length = mean.length;
  const made = new Float32Array(drawn.length);
  for (let first = 0; first < drawn.length; first += length) {
    for (let row = 0, place = 0; row < length; row++) {
      let sum = 0;
      for (let column = 0; column <= row; column++) sum += factor[place++] * drawn[first + column];
      made[first + row] = mean[row] + spread * sum;
    }
  }
  return made;
}

/**
 * Pictures side by side, in rows.
 *
 * @param {Floats} pictures (N, 3, size, size)
 * @param {number} size
 * @param {number} columns
 * @param {boolean} [centred] values in [-1, 1] instead of [0, 1]
 * @returns {import("./types").Planes}
 */
export function sheet(pictures, size, columns, centred = false) {
  const area = size * size;
  const count = pictures.length / (3 * area);
  const [width, height] = [columns * size, Math.ceil(count / columns) * size];
  const data = new Float32Array(3 * width * height);
  for (let row = 0; row < count * 3 * size; row++) {
    const [which, channel, y] = [Math.floor(row / (3 * size)), Math.floor(row / size) % 3, row % size];
    const to = channel * width * height + (Math.floor(which / columns) * size + y) * width + (which % columns) * size;
    for (let x = 0; x < size; x++) {
      const value = pictures[row * size + x];
      data[to + x] = centred ? (value + 1) / 2 : value;
    }
  }
  return { width, height, data };
}

/**
 * How sharp pictures are, as `pltutorial.sharpness` says it: the variance of the Laplacian of their brightness, of 8 bits; the mean over them.
 *
 * @param {Floats} pictures (N, 3, size, size), centred
 * @param {number} size
 */
export function sharpness(pictures, size) {
  const area = size * size;
  const count = pictures.length / (3 * area);
  const bright = new Float64Array(area);
  /** A value as 8 bits hold it. @param {number} at */
  const seen = (at) => Math.round(255 * Math.min(1, Math.max(0, (pictures[at] + 1) / 2))) / 255;
  let whole = 0;
  for (let which = 0; which < count; which++) {
    const red = 3 * which * area;
    for (let at = 0; at < area; at++) {
      bright[at] = (16 + 65.481 * seen(red + at) + 128.553 * seen(red + area + at) + 24.966 * seen(red + 2 * area + at)) / 255;
    }
    let [sum, squares] = [0, 0];
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const around = bright[Math.max(0, y - 1) * size + x] + bright[Math.min(size - 1, y + 1) * size + x] + bright[y * size + Math.max(0, x - 1)] + bright[y * size + Math.min(size - 1, x + 1)];
        const value = 4 * bright[y * size + x] - around;
        sum += value;
        squares += value * value;
      }
    }
    whole += squares / area - (sum / area) ** 2;
  }
  return whole / count;
}
