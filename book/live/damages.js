/** What can be done to a photo in the lab: moved, blurred, covered, made noisy, stored as JPEG. Pure functions of planes. */

/** @typedef {import("./types").Planes} Planes */
/** Pixels to the right and down, sigma in pixels, the disc's diameter in pixels, noise of 255, JPEG from 0 (none) to 99. @typedef {{x: number, y: number, blur: number, disc: number, noise: number, jpeg: number}} Damage */

/** Least, greatest and step of each. @type {Record<keyof Damage, [number, number, number]>} */
export const RANGES = { x: [-8, 8, 1], y: [-8, 8, 1], blur: [0, 4, 0.1], disc: [0, 96, 2], noise: [0, 60, 1], jpeg: [0, 98, 1] };
export const KINDS = /** @type {(keyof Damage)[]} */ (Object.keys(RANGES));
export const MARGIN = 16; // pixels around what is seen, from which a moved photo is filled
/** @type {Readonly<Damage>} */
export const NONE = { x: 0, y: 0, blur: 0, disc: 0, noise: 0, jpeg: 0 };

/** @param {Partial<Damage>} damage @returns {Damage} within its ranges */
export function bounded(damage) {
  const made = { ...NONE };
  for (const kind of KINDS) {
    const [least, most, step] = RANGES[kind];
    const value = Number(damage[kind] ?? 0);
    const steps = Number.isFinite(value) ? Math.round(value / step) : 0;
    made[kind] = Math.min(most, Math.max(least, Number((steps * step).toFixed(2))));
  }
  return made;
}

/**
 * The photo, damaged, in 8 bits: what is judged is what is shown.
 *
 * @param {Planes} photo with a margin on each side
 * @param {Damage} damage
 * @returns {Planes}
 */
export function damaged(photo, damage) {
  let made = cut(damage.blur ? blurred(photo, damage.blur) : photo, damage.x, damage.y);
  if (damage.disc) made = covered(made, damage.disc);
  if (damage.noise) made = noisy(made, damage.noise);
  if (damage.jpeg) made = stored(made, 100 - damage.jpeg);
  return in8Bits(made);
}

/** @param {Planes} picture @returns {Planes} */
export function in8Bits({ width, height, data }) {
  return { width, height, data: data.map((value) => Math.round(255 * Math.min(1, Math.max(0, value))) / 255) };
}

/** The part within the margin, of a photo that was moved. @param {Planes} photo @param {number} x @param {number} y @returns {Planes} */
function cut(photo, x, y) {
  const [width, height] = [photo.width - 2 * MARGIN, photo.height - 2 * MARGIN];
  const data = new Float32Array(3 * width * height);
  for (let row = 0; row < 3 * height; row++) {
    const [channel, line] = [Math.floor(row / height), row % height];
    const from = (channel * photo.height + line + MARGIN - y) * photo.width + MARGIN - x;
    data.set(photo.data.subarray(from, from + width), row * width);
  }
  return { width, height, data };
}

/** A Gaussian of four sigma, with the borders reflected, as in chapter 1. @param {Planes} picture @param {number} sigma @returns {Planes} */
export function blurred({ width, height, data }, sigma) {
  const reach = Math.floor(4 * sigma) + 1;
  const kernel = Float64Array.from({ length: 2 * reach + 1 }, (_, at) => Math.exp(-((at - reach) ** 2) / (2 * sigma * sigma)));
  const total = kernel.reduce((sum, value) => sum + value, 0);
  /** @param {number} at @param {number} side */
  const reflected = (at, side) => (at < 0 ? -at : at >= side ? 2 * side - 2 - at : at);
  const across = new Float32Array(data.length);
  const made = new Float32Array(data.length);
  for (let row = 0; row < 3 * height; row++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let tap = -reach; tap <= reach; tap++) sum += kernel[tap + reach] * data[row * width + reflected(x + tap, width)];
      across[row * width + x] = sum / total;
    }
  }
  const line = new Float64Array(width);
  for (let row = 0; row < 3 * height; row++) {
    const [first, y] = [row - (row % height), row % height];
    line.fill(0);
    for (let tap = -reach; tap <= reach; tap++) {
      const from = (first + reflected(y + tap, height)) * width;
      for (let x = 0; x < width; x++) line[x] += kernel[tap + reach] * across[from + x];
    }
    for (let x = 0; x < width; x++) made[row * width + x] = line[x] / total;
  }
  return { width, height, data: made };
}

/** A grey disc in the middle. @param {Planes} picture @param {number} diameter @returns {Planes} */
function covered({ width, height, data }, diameter) {
  const made = data.slice();
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (4 * ((x + 0.5 - width / 2) ** 2 + (y + 0.5 - height / 2) ** 2) > diameter * diameter) continue;
      for (let channel = 0; channel < 3; channel++) made[(channel * height + y) * width + x] = 0.5;
    }
  }
  return { width, height, data: made };
}

