/** Antialiased bicubic interpolation as in PyTorch (and Pillow): the package's `resize`, so that sizes agree too. */

/**
 * @param {number} x
 * @returns {number} the cubic kernel with a = -0.5
 */
function cubic(x) {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/**
 * For every output position the first input position and the weights from there on.
 *
 * @param {number} input
 * @param {number} output
 * @returns {{first: number, weights: Float32Array}[]}
 */
function taps(input, output) {
  const scale = input / output;
  const stretch = Math.max(1, scale); // the kernel grows when a picture shrinks: that is the antialiasing
  return Array.from({ length: output }, (_, position) => {
    const centre = scale * (position + 0.5);
    const first = Math.max(0, Math.trunc(centre - 2 * stretch + 0.5));
    const count = Math.min(input, Math.trunc(centre + 2 * stretch + 0.5)) - first;
    const found = Float32Array.from({ length: count }, (_, tap) => cubic((tap + first - centre + 0.5) / stretch));
    const total = found.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: found.map((weight) => weight / total) };
  });
}

/**
 * @param {import("./types").Planes} picture
 * @param {number} width
 * @param {number} height
 * @returns {import("./types").Planes} clamped to [0, 1]
 */
export function resize(picture, width, height) {
  if (picture.width === width && picture.height === height) return picture;
  const across = taps(picture.width, width);
  const narrow = new Float32Array(3 * picture.height * width);
  for (let row = 0; row < 3 * picture.height; row++) {
    const from = row * picture.width;
    for (let x = 0; x < width; x++) {
      const { first, weights } = across[x];
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap++) sum += weights[tap] * picture.data[from + first + tap];
      narrow[row * width + x] = sum;
    }
  }
  const down = taps(picture.height, height);
  const data = new Float32Array(3 * height * width);
  const line = new Float64Array(width);
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < height; y++) {
      const { first, weights } = down[y];
      line.fill(0);
      for (let tap = 0; tap < weights.length; tap++) {
        const from = (channel * picture.height + first + tap) * width;
        for (let x = 0; x < width; x++) line[x] += weights[tap] * narrow[from + x];
      }
      const to = (channel * height + y) * width;
      for (let x = 0; x < width; x++) data[to + x] = Math.min(1, Math.max(0, line[x]));
    }
  }
  return { width, height, data };
}
