/** What computes without a page: node --test book/live */

import assert from "node:assert/strict";
import { test } from "node:test";
import { mix, toPixels, toPlanes, weights } from "./blend.js";
import { bytes, fileName, pixels, seconds } from "./format.js";
import { patience, plan, readable, roundHalfEven } from "./plan.js";
import { asProblem, Problem } from "./problem.js";
import { resize } from "./resize.js";
import { crop, inTiles, spans } from "./tiling.js";
import { bounded, zoomed } from "./zoom.js";

/** A picture with values that differ everywhere, in [0, 1]. */
function picture(width, height) {
  return { width, height, data: Float32Array.from({ length: 3 * width * height }, (_, at) => ((at * 73) % 251) / 251) };
}

test("sizes are the package's: the longer side is given, halves go to the even side", () => {
  assert.deepEqual([0.5, 1.5, 2.5, 2.4, 2.6].map(roundHalfEven), [0, 2, 2, 2, 3]);
  assert.deepEqual(plan(640, 427, 512, 1024), { width: 512, height: 342 });
  assert.deepEqual(plan(427, 640, 512, 1024), { width: 342, height: 512 });
  assert.deepEqual(plan(100, 50, 512, 1024), { width: 512, height: 256 });
  assert.deepEqual(plan(4, 1000, 100, 1024), { width: 1, height: 100 });
});

test("as it is means untouched up to the largest size and shrunk beyond", () => {
  assert.deepEqual(plan(333, 1024, null, 1024), { width: 333, height: 1024 });
  assert.deepEqual(plan(4000, 3000, null, 1024), { width: 1024, height: 768 });
  assert.deepEqual(plan(100, 100, 2048, 1024), { width: 1024, height: 1024 });
});

test("bitmaps beyond a phone's memory are read smaller, and never to nothing", () => {
  assert.deepEqual(readable(3072, 10), { width: 3072, height: 10 });
  assert.deepEqual(readable(12_000, 9000), { width: 3072, height: 2304 });
  assert.deepEqual(readable(100_000, 2), { width: 3072, height: 1 });
  assert.ok(patience(1024 * 1024) > 2 * patience(256 * 256));
});

test("resizing keeps constants, equals PyTorch's antialiased bicubic, and does nothing at its own size", () => {
  const flat = { width: 7, height: 5, data: new Float32Array(105).fill(0.25) };
  for (const [width, height] of [[3, 2], [20, 11], [7, 9]]) {
    for (const value of resize(flat, width, height).data) assert.ok(Math.abs(value - 0.25) < 1e-6);
  }
  assert.equal(resize(flat, 7, 5), flat);
  const ramp = { width: 8, height: 1, data: Float32Array.from({ length: 24 }, (_, at) => ((at % 8) * (at % 8)) / 49) };
  // torch.nn.functional.interpolate((torch.arange(8.) ** 2 / 49).view(1, 1, 1, 8), (1, 3 or 11), mode="bicubic", antialias=True)
  const wanted = { 3: [0.021139, 0.259562, 0.765006], 11: [0.0, 0.007752, 0.035461, 0.085385, 0.156898, 0.25, 0.364691, 0.50097, 0.658838, 0.860337, 1.0] };
  for (const [width, values] of Object.entries(wanted)) {
    const made = resize(ramp, Number(width), 1).data;
    values.forEach((value, at) => assert.ok(Math.abs(made[at] - value) < 1e-5, `${width}: ${made.slice(0, values.length)}`));
  }
});

test("tiles cover each pixel once and see their neighbours", () => {
  for (const [length, tile] of [[1, 256], [256, 256], [257, 256], [1000, 256], [513, 100]]) {
    const found = spans(length, tile, 23);
    assert.equal(found[0].start, 0);
    assert.equal(found.at(-1).stop, length);
    found.slice(1).forEach((span, at) => assert.equal(span.start, found[at].stop));
    for (const { start, stop, from, to } of found) {
      assert.ok(stop - start <= tile && stop > start);
      assert.equal(from, Math.max(0, start - 23));
      assert.equal(to, Math.min(length, stop + 23));
    }
  }
});

test("work that looks two pixels far leaves no seam between tiles", async () => {
  const whole = picture(37, 23);
  /** Each value with those two to its left and right, doubled in size by repetition. */
  const work = async ({ width, height, data }) => {
    const made = new Float32Array(12 * width * height);
    for (let row = 0; row < 3 * height; row++) {
      for (let x = 0; x < 2 * width; x++) {
        let sum = 0;
        for (let by = -2; by <= 2; by++) sum += data[row * width + Math.min(width - 1, Math.max(0, (x >> 1) + by))] / 5;
        made[2 * row * 2 * width + x] = made[(2 * row + 1) * 2 * width + x] = sum;
      }
    }
    return { width: 2 * width, height: 2 * height, data: made };
  };
  const shares = [];
  const at = (done, total) => shares.push(done / total);
  const alone = await inTiles(whole, 2, 2, 1000, work, () => {});
  assert.deepEqual(await inTiles(whole, 2, 2, 8, work, at), alone);
  assert.deepEqual([alone.width, alone.height], [74, 46]);
  assert.equal(shares.at(-1), 1);
  assert.deepEqual(shares, [...shares].sort((a, b) => a - b));
  assert.notDeepEqual(await inTiles(whole, 2, 0, 8, work, () => {}), alone); // the check can fail
});