/** @type {Map<number, Float32Array>} */
const draws = new Map();

/** The same Gaussian draws each time, so that a link shows the same noise. @param {number} count */
export function normal(count) {
  let made = draws.get(count);
  if (made) return made;
  let seed = 0x9e3779b9;
  const uniform = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let value = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
  made = Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
  draws.set(count, made);
  return made;
}

/** @param {Planes} picture @param {number} sigma of 255 @returns {Planes} */
function noisy({ width, height, data }, sigma) {
  const draw = normal(data.length);
  return { width, height, data: data.map((value, at) => value + (sigma / 255) * draw[at]) };
}

// prettier-ignore
const LUMA = [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99];
// prettier-ignore
const CHROMA = [17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99, ...Array(32).fill(99)];
const COSINES = Array.from({ length: 8 }, (_, k) =>
  Array.from({ length: 8 }, (_, n) => (k ? 0.5 : Math.SQRT1_2 / 2) * Math.cos(((2 * n + 1) * k * Math.PI) / 16)),
);

/**
 * What is lost by JPEG: blocks of 8 by 8, whose cosines are rounded to the tables of the standard (annex K), colour in full size.
 *
 * @param {Planes} picture sides that are multiples of 8
 * @param {number} quality from 1 to 99
 * @returns {Planes}
 */
export function stored({ width, height, data }, quality) {
  const scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
  const tables = [LUMA, CHROMA, CHROMA].map((table) =>
    table.map((value) => Math.min(255, Math.max(1, Math.floor((value * scale + 50) / 100)))),
  );
  const size = width * height;
  const planes = [0, 1, 2].map(() => new Float64Array(size));
  for (let at = 0; at < size; at++) {
    const [red, green, blue] = [0, 1, 2].map((channel) => Math.round(255 * Math.min(1, Math.max(0, data[channel * size + at]))));
    planes[0][at] = Math.round(0.299 * red + 0.587 * green + 0.114 * blue) - 128;
    planes[1][at] = Math.round(-0.168736 * red - 0.331264 * green + 0.5 * blue);
    planes[2][at] = Math.round(0.5 * red - 0.418688 * green - 0.081312 * blue);
  }
  const [block, half] = [new Float64Array(64), new Float64Array(64)];
  planes.forEach((plane, channel) => {
    for (let top = 0; top < height; top += 8) {
      for (let left = 0; left < width; left += 8) {
        const start = top * width + left;
        for (let y = 0; y < 8; y++) for (let k = 0; k < 8; k++) half[y * 8 + k] = product(COSINES[k], plane, start + y * width, 1);
        for (let k = 0; k < 8; k++) {
          for (let j = 0; j < 8; j++) {
            const step = tables[channel][k * 8 + j];
            block[k * 8 + j] = step * Math.round(product(COSINES[k], half, j, 8) / step);
          }
        }
        for (let y = 0; y < 8; y++) {
          for (let j = 0; j < 8; j++) {
            let sum = 0;
            for (let k = 0; k < 8; k++) sum += COSINES[k][y] * block[k * 8 + j];
            half[y * 8 + j] = sum;
          }
        }
        for (let y = 0; y < 8; y++) {
          for (let x = 0; x < 8; x++) {
            let sum = 0;
            for (let j = 0; j < 8; j++) sum += COSINES[j][x] * half[y * 8 + j];
            plane[start + y * width + x] = sum;
          }
        }
      }
    }
  });
  const made = new Float32Array(3 * size);
  for (let at = 0; at < size; at++) {
    const [y, blue, red] = [planes[0][at] + 128, planes[1][at], planes[2][at]];
    made[at] = (y + 1.402 * red) / 255;
    made[size + at] = (y - 0.344136 * blue - 0.714136 * red) / 255;
    made[2 * size + at] = (y + 1.772 * blue) / 255;
  }
  return { width, height, data: made };
}

/** @param {number[]} weights @param {Float64Array} values @param {number} start @param {number} step */
function product(weights, values, start, step) {
  let sum = 0;
  for (let at = 0; at < 8; at++) sum += weights[at] * values[start + at * step];
  return sum;
}

/**
 * In words, for captions and for readers who do not see the picture.
 *
 * @param {Damage} damage
 * @returns {string}
 */
export function inWords({ x, y, blur, disc, noise, jpeg }) {
  /** @param {number} count */
  const px = (count) => `${count} pixel${count === 1 ? "" : "s"}`;
  const said = [
    x && `moved ${px(Math.abs(x))} to the ${x > 0 ? "right" : "left"}`,
    y && `moved ${px(Math.abs(y))} ${y > 0 ? "down" : "up"}`,
    blur && `blurred (σ = ${blur} px)`,
    disc && `a grey disc of ${disc} pixels`,
    noise && `noise (σ = ${noise} of 255)`,
    jpeg && `JPEG of quality ${100 - jpeg}`,
  ].filter(Boolean);
  return said.join(", ") || "as it is";
}
