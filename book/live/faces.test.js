/** What the labs of chapters 9 and 11 compute without a page and without a network. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { between, changed, drawnCodes, guided, normals, sharpness, sheet, stepped } from "./sampler.js";

test("draws are standard normal, and the seed alone decides", () => {
  const drawn = normals(3, 20001);
  const mean = drawn.reduce((sum, value) => sum + value, 0) / drawn.length;
  const square = drawn.reduce((sum, value) => sum + value * value, 0) / drawn.length;
  const fourth = drawn.reduce((sum, value) => sum + value ** 4, 0) / drawn.length;
  assert.ok(Math.abs(mean) < 0.03 && Math.abs(square - 1) < 0.04 && Math.abs(fourth - 3) < 0.25, `${mean} ${square} ${fourth}`);
  assert.deepEqual(normals(3, 7), drawn.slice(0, 7));
  assert.notDeepEqual(normals(4, 7), drawn.slice(0, 7));
  assert.ok(normals(0, 100).every(Number.isFinite));
});

/** The best denoiser of the two values -1 and 1, chapter 11's first formula. */
const best = async (x, t) => x.map((value) => Math.tanh((t * value) / (1 - t) ** 2));

/** Where so many steps lead, and how often they ask. */
async function walked(steps, heun, start = Float32Array.of(0.3, -0.7, 1.9, 0.05)) {
  let [x, asked] = [start, 0];
  const denoise = (now, t) => (asked++, best(now, t));
  for (let step = 0; step < steps; step++) ({ x } = await stepped(denoise, x, { t: step / steps, after: (step + 1) / steps, heun }));
  return { x, asked };
}

test("one step of Euler is the estimate, which at t = 0 is the mean", async () => {
  const x = Float32Array.of(0.3, -0.7);
  const found = await stepped(best, x, { t: 0, after: 1, heun: true });
  assert.ok([...found.x, ...found.estimate].every((value) => Math.abs(value) === 0));
  assert.equal((await walked(4, false)).asked, 4);
  assert.equal((await walked(4, true)).asked, 7); // its last step is Euler's
});

test("many steps end at one of the values, and Heun's error falls faster", async () => {
  const { x } = await walked(200, false);
  [1, -1, 1, 1].forEach((value, at) => assert.ok(Math.abs(x[at] - value) < 1e-3, String(x)));
  // up to t = 1/2, where the way is smooth: by hand with very many steps
  const half = async (steps, heun) => {
    let now = Float64Array.of(0.5);
    for (let step = 0; step < steps; step++) ({ x: now } = await stepped(best, now, { t: step / (2 * steps), after: (step + 1) / (2 * steps), heun }));
    return now[0];
  };
  const exact = await half(4096, true);
  const [one, two] = [Math.abs((await half(8, true)) - exact), Math.abs((await half(16, true)) - exact)];
  assert.ok(one / two > 3 && one / two < 5, `${one / two}`); // a quarter of the error for half of the step
  assert.ok(Math.abs((await half(16, false)) - exact) > 4 * two);
});

test("guidance of 1 is the answer with the condition, of 0 that without", () => {
  const [plain, told] = [Float32Array.of(0, 1), Float32Array.of(1, 0.5)];
  assert.deepEqual(guided(plain, told, 1), told);
  assert.deepEqual(guided(plain, told, 0), plain);
  assert.deepEqual([...guided(plain, told, 2)], [2, 0]);
});

test("a code between four is that of a corner at the corner, and vectors are added", () => {
  const codes = [[1, 0], [0, 1], [2, 2], [4, 0]];
  [[0, 0], [1, 0], [0, 1], [1, 1]].forEach(([x, y], at) => assert.deepEqual(between(codes, x, y), codes[at]));
  assert.deepEqual(between(codes, 0.5, 0.5), [1.75, 0.75]);
  assert.deepEqual(changed([1, 1], [[1, 0], [0, 2]], [0.5, -1]), [1.5, -1]);
});

test("codes of a fitted Gaussian have its mean and its covariance", () => {
  const fitted = { mean: [1, -2], factor: [2, 1, 0.5] }; // covariance [[4, 2], [2, 1.25]]
  const made = drawnCodes(normals(5, 40000), 1, fitted);
  const [first, second] = [0, 1].map((which) => made.filter((_, at) => at % 2 === which));
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  assert.ok(Math.abs(mean(first) - 1) < 0.05 && Math.abs(mean(second) + 2) < 0.03);
  assert.ok(Math.abs(mean(first.map((value, at) => (value - 1) * (second[at] + 2))) - 2) < 0.1);
  assert.ok(Math.abs(mean(second.map((value) => (value + 2) ** 2)) - 1.25) < 0.06);
  assert.deepEqual(drawnCodes(Float32Array.of(1, -2), 0.5, undefined), Float32Array.of(0.5, -1));
});

test("a sheet has every picture in its place", () => {
  const size = 2;
  const pictures = Float32Array.from({ length: 3 * 12 }, (_, at) => Math.floor(at / 12)); // picture n is all n
  const { width, height, data } = sheet(pictures, size, 2);
  assert.deepEqual([width, height], [4, 4]);
  assert.deepEqual([...data.slice(0, 16)], [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 0, 0, 2, 2, 0, 0]);
  assert.deepEqual([...sheet(Float32Array.from({ length: 12 }, () => -1), size, 1, true).data], Array(12).fill(0));
});

test("an even picture has no sharpness, and a dot that of its Laplacian", () => {
  const size = 5;
  const even = new Float32Array(3 * size * size).fill(0.2);
  assert.ok(sharpness(even, size) < 1e-12);
  const dot = even.map((_, at) => (at % 25 === 12 ? 1 : -1)); // white on black: brightness 219/255 above
  const expected = ((219 / 255) ** 2 * (4 ** 2 + 4)) / 25; // the dot, four neighbours, and a mean of 0
  assert.ok(Math.abs(sharpness(dot, size) - expected) < 1e-6);
});
