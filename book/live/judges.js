/** The judges that need no network, as the package has them: `pixel_loss` and `ssim`. */

/** @typedef {import("./types").Planes} Planes */

/** The mean squared difference over pixels and channels. @param {Planes} one @param {Planes} other @returns {number} */
export function squaredError(one, other) {
  let sum = 0;
  for (let at = 0; at < one.data.length; at++) sum += (one.data[at] - other.data[at]) ** 2;
  return sum / one.data.length;
}

const REACH = 5; // a window of 11 pixels
const WINDOW = Array.from({ length: 2 * REACH + 1 }, (_, at) => Math.exp(-((at - REACH) ** 2) / (2 * 1.5 * 1.5)));
const TOTAL = WINDOW.reduce((sum, value) => sum + value, 0);

/** The brightness Y of BT.601, of a picture in 8 bits. @param {Planes} picture */
function brightness({ width, height, data }) {
  const size = width * height;
  /** @param {number} value */
  const bits = (value) => Math.round(255 * value) / 255;
  return Float64Array.from(
    { length: size },
    (_, at) => (16 + 65.481 * bits(data[at]) + 128.553 * bits(data[size + at]) + 24.966 * bits(data[2 * size + at])) / 255,
  );
}

/** Local means under the window, where it lies inside. @param {Float64Array} values @param {number} width @param {number} height */
function means(values, width, height) {
  const inner = width - 2 * REACH;
  const across = new Float64Array(inner * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < inner; x++) {
      let sum = 0;
      for (let tap = 0; tap < WINDOW.length; tap++) sum += WINDOW[tap] * values[y * width + x + tap];
      across[y * inner + x] = sum / TOTAL;
    }
  }
  const made = new Float64Array(inner * (height - 2 * REACH));
  for (let tap = 0; tap < WINDOW.length; tap++) {
    const share = WINDOW[tap] / TOTAL;
    for (let at = 0; at < made.length; at++) made[at] += share * across[at + tap * inner];
  }
  return made;
}

/**
 * Structural similarity of the brightness (Wang et al. 2004): 1 for equal pictures.
 *
 * @param {Planes} one
 * @param {Planes} other at least 11 pixels along each side
 * @returns {number}
 */
export function ssim(one, other) {
  const { width, height } = one;
  const [a, b] = [brightness(one), brightness(other)];
  const [meanA, meanB] = [means(a, width, height), means(b, width, height)];
  const squareA = means(a.map((value) => value * value), width, height);
  const squareB = means(b.map((value) => value * value), width, height);
  const both = means(a.map((value, at) => value * b[at]), width, height);
  let sum = 0;
  for (let at = 0; at < both.length; at++) {
    const [m, n] = [meanA[at], meanB[at]];
    const [one2, other2, joint] = [squareA[at] - m * m, squareB[at] - n * n, both[at] - m * n];
    sum += ((2 * m * n + 0.0001) * (2 * joint + 0.0009)) / ((m * m + n * n + 0.0001) * (one2 + other2 + 0.0009));
  }
  return sum / both.length;
}
