/** What the lab of chapter 3 asks of the worker: Gram matrices, how far they and the features are apart, and single channels. */

import { relative, seen } from "./lab_jobs.js";

/** @typedef {import("./types").GramJob} GramJob */
/** @typedef {import("./lab_jobs.js").Tensor} Tensor */
/** @typedef {{of: string, features: Tensor, gram: Float32Array}} Known */

export const SHOWN = 64; // channels of a matrix that are shown

/** Of the original and of its copy, the last that was asked for. @type {Record<"reference" | "picture", Known | undefined>} */
const known = { reference: undefined, picture: undefined };

/**
 * Sums of products of two channels over all positions, divided by the number of values (Johnson et al. 2016, equation 3).
 *
 * @param {Tensor} features (1, C, H, W)
 * @returns {Float32Array<ArrayBuffer>} (C, C)
 */
export function gramMatrix({ data, dims }) {
  const channels = dims[1];
  const count = data.length / channels;
  const made = new Float32Array(channels * channels);
  for (let one = 0; one < channels; one++) {
    const from = one * count;
    // four columns at a time: each value of the row is read once for them
    for (let first = 0; first <= one; first += 4) {
      const [a, b, c, d] = [0, 1, 2, 3].map((more) => Math.min(first + more, channels - 1) * count);
      let [p, q, r, s] = [0, 0, 0, 0];
      for (let at = 0; at < count; at++) {
        const value = data[from + at];
        p += value * data[a + at];
        q += value * data[b + at];
        r += value * data[c + at];
        s += value * data[d + at];
      }
      [p, q, r, s].forEach((sum, more) => {
        const other = first + more;
        if (other <= one) made[one * channels + other] = made[other * channels + one] = sum / data.length;
      });
    }
  }
  return made;
}

/** Channels by their energy in the original, the loudest first. @param {Float32Array} gram @param {number} channels */
export function loudest(gram, channels) {
  const all = Array.from({ length: channels }, (_, at) => at);
  return all.sort((one, other) => gram[other * channels + other] - gram[one * channels + one] || one - other).slice(0, SHOWN);
}

/**
 * @param {GramJob} job
 * @param {import("./lab_jobs.js").Runner} run
 * @returns {Promise<import("./types").Outcome>}
 */
export async function gram(job, run) {
  const start = performance.now();
  const reference = await look("reference", job.key, job, run);
  const picture = await look("picture", `${job.key} ${job.version}`, job, run);
  const [, channels, height, width] = reference.features.dims;
  const shown = loudest(reference.gram, channels);
  /** @param {Float32Array} whole */
  const part = (whole) => Float32Array.from(shown.flatMap((one) => shown.map((other) => whole[one * channels + other])));
  const pair = job.cell.map((place) => shown[Math.min(place, shown.length - 1)]);
  const size = width * height;
  const maps = [reference, picture].flatMap(({ features }) => pair.map((channel) => features.data.slice(channel * size, (channel + 1) * size)));
  const made = {
    channels: shown,
    of: channels,
    before: part(reference.gram),
    after: part(picture.gram),
    pair,
    maps: { width, height, values: maps },
  };
  const losses = [relative(picture.gram, reference.gram), relative(picture.features.data, reference.features.data)];
  return { gram: made, losses, seconds: (performance.now() - start) / 1000, threads: 1 };
}

/**
 * Features and matrix of a picture, unless they are known.
 *
 * @param {"reference" | "picture"} which
 * @param {string} of
 * @param {GramJob} job
 * @param {import("./lab_jobs.js").Runner} run
 * @returns {Promise<Known>}
 */
async function look(which, of, job, run) {
  const before = known[which];
  if (before?.of === of) return before;
  const features = await seen(job[which], job.layer, job.deep, run);
  const made = { of, features, gram: gramMatrix(features) };
  known[which] = made;
  return made;
}
