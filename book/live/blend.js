/** Pixels in and out of the networks, weights of styles, strength: as `pltutorial stylize` does it. */

/**
 * Bytes as planes in [0, 1], transparency laid over white.
 *
 * @param {Uint8Array | Uint8ClampedArray | Float32Array} rgba from 0 to 255
 * @param {number} width
 * @param {number} height
 * @returns {import("./types").Planes}
 */
export function toPlanes(rgba, width, height) {
  const size = width * height;
  const data = new Float32Array(3 * size);
  for (let pixel = 0, at = 0; pixel < size; pixel++, at += 4) {
    const alpha = rgba[at + 3] / 255;
    data[pixel] = (rgba[at] / 255) * alpha + 1 - alpha;
    data[pixel + size] = (rgba[at + 1] / 255) * alpha + 1 - alpha;
    data[pixel + 2 * size] = (rgba[at + 2] / 255) * alpha + 1 - alpha;
  }
  return { width, height, data };
}

/**
 * Planes as opaque pixels, clamped and rounded to 8 bits.
 *
 * @param {import("./types").Planes} picture
 * @returns {import("./types").Pixels}
 */
export function toPixels({ width, height, data }) {
  const size = width * height;
  const pixels = new Uint8ClampedArray(4 * size);
  for (let pixel = 0, at = 0; pixel < size; pixel++, at += 4) {
    pixels[at] = data[pixel] * 255; // rounds halves to even, as torch does
    pixels[at + 1] = data[pixel + size] * 255;
    pixels[at + 2] = data[pixel + 2 * size] * 255;
    pixels[at + 3] = 255;
  }
  return { width, height, data: pixels };
}

/**
 * The share of every style, in the order of the network's card.
 *
 * @param {string[]} names
 * @param {string} first
 * @param {string} second "" for none
 * @param {number} share of the second, in [0, 1]
 * @returns {number[]} non-negative, with the sum 1
 */
export function weights(names, first, second, share) {
  const wanted = new Map([[first, 1]]);
  if (second && second !== first) {
    wanted.set(first, 1 - share);
    wanted.set(second, share);
  }
  return names.map((name) => wanted.get(name) ?? 0);
}

/**
 * The photo's colours under the print's brightness (Gatys et al. 2017, section 5.2), and the mixture of both pictures.
 *
 * Only the luminance Y differs between the output and the photo, and it enters red, green and blue alike.
 *
 * @param {import("./types").Planes} photo
 * @param {import("./types").Planes} print of the same size
 * @param {number} strength from 0, the photo, to 1, the print
 * @param {boolean} keepColors
 * @returns {import("./types").Planes}
 */
export function mix(photo, print, strength, keepColors) {
  if (strength === 1 && !keepColors) return print;
  const size = photo.width * photo.height;
  const data = new Float32Array(3 * size);
  const [source, output] = [photo.data, print.data];
  for (let pixel = 0; pixel < size; pixel++) {
    const change =
      0.299 * (output[pixel] - source[pixel]) +
      0.587 * (output[pixel + size] - source[pixel + size]) +
      0.114 * (output[pixel + 2 * size] - source[pixel + 2 * size]);
    for (let at = pixel; at < 3 * size; at += size) {
      const made = keepColors ? Math.min(1, Math.max(0, source[at] + change)) : output[at];
      data[at] = source[at] + strength * (made - source[at]);
    }
  }
  return { width: photo.width, height: photo.height, data };
}
