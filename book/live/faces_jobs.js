/** What the labs of chapters 9 and 11 ask of the worker: faces of codes, and one step from noise to faces. */

import { guided, stepped } from "./sampler.js";

/** @typedef {import("./types").DecodeJob} DecodeJob */
/** @typedef {import("./types").FlowJob} FlowJob */
/** @typedef {import("./lab_jobs.js").Runner} Runner */

/**
 * The faces that every decoder makes of its codes.
 *
 * @param {DecodeJob} job
 * @param {Runner} run
 * @returns {Promise<import("./types").Outcome>}
 */
export async function decode({ codes, length }, run) {
  const start = performance.now();
  /** @type {Record<string, [Float32Array, number[]]>} */
  const feeds = Object.fromEntries(Object.entries(codes).map(([name, values]) => [`latent_${name}`, [values, [values.length / length, length]]]));
  const made = await run(feeds);
  const faces = Object.fromEntries(Object.keys(codes).map((name) => [name, made[`picture_${name}`].data]));
  return { faces, seconds: (performance.now() - start) / 1000, threads: 1 };
}

/**
 * One step of the sampler, for all pictures of a sheet together.
 *
 * @param {FlowJob} job
 * @param {Runner} run
 * @returns {Promise<import("./types").Outcome>}
 */
export async function flow({ x, size, classes, label, guidance, t, after, heun }, run) {
  const start = performance.now();
  const count = x.length / (3 * size * size);
  /** @param {Float32Array<ArrayBuffer>} now @param {number} time @param {number} which */
  const asked = async (now, time, which) => {
    const labels = new Float32Array(count * (classes + 1));
    for (let picture = 0; picture < count; picture++) labels[picture * (classes + 1) + which] = 1;
    const { estimate } = await run({
      x_t: [now, [count, 3, size, size]],
      t: [new Float32Array(count).fill(time), [count, 1]],
      label: [labels, [count, classes + 1]],
    });
    return estimate.data;
  };
  /** @param {Float32Array<ArrayBuffer>} now @param {number} time */
  const denoise = async (now, time) => {
    const told = await asked(now, time, label);
    if (guidance === 1) return told;
    return guided(await asked(now, time, classes), told, guidance);
  };
  const found = await stepped(denoise, x, { t, after, heun });
  return { step: found, seconds: (performance.now() - start) / 1000, threads: 1 };
}
