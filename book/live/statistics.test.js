/** Eigenvectors, and statistics given to a code or a picture, without a page and without a network. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { centred, changed, covariance, eigen, product } from "./matrix.js";
import { sized, whole } from "./stages.js";
import { goalOf, matchColor, matcher } from "./statistics.js";
import { draws } from "./tiles.js";

const near = (found, expected, within) => {
  assert.equal(found.length, expected.length);
  for (let at = 0; at < found.length; at++) assert.ok(Math.abs(found[at] - expected[at]) <= within, `${at}: ${found[at]}, not ${expected[at]}`);
};

/** Rows that depend on each other, with means far from 0; the last is 0 throughout. */
function code(rows, count, seed) {
  const uniform = draws(seed);
  const made = Float32Array.from({ length: rows * count }, () => uniform() ** 2);
  for (let row = 1; row < rows; row++) {
    for (let at = 0; at < count; at++) made[row * count + at] = row + 1 === rows ? 0 : made[row * count + at] + 0.7 * made[(row - 1) * count + at];
  }
  return made;
}

test("eigenvectors are unit vectors at right angles that a matrix only stretches", () => {
  for (const size of [1, 2, 3, 40]) {
    const { centred: rest } = centred(code(size, 30, size), size); // of 40 no more than 29 values are not 0
    const matrix = covariance(rest, size, 30);
    const { values, vectors } = eigen(matrix);
    const turned = product(matrix, vectors.map((_, at) => vectors[(at % size) * size + Math.floor(at / size)]), size);
    for (let one = 0; one < size; one++) {
      for (let at = 0; at < size; at++) assert.ok(Math.abs(turned[at * size + one] - values[one] * vectors[one * size + at]) < 1e-12);
      for (let other = 0; other <= one; other++) {
        let sum = 0;
        for (let at = 0; at < size; at++) sum += vectors[one * size + at] * vectors[other * size + at];
        assert.ok(Math.abs(sum - Number(one === other)) < 1e-12);
      }
    }
  }
  near(eigen(Float64Array.of(2, 0, 0, 5)).values.sort(), [2, 5], 1e-15);
  const root = changed(Float64Array.of(2, 1, 1, 2), (value) => Math.sqrt(value));
  near(product(root, root, 2), [2, 1, 1, 2], 1e-14);
});

test("a code takes on means and covariance, or deviations, of another of any size", () => {
  const rows = 6;
  const [own, other] = [code(rows, 50, 1), code(rows, 31, 2)];
  const [wanted, plain] = [other, own].map((values) => centred(values, rows));
  for (const statistics of ["covariance", "deviation"]) {
    const moved = matcher(own, rows, statistics)(goalOf(other, rows, statistics));
    const { means, centred: rest } = centred(moved, rows);
    near(means, wanted.means, 1e-12);
    const [found, expected, before] = [covariance(rest, rows, 50), covariance(wanted.centred, rows, 31), covariance(plain.centred, rows, 50)];
    if (statistics === "covariance") near(found, expected, 1e-10);
    for (let at = 0; at < rows; at++) assert.ok(Math.abs(found[at * rows + at] - expected[at * rows + at]) < 1e-10);
    if (statistics === "deviation") {
      const correlation = (matrix) => matrix[1] / Math.sqrt(matrix[0] * matrix[rows + 1]);
      assert.ok(Math.abs(correlation(found) - correlation(before)) < 1e-10);
    }
  }
});

test("colours of a picture take on another's mean and covariance", () => {
  const uniform = draws(4);
  const picture = (side, low, high) => ({ width: side, height: side, data: Float32Array.from({ length: 3 * side * side }, () => low + (high - low) * uniform()) });
  const [photo, painting] = [picture(20, 0, 0.3), picture(16, 0.4, 0.6)];
  const { width, height, data } = matchColor(photo, painting);
  assert.deepEqual([width, height], [20, 20]);
  const [found, wanted] = [data, painting.data].map((values) => centred(values, 3));
  near(found.means, wanted.means, 1e-6);
  near(covariance(found.centred, 3, 399), covariance(wanted.centred, 3, 255), 2e-5);
  assert.ok(matchColor(painting, { ...photo, data: photo.data.map((value) => 4 * value) }).data.every((value) => value >= 0 && value <= 1));
});

test("a picture is continued by its edge, and cut off again", () => {
  const picture = { width: 3, height: 2, data: Float32Array.from({ length: 18 }, (_, at) => at) };
  const large = whole(picture, 4);
  assert.deepEqual([large.width, large.height], [4, 4]);
  assert.deepEqual([...large.data.subarray(0, 16)], [0, 1, 2, 2, 3, 4, 5, 5, 3, 4, 5, 5, 3, 4, 5, 5]);
  assert.deepEqual(sized(large, 3, 2), picture);
  assert.equal(whole(picture, 1), picture);
});
