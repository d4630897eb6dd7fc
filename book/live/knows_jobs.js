/** What the lab of chapters 2 and 8 asks of the worker: a picture to its code and back, and how far that is from the photo. */

import { squaredError } from "./judges.js";
import { relative } from "./lab_jobs.js";
import { drawn, look, sized, whole } from "./stages.js";

/** @typedef {import("./types").Planes} Planes */
/** @typedef {import("./types").KnowsJob} KnowsJob */
/** @typedef {import("./stages.js").Open} Open */
/** @typedef {Record<string, import("./lab_jobs.js").Tensor>} Features */

/** Features of the photo that was last asked for. @type {{key: string, features: Features} | undefined} */
let reference;

/**
 * One round: `invert` of the package, or where something else has drawn already, the distances alone.
 *
 * @param {KnowsJob} job
 * @param {Open} open
 * @returns {Promise<import("./types").Outcome>}
 */
export async function knows(job, open) {
  const start = performance.now();
  const { photo, picture, drawer, layer, stages, judges } = job;
  let [made, code] = [picture, /** @type {number[]} */ ([])];
  if (drawer) {
    const given = whole(picture, 2 ** (Number(layer[4]) - 1));
    const features = (await look(given, [layer], stages, open))[layer];
    code = [...features.dims];
    made = sized(await drawn(features, drawer, open), photo.width, photo.height);
  }
  const missing = reference?.key === job.key ? judges.filter((judge) => !reference?.features[judge]) : judges;
  if (missing.length) reference = { key: job.key, features: await look(photo, judges, stages, open) };
  const known = /** @type {NonNullable<typeof reference>} */ (reference).features;
  const found = await look(made, judges, stages, open);
  const losses = judges.map((judge) => relative(found[judge].data, known[judge].data));
  const seconds = (performance.now() - start) / 1000;
  return { planes: made, losses: [squaredError(made, photo), ...losses], code, seconds, threads: 1 };
}
