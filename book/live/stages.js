/** Features of VGG-16 by files of which each goes on where the one before ends, so that nothing deeper is fetched than is looked at. */

/** @typedef {import("./types").Planes} Planes */
/** @typedef {import("./types").ModelFile} ModelFile */
/** @typedef {import("./lab_jobs.js").Tensor} Tensor */
/** @typedef {import("./lab_jobs.js").Runner} Runner */
/** @typedef {(model: ModelFile) => Promise<Runner>} Open */
/** A file, and the layers that it gives, the deepest last. @typedef {ModelFile & {layers: string[]}} Stage */

/**
 * @param {Planes} picture
 * @param {string[]} layers
 * @param {Stage[]} stages from the shallow to the deep
 * @param {Open} open
 * @returns {Promise<Record<string, Tensor>>} these layers at least
 */
export async function look({ width, height, data }, layers, stages, open) {
  /** @type {Record<string, Tensor>} */
  const found = {};
  /** @type {Record<string, [Float32Array, number[]]>} */
  let feeds = { image: [data, [1, 3, height, width]] };
  for (const stage of stages) {
    if (layers.every((layer) => layer in found)) break;
    const run = await open(stage);
    Object.assign(found, await run(feeds));
    const last = found[stage.layers[stage.layers.length - 1]];
    feeds = { features: [last.data, [...last.dims]] };
  }
  return found;
}

/**
 * The picture that a network draws of a code.
 *
 * @param {Tensor} code
 * @param {ModelFile} drawer
 * @param {Open} open
 * @returns {Promise<Planes>}
 */
export async function drawn({ data, dims }, drawer, open) {
  const run = await open(drawer);
  const { output } = await run({ code: [data, [...dims]] });
  return { width: output.dims[3], height: output.dims[2], data: output.data };
}

/**
 * A picture continued to whole positions of a code: its last row and column are repeated.
 *
 * @param {Planes} picture
 * @param {number} by what the sides are to be multiples of
 * @returns {Planes}
 */
export function whole(picture, by) {
  const [width, height] = [picture.width, picture.height].map((side) => by * Math.ceil(side / by));
  return width === picture.width && height === picture.height ? picture : sized(picture, width, height);
}

/** The upper left part of a picture, or more, its edge repeated. @param {Planes} picture @param {number} width @param {number} height @returns {Planes} */
export function sized(picture, width, height) {
  const made = new Float32Array(3 * width * height);
  for (let row = 0, at = 0; row < 3 * height; row++) {
    const from = (Math.floor(row / height) * picture.height + Math.min(row % height, picture.height - 1)) * picture.width;
    for (let x = 0; x < width; x++) made[at++] = picture.data[from + Math.min(x, picture.width - 1)];
  }
  return { width, height, data: made };
}
