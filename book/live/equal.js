/** Copies of a photo, each damaged in another way, and all with one squared error. */

import { MARGIN, NONE, damaged, in8Bits } from "./damages.js";
import { squaredError } from "./judges.js";
import { Problem } from "./problem.js";
import { draws } from "./tiles.js";

/** @typedef {import("./types").Planes} Planes */
/** A damage of some strength; words for that strength, and for the share of it that is taken. */
/** @typedef {{kind: string, range: [number, number], whole?: boolean, make: (photo: Planes, at: number) => Planes, words: (at: number, share: number) => string}} Way */

export const TARGET = 0.005; // the mean squared error: a PSNR of 23.0 dB
const FEWEST = 4; // copies that are worth being put in order
const CLOSE = 0.001; // of the target

/** @param {Planes} picture @param {(value: number, at: number) => number} change @returns {Planes} */
const changed = ({ width, height, data }, change) => ({ width, height, data: data.map(change) });

/** @param {number} value */
const tenth = (value) => String(Math.round(10 * value) / 10);

/** A photo that is moved to the right by any part of a pixel: between two whole ones, values are mixed. @param {Planes} photo @param {number} by */
function aside(photo, by) {
  const [low, share] = [Math.floor(by), by % 1];
  const [one, other] = [low, low + 1].map((x) => damaged(photo, { ...NONE, x }).data);
  return changed(damaged(photo, NONE), (_, at) => (1 - share) * one[at] + share * other[at]);
}

/** Each block of pixels has the mean of its values. @param {Planes} photo @param {number} size */
function blocks(photo, size) {
  const { width, height, data } = damaged(photo, NONE);
  const made = data.slice();
  for (let channel = 0; channel < 3; channel++) {
    for (let top = 0; top < height; top += size) {
      for (let left = 0; left < width; left += size) {
        const places = [];
        for (let y = top; y < Math.min(height, top + size); y++) for (let x = left; x < Math.min(width, left + size); x++) places.push((channel * height + y) * width + x);
        const mean = places.reduce((sum, at) => sum + data[at], 0) / places.length;
        for (const at of places) made[at] = mean;
      }
    }
  }
  return { width, height, data: made };
}

/** The photo with no contrast left. @param {Planes} photo */
function grey(photo) {
  const seen = damaged(photo, NONE);
  const size = seen.width * seen.height;
  const means = [0, 1, 2].map((channel) => seen.data.subarray(channel * size, (channel + 1) * size).reduce((sum, value) => sum + value, 0) / size);
  const mean = (means[0] + means[1] + means[2]) / 3;
  return changed(seen, () => mean);
}

/** @type {Way[]} */
export const WAYS = [
  { kind: "shift", range: [0, 7.99], make: aside, words: (at) => `moved by ${tenth(at)} pixels` },
  { kind: "blur", range: [0.2, 8], make: (photo, blur) => damaged(photo, { ...NONE, blur }), words: (at) => `blurred, σ ${tenth(at)} pixels` },
  { kind: "noise", range: [1, 120], make: (photo, noise) => damaged(photo, { ...NONE, noise }), words: (at) => `noise, σ ${Math.round(at)} of 255` },
  { kind: "disc", range: [2, 260], make: (photo, disc) => damaged(photo, { ...NONE, disc }), words: (at) => `a grey disc of ${Math.round(at)} pixels` },
  { kind: "jpeg", range: [5, 99], whole: true, make: (photo, jpeg) => damaged(photo, { ...NONE, jpeg }), words: (at) => `JPEG of quality ${100 - at}` },
  { kind: "contrast", range: [0, 1], whole: true, make: grey, words: (_, share) => `${Math.round(100 * share)} % of its contrast lost` },
  { kind: "brighter", range: [0, 3], make: (photo, by) => changed(damaged(photo, NONE), (value) => value * (1 + by)), words: (at) => `brighter by ${Math.round(100 * at)} %` },
  { kind: "blocks", range: [2, 48], whole: true, make: blocks, words: (at) => `blocks of ${at} pixels` },
];

/**
 * The least strength that reaches the squared error, and so much of its difference that it has exactly that, in 8 bits.
 *
 * @param {Planes} photo with a margin on each side
 * @param {Planes} whole the photo as it is seen
 * @param {Way} way
 * @param {number} target
 * @returns {import("./types").Copy | undefined} nothing where the greatest strength does not reach it
 */
export function matched(photo, whole, { kind, range: [least, most], whole: steps, make, words }, target) {
  /** @param {number} strength */
  const at = (strength) => in8Bits(make(photo, strength));
  let [low, high] = [least, most];
  if (squaredError(at(high), whole) < target) return undefined;
  while (high - low > (steps ? 1 : 0.01 * (most - least) / 20)) {
    const middle = steps ? Math.floor((low + high) / 2) : (low + high) / 2;
    if (squaredError(at(middle), whole) < target) low = middle;
    else high = middle;
  }
  const { data } = at(high);
  const uniform = draws(1);
  // rounded up or down by chance: of even areas all values would else jump at once
  const dither = data.map(() => (0.999 * (uniform() - 0.5)) / 255);
  let [share, picture] = [1, whole];
  for (let round = 0; round < 8; round++) {
    picture = in8Bits(changed(whole, (value, place) => value + share * (data[place] - value) + dither[place]));
    const error = squaredError(picture, whole);
    if (Math.abs(error / target - 1) < CLOSE || !error) break;
    share *= Math.sqrt(target / error);
  }
  return { kind, words: words(high, share), picture };
}

/**
 * @param {import("./types").EqualJob} job
 * @returns {import("./types").Outcome}
 */
export function equal({ photo }) {
  const start = performance.now();
  const whole = damaged(photo, NONE);
  const copies = WAYS.map((way) => matched(photo, whole, way, TARGET)).filter((made) => made !== undefined);
  if (copies.length < FEWEST || photo.width <= 2 * MARGIN) {
    throw new Problem("input", "This picture has so little in it that hardly any damage changes it. Choose one with edges and contrast.");
  }
  return { copies, planes: whole, seconds: (performance.now() - start) / 1000, threads: 1 };
}
