/** What the lab of chapter 7 computes: masks by hand, noise, one pass of a network, and how far the result is off. */

import { draws } from "./tiles.js";

/** @typedef {import("./types").Planes} Planes */

/**
 * One pass of a network that cleans, or of one that fills what a mask says is missing.
 *
 * @param {import("./types").RepairJob} job
 * @param {import("./lab_jobs.js").Runner} run
 * @returns {Promise<import("./types").Outcome>}
 */
export async function repair({ photo: { width, height, data }, mask }, run) {
  const start = performance.now();
  /** @type {Record<string, [Float32Array, number[]]>} */
  const feeds = { image: [data, [1, 3, height, width]] };
  if (mask) feeds.mask = [mask, [1, 1, height, width]];
  const { output } = await run(feeds);
  return { planes: { width, height, data: output.data }, seconds: (performance.now() - start) / 1000, threads: 1 };
}

/** A round dab of a brush, or a box: what lies under it is missing. @typedef {{x: number, y: number, radius: number, box?: boolean}} Dab */

/**
 * @param {Float32Array} mask row by row, 1 where the picture is missing; it is changed
 * @param {number} width of the picture, in pixels
 * @param {Dab} dab its middle, and half its size
 */
export function cut(mask, width, { x, y, radius, box }) {
  const height = mask.length / width;
  for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(height - 1, y + radius); row++) {
    for (let column = Math.max(0, Math.ceil(x - radius)); column <= Math.min(width - 1, x + radius); column++) {
      if (box || (column - x) ** 2 + (row - y) ** 2 <= radius * radius) mask[row * width + column] = 1;
    }
  }
}

/** A line of dabs from one place to the next. @param {Float32Array} mask @param {number} width @param {[number, number]} from @param {[number, number]} to @param {number} radius */
export function drag(mask, width, from, to, radius) {
  const parts = Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / 2) || 1;
  for (let part = 0; part <= parts; part++) {
    cut(mask, width, { x: from[0] + ((to[0] - from[0]) * part) / parts, y: from[1] + ((to[1] - from[1]) * part) / parts, radius });
  }
}

/** A scratch that wanders over the picture; it depends on the seed alone. @param {Float32Array} mask @param {number} width @param {number} seed @param {number} radius */
export function scratch(mask, width, seed, radius) {
  const height = mask.length / width;
  const uniform = draws(seed);
  const reach = Math.min(width, height) / 4;
  /** @type {[number, number]} */
  let here = [width * (0.15 + 0.7 * uniform()), height * (0.15 + 0.7 * uniform())];
  let way = 2 * Math.PI * uniform();
  for (let turn = 0; turn < 4; turn++) {
    way += 2 * (uniform() - 0.5);
    /** @type {[number, number]} */
    const next = [here[0] + reach * Math.cos(way), here[1] + reach * Math.sin(way)];
    drag(mask, width, here, next, radius);
    here = next;
  }
}

/** Share of a picture that is missing. @param {Float32Array} mask */
export const share = (mask) => mask.reduce((sum, value) => sum + value, 0) / mask.length;

const HATCH = 6; // pixels of a light and a dark stripe

/** The picture with stripes where it is missing, which no photo shows. @param {Planes} picture @param {Float32Array} mask @returns {Planes} */
export function hatched({ width, height, data }, mask) {
  const size = width * height;
  return {
    width,
    height,
    data: data.map((value, at) => {
      const place = at % size;
      return mask[place] ? ((place % width) + Math.floor(place / width)) % HATCH < HATCH / 2 ? 1 : 0.72 : value;
    }),
  };
}

/**
 * Gaussian noise as `add_noise` of the package makes it: of every value, on the scale of 0 to 255, never cut off.
 *
 * @param {Planes} picture
 * @param {number} sigma
 * @param {number} seed
 * @returns {Planes}
 */
export function noisy({ width, height, data }, sigma, seed) {
  const uniform = draws(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()); // Box and Muller
  return { width, height, data: data.map((value) => value + (sigma / 255) * normal()) };
}

/**
 * The peak signal-to-noise ratio over all three colours, in decibels; of the holes alone where a mask is given.
 *
 * @param {Planes} output
 * @param {Planes} target
 * @param {Float32Array} [mask]
 */
export function psnr(output, target, mask) {
  const size = target.width * target.height;
  let [sum, count] = [0, 0];
  for (let at = 0; at < target.data.length; at++) {
    if (mask && !mask[at % size]) continue;
    sum += (output.data[at] - target.data[at]) ** 2;
    count += 1;
  }
  return -10 * Math.log10(sum / count);
}

/** Decibels, and squared errors of features and of their Gram matrix, relative to the photo's own. @typedef {{psnr: number, feature?: number, style?: number}} Judged */

/**
 * Which of the two networks is nearer in pixels, and which in the Gram matrix.
 *
 * @param {Record<"pixel" | "combined", Judged>} judged
 * @returns {string}
 */
export function verdict({ pixel, combined }) {
  const decibels = combined.psnr - pixel.psnr;
  const nearer = Math.abs(decibels) < 0.05 ? "In pixels both are equally near" : `In pixels the ${decibels > 0 ? "combined" : "pixel"} loss is nearer, by ${Math.abs(decibels).toFixed(1)} dB`;
  if (pixel.style === undefined || combined.style === undefined) return `${nearer}.`;
  const times = Math.max(pixel.style, combined.style) / (Math.min(pixel.style, combined.style) || 1e-9);
  if (times < 1.05) return `${nearer}; in the Gram matrix there is no difference to speak of.`;
  return `${nearer}; in the Gram matrix the ${combined.style < pixel.style ? "combined" : "pixel"} loss is nearer, ${times.toFixed(1)} times.`;
}
