/** What the lab of chapter 7 computes without a page and without a network. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { cut, drag, hatched, noisy, psnr, repair, scratch, share, verdict } from "./repair_jobs.js";

const [WIDTH, HEIGHT] = [48, 32];
const grey = (value) => ({ width: WIDTH, height: HEIGHT, data: new Float32Array(3 * WIDTH * HEIGHT).fill(value) });
const empty = () => new Float32Array(WIDTH * HEIGHT);

test("a box and a dab cut what lies under them, and no pixel outside the picture", () => {
  const mask = empty();
  cut(mask, WIDTH, { x: 10, y: 8, radius: 3, box: true });
  assert.equal(share(mask) * mask.length, 49);
  assert.deepEqual([mask[5 * WIDTH + 7], mask[11 * WIDTH + 13], mask[12 * WIDTH + 13]], [1, 1, 0]);
  const round = empty();
  cut(round, WIDTH, { x: 20, y: 16, radius: 5 });
  assert.ok(Math.abs(round.reduce((sum, value) => sum + value) - 25 * Math.PI) < 5);
  const corner = empty();
  cut(corner, WIDTH, { x: -1, y: -1, radius: 2, box: true });
  assert.equal(corner.reduce((sum, value) => sum + value), 4);
  assert.equal(corner[WIDTH - 1], 0);
});

test("a line leaves no gap, and a scratch depends on its seed alone", () => {
  const mask = empty();
  drag(mask, WIDTH, [4, 4], [44, 28], 1);
  for (let x = 5; x < 44; x++) assert.ok(Array.from({ length: HEIGHT }, (_, row) => mask[row * WIDTH + x]).includes(1), `column ${x}`);
  const [one, again, other] = [5, 5, 6].map((seed) => {
    const made = empty();
    scratch(made, WIDTH, seed, 2);
    return made;
  });
  assert.deepEqual(one, again);
  assert.notDeepEqual(one, other);
  assert.ok(share(one) > 0.03 && share(one) < 0.5);
});

test("stripes lie in the holes only", () => {
  const mask = empty();
  cut(mask, WIDTH, { x: 20, y: 16, radius: 6 });
  const shown = hatched(grey(0.3), mask).data;
  shown.forEach((value, at) => assert.equal(value === Math.fround(0.3), !mask[at % mask.length]));
  assert.equal(new Set(shown).size, 3);
});

test("noise has mean 0 and the strength that is asked for, and is never cut off", () => {
  const made = noisy(grey(0), 50, 7).data;
  const mean = made.reduce((sum, value) => sum + value, 0) / made.length;
  const deviation = Math.sqrt(made.reduce((sum, value) => sum + value * value, 0) / made.length);
  assert.ok(Math.abs(255 * mean) < 3);
  assert.ok(Math.abs(255 * deviation - 50) < 2);
  assert.ok(made.some((value) => value < -0.2));
  assert.deepEqual(noisy(grey(0), 50, 7).data, made);
  assert.notDeepEqual(noisy(grey(0), 50, 8).data, made);
});

test("decibels of the whole, and of the holes alone", () => {
  assert.ok(Math.abs(psnr(grey(0.6), grey(0.5)) - 20) < 1e-4);
  const mask = empty();
  cut(mask, WIDTH, { x: 20, y: 16, radius: 6, box: true });
  const output = hatched(grey(0.5), mask);
  output.data = output.data.map((value, at) => (mask[at % mask.length] ? 0.51 : 0.9));
  assert.ok(Math.abs(psnr(output, grey(0.5), mask) - 40) < 1e-3);
});

test("the network is given the mask where there is one, and its output comes back", async () => {
  const given = [];
  const run = async (feeds) => {
    given.push(Object.entries(feeds).map(([name, [, dims]]) => [name, dims]));
    return { output: { data: feeds.image[0], dims: feeds.image[1] } };
  };
  const job = { type: "repair", model: { file: "", bytes: 0 }, photo: grey(0.2) };
  const { planes } = await repair({ ...job, mask: empty() }, run);
  assert.deepEqual([planes.width, planes.height, planes.data.length], [WIDTH, HEIGHT, 3 * WIDTH * HEIGHT]);
  await repair(job, run);
  assert.deepEqual(given, [[["image", [1, 3, HEIGHT, WIDTH]], ["mask", [1, 1, HEIGHT, WIDTH]]], [["image", [1, 3, HEIGHT, WIDTH]]]]);
});

test("the verdict names who is nearer, or that nobody is", () => {
  const judged = { pixel: { psnr: 25.2, feature: 0.2, style: 0.05 }, combined: { psnr: 24.4, feature: 0.2, style: 0.02 } };
  assert.equal(verdict(judged), "In pixels the pixel loss is nearer, by 0.8 dB; in the Gram matrix the combined loss is nearer, 2.5 times.");
  const even = { pixel: { psnr: 25.2, style: 0.2 }, combined: { psnr: 25.21, style: 0.2 } };
  assert.equal(verdict(even), "In pixels both are equally near; in the Gram matrix there is no difference to speak of.");
  assert.equal(verdict({ pixel: { psnr: 20 }, combined: { psnr: 21 } }), "In pixels the combined loss is nearer, by 1.0 dB.");
});
