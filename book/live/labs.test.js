/** What the labs of chapters 3 and 12 compute without a page and without a network. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { MARGIN } from "./damages.js";
import { TARGET, WAYS, equal } from "./equal.js";
import { gramMatrix, loudest } from "./gram_jobs.js";
import { squaredError } from "./judges.js";
import { byChance, rankCorrelation } from "./ranks.js";
import { dab, draws, moved, places, sizes } from "./tiles.js";

/** Waves, even areas and some noise, with a margin. */
function photo(side) {
  const width = side + 2 * MARGIN;
  const uniform = draws(3);
  const data = Float32Array.from({ length: 3 * width * width }, (_, at) => {
    const [x, y] = [at % width, Math.floor(at / width) % width];
    const value = y < width / 2 ? 0.8 : 0.5 + 0.45 * Math.sin(x / 2) * Math.cos(y / 3) + 0.05 * uniform();
    return Math.round(255 * value) / 255;
  });
  return { width, height: width, data };
}

test("every copy has the target's squared error in 8 bits, even areas or not", () => {
  const { copies, planes } = equal({ photo: photo(96) });
  assert.deepEqual(copies.map(({ kind }) => kind), WAYS.map(({ kind }) => kind));
  for (const { kind, picture } of copies) {
    const error = squaredError(picture, planes);
    assert.ok(Math.abs(error / TARGET - 1) < 2e-3, `${kind}: ${error}`);
    assert.ok(picture.data.every((value) => Math.abs(255 * value - Math.round(255 * value)) < 1e-3));
  }
});

test("a picture with next to nothing in it is refused with a sentence", () => {
  assert.throws(() => equal({ photo: { width: 96, height: 96, data: new Float32Array(3 * 96 * 96) } }), /Choose one with edges/);
});

test("chance counts every order", () => {
  const orders = (names) => (names.length ? names.flatMap((name) => orders(names.filter((other) => other !== name)).map((rest) => [name, ...rest])) : [[]]);
  const all = orders(["a", "b", "c", "d", "e"]);
  const values = all.map((order) => rankCorrelation(all[0], order));
  assert.equal(Math.max(...values), 1);
  assert.equal(Math.min(...values), -1);
  for (const value of values) {
    const near = values.filter((other) => other >= value - 1e-9).length;
    assert.ok(Math.abs(byChance(value, 5) - near / 120) < 1e-12);
  }
  assert.equal(Math.round(1 / byChance(1, 8)), 40320);
});

test("tiles are moved whole, by the seed alone, and paint lies where it is seen", () => {
  assert.deepEqual(sizes(96), [4, 6, 8, 12, 16, 24, 32, 48]);
  const side = 48;
  assert.deepEqual(places(side, 12, 0), Int32Array.from({ length: side * side }, (_, at) => at));
  const from = places(side, 12, 7);
  assert.deepEqual(from, places(side, 12, 7));
  assert.notDeepEqual(from, places(side, 12, 8));
  assert.deepEqual([...from].sort((a, b) => a - b), Array.from({ length: side * side }, (_, at) => at));
  for (let at = 0; at < from.length; at++) if (at % 12) assert.equal(from[at], from[at - 1] + 1);
  const picture = { width: side, height: side, data: new Float32Array(3 * side * side) };
  dab(picture, from, { x: 20.5, y: 30, radius: 5, colour: [1, 0.5, 0.25] });
  const seen = moved(picture, from).data;
  for (let at = 0; at < side * side; at++) {
    const inside = ((at % side) - 20.5) ** 2 + (Math.floor(at / side) - 30) ** 2 <= 25;
    assert.deepEqual([0, 1, 2].map((channel) => seen[channel * side * side + at]), inside ? [1, 0.5, 0.25] : [0, 0, 0]);
  }
});

test("a Gram matrix is that of chapter 3's nine positions, and of odd numbers of channels", () => {
  const a = [1, 0, 0, 0, 2, 0, 0, 0, 1];
  const b = [0, 0, 1, 0, 2, 0, 1, 0, 0];
  const found = gramMatrix({ data: Float32Array.from([...a, ...b]), dims: [1, 2, 3, 3] });
  [6, 4, 4, 6].forEach((sum, at) => assert.ok(Math.abs(found[at] - sum / 18) < 1e-7));
  const uniform = draws(5);
  const [channels, count] = [7, 6];
  const data = Float32Array.from({ length: channels * count }, uniform);
  const made = gramMatrix({ data, dims: [1, channels, 2, 3] });
  for (let one = 0; one < channels; one++) {
    for (let other = 0; other < channels; other++) {
      let sum = 0;
      for (let at = 0; at < count; at++) sum += data[one * count + at] * data[other * count + at];
      assert.ok(Math.abs(made[one * channels + other] - sum / data.length) < 1e-6);
    }
  }
  const first = loudest(made, channels);
  assert.deepEqual([...first].sort(), [0, 1, 2, 3, 4, 5, 6]);
  first.slice(1).forEach((channel, at) => assert.ok(made[first[at] * 8] >= made[channel * 8]));
});
