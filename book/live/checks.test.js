/** What the chapters' questions compute without a page. */

import assert from "node:assert/strict";
import { test } from "node:test";
import "../theme/checks.js";

const { digest, exported, known, parsed, right, stamp } = globalThis.pltutorialChecks;

test("numbers are read as readers write them", () => {
  const given = { "0.5": 0.5, "0,5": 0.5, " 1/2 ": 0.5, "65 025": 65025, "65,025": 65025, "255^2": 65025, "10^-7": 1e-7, "2e-3": 0.002, "34 %": 34, "−4": -4, "+3": 3, ".7": 0.7, "1,49": 1.49 };
  for (const [text, value] of Object.entries(given)) assert.equal(parsed(text), value, text);
  for (const text of ["", "half", "1/2/3", "1.2.3", "12 px", "--1", "e5"]) assert.ok(Number.isNaN(parsed(text)), text);
});

test("the hash is FNV-1a", () => {
  // its authors' own test vectors
  assert.equal(digest(""), "811c9dc5");
  assert.equal(digest("a"), "e40c292c");
  assert.equal(digest("foobar"), "bf9cf968");
});

test("an answer is right within its steps, a word only if it is the word", () => {
  const number = { id: "q", step: 0.1, hashes: [14, 15, 16].map((place) => digest(`q:${place}`)) };
  for (const [said, expected] of [["1.5", true], ["1,4", true], ["1.3", false], ["1.7", false], ["x", false]]) assert.equal(right(number, said), expected, said);
  const word = { id: "w", hashes: [digest("w:inside")] };
  assert.deepEqual(["inside", "outside"].map((said) => right(word, said)), [true, false]);
});

test("a record knows tries, success and the first word", () => {
  const tries = [{ label: "a", solved: false, said: "1" }, { label: "b", solved: true, said: "2" }, { label: "a", solved: true, said: "3" }];
  assert.deepEqual(known(tries, "a"), { count: 2, solved: true, first: "1" });
  assert.deepEqual(known(tries, "c"), { count: 0, solved: false, first: undefined });
  assert.deepEqual(JSON.parse(exported(tries)), { what: "pltutorial answers", version: 1, tries });
  assert.match(stamp(), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/);
});