test("a part of a picture keeps its planes apart", () => {
  const whole = picture(5, 4);
  const part = crop(whole, 1, 3, 2, 5);
  assert.deepEqual([part.width, part.height], [3, 2]);
  assert.equal(part.data[0], whole.data[7]);
  assert.equal(part.data[6 + 3], whole.data[20 + 2 * 5 + 2]);
});

test("weights sum to one, in the order of the card", () => {
  const names = ["a", "b", "c"];
  assert.deepEqual(weights(names, "b", "", 0.5), [0, 1, 0]);
  assert.deepEqual(weights(names, "b", "b", 0.5), [0, 1, 0]);
  assert.deepEqual(weights(names, "c", "a", 0.25), [0.25, 0, 0.75]);
});

test("transparency lies over white, and bytes survive the way there and back", () => {
  const bytes = Uint8Array.from([0, 10, 255, 255, 0, 10, 255, 0, 0, 100, 200, 51]);
  assert.deepEqual([...toPixels(toPlanes(bytes, 3, 1)).data], [0, 10, 255, 255, 255, 255, 255, 255, 204, 224, 244, 255]);
  const all = Uint8Array.from({ length: 1024 }, (_, at) => (at % 4 === 3 ? 255 : at >> 2));
  assert.deepEqual([...toPixels(toPlanes(all, 256, 1)).data], [...all]);
});

test("strength mixes from the photo to the print, and colours can stay", () => {
  const [photo, print] = [picture(6, 4), { ...picture(6, 4), data: picture(6, 4).data.map((value) => 1 - value * value) }];
  assert.equal(mix(photo, print, 1, false), print);
  assert.deepEqual(mix(photo, print, 0, false).data, photo.data);
  const half = mix(photo, print, 0.5, false).data;
  half.forEach((value, at) => assert.ok(Math.abs(value - (photo.data[at] + print.data[at]) / 2) < 1e-6));
  const grey = { width: 1, height: 1, data: Float32Array.from([0.5, 0.5, 0.5]) };
  const red = { width: 1, height: 1, data: Float32Array.from([0.6, 0.3, 0.3]) };
  const [r, g, b] = mix(red, grey, 1, true).data; // luminance 0.3897 becomes 0.5, the differences stay
  assert.ok(Math.abs(r - g - 0.3) < 1e-6 && Math.abs(g - b) < 1e-6);
  assert.ok(Math.abs(0.299 * r + 0.587 * g + 0.114 * b - 0.5) < 1e-6);
});

test("numbers are written as people read them", () => {
  assert.deepEqual([0.123, 0.999, 3.14, 42.4, 185, 120].map(seconds), ["0.12 s", "1.0 s", "3.1 s", "42 s", "3 min 5 s", "2 min"]);
  assert.deepEqual([12, 875_000, 14_239_897].map(bytes), ["1 KB", "875 KB", "14.2 MB"]);
  assert.equal(pixels(12_000, 9), "12,000 × 9 pixels");
  assert.equal(fileName("Katze im Süden.JPG", "great_wave"), "Katze im Süden-great_wave.png");
  assert.equal(fileName("../../<x>.png", "x4-pixel"), "....x-x4-pixel.png");
  assert.equal(fileName(".png", "poppies"), "photo-poppies.png");
});

test("any error becomes a sentence of one kind", () => {
  const own = new Problem("network", "The network is gone.");
  assert.equal(asProblem(own), own);
  assert.equal(asProblem(new RangeError("Array buffer allocation failed")).kind, "memory");
  assert.equal(asProblem(new Error("std::bad_alloc")).kind, "memory");
  assert.equal(asProblem("whatever").kind, "broken");
});

test("zooming keeps a point in place and never shows what lies outside", () => {
  const view = { x: 0.5, y: 0.5, zoom: 2 };
  const near = zoomed(view, 2, 0.25, -0.25);
  assert.ok(Math.abs(near.x + 0.25 / near.zoom - (view.x + 0.25 / view.zoom)) < 1e-12);
  assert.deepEqual(bounded({ x: 0, y: 1, zoom: 2 }, 8), { x: 0.25, y: 0.75, zoom: 2 });
  assert.deepEqual(bounded({ x: 9, y: 9, zoom: 0.1 }, 8), { x: 0.5, y: 0.5, zoom: 1 });
  assert.equal(bounded({ x: 0.5, y: 0.5, zoom: 99 }, 8).zoom, 8);
});
