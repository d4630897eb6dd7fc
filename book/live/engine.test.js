/** The page's side of the worker, with a worker that does what the test says: node --test book/live */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createEngine } from "./engine.js";

const LIMITS = { start: 30, quiet: 45, patience: () => 100 };
const STYLE = { type: "stylize", model: {} };

/** Workers that note what they are told, and an engine that makes them. */
function engineWithWorkers() {
  const workers = [];
  const make = () => {
    const worker = {
      jobs: [],
      ended: false,
      postMessage: (message) => worker.jobs.push(message),
      terminate: () => (worker.ended = true),
      say: (message) => worker.onmessage({ data: message }),
      onmessage: null,
      onerror: null,
    };
    workers.push(worker);
    return worker;
  };
  return { engine: createEngine(make, LIMITS), workers };
}

test("a job is done and its progress told, by one worker for all", async () => {
  const { engine, workers } = engineWithWorkers();
  const stages = [];
  const result = engine.run(STYLE, ({ stage }) => stages.push(stage));
  assert.ok(engine.busy());
  const [worker] = workers;
  worker.say({ type: "ready" });
  const { id } = worker.jobs[0];
  worker.say({ type: "progress", id, stage: "decode", done: 0, total: 0 });
  worker.say({ type: "progress", id, stage: "compute", done: 0, total: 9 });
  worker.say({ type: "result", id, outcome: { seconds: 1, threads: 1 } });
  assert.deepEqual(await result, { seconds: 1, threads: 1 });
  assert.deepEqual(stages, ["decode", "compute"]);
  assert.ok(!engine.busy());
  const second = engine.run(STYLE);
  worker.say({ type: "result", id: worker.jobs[1].id, outcome: { seconds: 2, threads: 1 } });
  assert.equal((await second).seconds, 2);
  assert.equal(workers.length, 1);
});

test("a new job ends the one before", async () => {
  const { engine, workers } = engineWithWorkers();
  const first = engine.run(STYLE);
  const second = engine.run(STYLE);
  await assert.rejects(first, { kind: "cancelled" });
  assert.ok(workers[0].ended);
  workers[0].say({ type: "result", id: workers[0].jobs[0].id, outcome: { seconds: 9, threads: 1 } });
  workers[1].say({ type: "result", id: workers[1].jobs[0].id, outcome: { seconds: 3, threads: 1 } });
  assert.equal((await second).seconds, 3);
});

test("cancelling ends the worker, and the next job gets a new one", async () => {
  const { engine, workers } = engineWithWorkers();
  const result = engine.run(STYLE);
  engine.cancel();
  await assert.rejects(result, { kind: "cancelled" });
  assert.ok(workers[0].ended && !engine.busy());
  const next = engine.run(STYLE);
  workers[1].say({ type: "result", id: workers[1].jobs[0].id, outcome: { seconds: 1, threads: 1 } });
  await next;
});

test("bad input keeps the worker, everything else begins anew", async () => {
  const { engine, workers } = engineWithWorkers();
  for (const [kind, count] of [["input", 1], ["network", 2], ["memory", 3]]) {
    const result = engine.run(STYLE);
    const worker = workers.at(-1);
    worker.say({ type: "problem", id: worker.jobs.at(-1).id, kind, message: "A sentence." });
    await assert.rejects(result, { kind, message: "A sentence." });
    const after = engine.run(STYLE);
    assert.equal(workers.length, count);
    workers.at(-1).say({ type: "result", id: workers.at(-1).jobs.at(-1).id, outcome: { seconds: 0, threads: 1 } });
    await after;
  }
});

test("a worker that cannot be loaded or made is said", async () => {
  const { engine, workers } = engineWithWorkers();
  const result = engine.run(STYLE);
  workers[0].onerror({});
  await assert.rejects(result, { kind: "network" });
  const none = createEngine(() => {
    throw new Error("no workers here");
  });
  await assert.rejects(none.run(STYLE), { kind: "unsupported" });
});

test("nothing hangs: not at the start, not while fetching, not while computing", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { engine, workers } = engineWithWorkers();
  const start = engine.run(STYLE);
  t.mock.timers.tick(30_001);
  await assert.rejects(start, { kind: "broken", message: /does not start/ });
  const silent = engine.run(STYLE);
  workers[1].say({ type: "ready" });
  t.mock.timers.tick(44_000);
  workers[1].say({ type: "progress", id: workers[1].jobs[0].id, stage: "download", done: 1, total: 2 });
  t.mock.timers.tick(44_000);
  assert.ok(engine.busy(), "a sign of life counts");
  t.mock.timers.tick(2_000);
  await assert.rejects(silent, { kind: "broken", message: /Nothing has happened/ });
  const stuck = engine.run(STYLE);
  workers[2].say({ type: "progress", id: workers[2].jobs[0].id, stage: "compute", done: 0, total: 9 });
  t.mock.timers.tick(99_000);
  assert.ok(engine.busy());
  t.mock.timers.tick(2_000);
  await assert.rejects(stuck, { kind: "broken", message: /smaller size/ });
  assert.ok(workers.every(({ ended }) => ended));
});
