/** Pictures of any size through a network in bounded memory, without seams: as `pltutorial.tiling`. */

/**
 * Where tiles begin and end along one side, and the same with what they see besides; all of about one size.
 *
 * @param {number} length
 * @param {number} tile side of a tile, what it sees besides not counted
 * @param {number} reach how many pixels to each side decide one pixel of the output
 * @returns {{start: number, stop: number, from: number, to: number}[]}
 */
export function spans(length, tile, reach) {
  const step = Math.ceil(length / Math.ceil(length / tile));
  const found = [];
  for (let start = 0; start < length; start += step) {
    const stop = Math.min(start + step, length);
    found.push({ start, stop, from: Math.max(0, start - reach), to: Math.min(stop + reach, length) });
  }
  return found;
}

/**
 * A part of a picture.
 *
 * @param {import("./types").Planes} picture
 * @param {number} top
 * @param {number} bottom
 * @param {number} left
 * @param {number} right
 * @returns {import("./types").Planes}
 */
export function crop(picture, top, bottom, left, right) {
  const width = right - left;
  const height = bottom - top;
  const data = new Float32Array(3 * width * height);
  let target = 0;
  for (let channel = 0; channel < 3; channel++) {
    for (let row = top; row < bottom; row++) {
      const at = (channel * picture.height + row) * picture.width;
      data.set(picture.data.subarray(at + left, at + right), target);
      target += width;
    }
  }
  return { width, height, data };
}

/**
 * What `work` makes of a picture, tile by tile, as pixels for the screen.
 *
 * @param {import("./types").Planes} picture
 * @param {number} factor how much larger the output is
 * @param {number} reach
 * @param {number} tile
 * @param {(part: import("./types").Planes) => Promise<import("./types").Planes>} work
 * @param {(done: number, total: number) => void} progress
 * @returns {Promise<import("./types").Pixels>}
 */
export async function inTiles(picture, factor, reach, tile, work, progress) {
  const rows = spans(picture.height, tile, reach);
  const columns = spans(picture.width, tile, reach);
  const width = picture.width * factor;
  const height = picture.height * factor;
  const data = new Uint8ClampedArray(4 * width * height);
  let done = 0;
  for (const row of rows) {
    for (const column of columns) {
      progress(done++, rows.length * columns.length);
      const made = await work(crop(picture, row.from, row.to, column.from, column.to));
      const size = made.width * made.height;
      for (let y = row.start * factor; y < row.stop * factor; y++) {
        let from = (y - row.from * factor) * made.width + (column.start - column.from) * factor;
        let to = 4 * (y * width + column.start * factor);
        for (let x = column.start * factor; x < column.stop * factor; x++, from++, to += 4) {
          data[to] = made.data[from] * 255; // Uint8ClampedArray clamps, and rounds as the package does
          data[to + 1] = made.data[from + size] * 255;
          data[to + 2] = made.data[from + 2 * size] * 255;
          data[to + 3] = 255;
        }
      }
    }
  }
  progress(done, done);
  return { width, height, data };
}
