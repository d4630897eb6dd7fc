/** What the lab of chapter 5 asks of the worker: the package's `restyle`, a photo with the statistics of any painting. */

import { drawn, look, sized, whole } from "./stages.js";
import { goalOf, matchColor, matcher } from "./statistics.js";

/** @typedef {import("./types").Planes} Planes */
/** @typedef {import("./types").RestyleJob} RestyleJob */
/** @typedef {import("./stages.js").Open} Open */
/** @typedef {import("./lab_jobs.js").Tensor} Tensor */

/** What a painting gives at a layer, and what a photo's first code is matched by: computed again when they change. @type {Map<string, import("./statistics.js").Goal>} */
const goals = new Map();
/** @type {{of: string, code: Tensor, match: ReturnType<typeof matcher>} | undefined} */
let first;

/**
 * @param {RestyleJob} job
 * @param {Open} open
 * @returns {Promise<import("./types").Outcome>}
 */
export async function restyle(job, open) {
  const start = performance.now();
  const { photo, painting, statistics, share, layers } = job;
  await prepare(job, open);
  let picture = whole(matchColor(photo, painting), 8);
  for (const layer of layers) {
    const of = `${job.key} ${job.style} ${statistics} ${layer}`;
    const begins = layer === layers[0];
    if (!begins || first?.of !== of) {
      const code = (await look(picture, [layer], job.stages, open))[layer];
      const match = matcher(code.data, code.dims[1], statistics);
      if (begins) first = { of, code, match };
      picture = await drawnOf({ code, match }, layer);
    } else picture = await drawnOf(first, layer);
  }
  const planes = matchColor(sized(picture, photo.width, photo.height), painting);
  return { planes, seconds: (performance.now() - start) / 1000, threads: 1 };

  /** @param {{code: Tensor, match: ReturnType<typeof matcher>}} known @param {string} layer */
  async function drawnOf({ code, match }, layer) {
    const moved = match(/** @type {import("./statistics.js").Goal} */ (goals.get(name(job, layer))));
    const data = Float32Array.from(code.data, (value, at) => value + share * (moved[at] - value));
    return drawn({ data, dims: code.dims }, job.decoders[layer], open);
  }
}

/** @param {RestyleJob} job @param {string} layer */
const name = ({ style, statistics }, layer) => `${style} ${statistics} ${layer}`;

/** The painting's statistics, once for many pictures. @param {RestyleJob} job @param {Open} open */
async function prepare(job, open) {
  const lacking = () => job.layers.filter((layer) => !goals.has(name(job, layer)));
  if (!lacking().length) return;
  if (goals.size > 8) goals.clear();
  const layers = lacking();
  const codes = await look(job.painting, layers, job.stages, open);
  for (const layer of layers) goals.set(name(job, layer), goalOf(codes[layer].data, codes[layer].dims[1], job.statistics));
}
