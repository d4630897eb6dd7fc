/** The page's side of the worker: one job at a time, cancelled by ending the worker, watched so that nothing hangs. */

import { patience } from "./plan.js";
import { Problem } from "./problem.js";

const START = 30; // seconds for the worker's own files
const QUIET = 45; // seconds without a word while fetching or decoding; the fetch itself gives up after 30

/**
 * @typedef {{
 *   postMessage(message: unknown): void,
 *   terminate(): void,
 *   onmessage: ((event: MessageEvent) => void) | null,
 *   onerror: ((event: ErrorEvent) => void) | null,
 * }} WorkerLike
 */
/** @typedef {{run: (job: import("./types").Job, report?: (progress: import("./types").Progress) => void) => Promise<import("./types").Outcome>, cancel: () => void, busy: () => boolean}} Engine */

/**
 * @param {() => WorkerLike} makeWorker
 * @param {{start: number, quiet: number, patience: (pixels: number) => number}} limits in seconds
 * @returns {Engine} `run` waits for nothing: a new job cancels the one before, unless that only loads
 */
export function createEngine(makeWorker, limits = { start: START, quiet: QUIET, patience }) {
  /** @type {WorkerLike | null} */
  let worker = null;
  let count = 0;
  /** @typedef {{id: number, job: import("./types").Job, report: (progress: import("./types").Progress) => void, resolve: (outcome: import("./types").Outcome) => void, reject: (problem: Problem) => void}} Running */
  /** The jobs handed to the worker, which takes them in order. @type {Running[]} */
  let running = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let watchdog;

  /** @param {number} seconds @param {string} message */
  function watch(seconds, message) {
    clearTimeout(watchdog);
    if (running.length) watchdog = setTimeout(() => stop(new Problem("broken", message)), seconds * 1000);
  }

  /** End the worker and every job that it has. @param {Problem} problem */
  function stop(problem) {
    clearTimeout(watchdog);
    worker?.terminate();
    worker = null;
    const ended = running;
    running = [];
    for (const { reject } of ended) reject(problem);
  }

  /** @param {MessageEvent} event */
  function hear(event) {
    const message = /** @type {import("./types").FromWorker} */ (event.data);
    if (message.type === "ready") return watch(limits.quiet, "The page's worker does not answer. Try again.");
    const found = running.find(({ id }) => id === message.id);
    if (!found) return;
    if (message.type === "progress") {
      const computing = message.stage === "compute";
      const pixels = found.job.type === "upscale" ? (found.job.tile * found.job.factor) ** 2 : message.total;
      watch(
        computing ? limits.patience(pixels) : limits.quiet,
        computing
          ? "The network has given no answer for very long and was stopped. Choose a smaller size and try again."
          : "Nothing has happened for long, so this was stopped. Check the network, then try again.",
      );
      return found.report(message);
    }
    running = running.filter((one) => one !== found);
    clearTimeout(watchdog);
    if (running.length) watch(limits.quiet, "The page's worker does not answer. Try again.");
    if (message.type === "result") return found.resolve(message.outcome);
    const problem = new Problem(message.kind, message.message);
    found.reject(problem);
    // A module or a session that failed to load stays failed, and memory stays full: begin anew.
    if (problem.kind !== "input") stop(problem);
  }

  return {
    busy: () => running.some(({ job }) => job.type !== "load"),
    cancel: () => stop(new Problem("cancelled", "Stopped.")),
    run(job, report = () => {}) {
      if (running.some(({ job }) => job.type !== "load")) stop(new Problem("cancelled", "Stopped."));
      return new Promise((resolve, reject) => {
        const id = ++count;
        running.push({ id, job, report, resolve, reject });
        try {
          if (!worker) {
            worker = makeWorker();
            worker.onmessage = hear;
            worker.onerror = () =>
              stop(new Problem("network", "A part of this page could not be loaded or has failed. Check the network, then try again."));
            watch(limits.start, "The page's worker does not start. Check the network, then try again.");
          } else if (running.length === 1) {
            watch(limits.quiet, "The page's worker does not answer. Try again.");
          }
          worker.postMessage({ id, job });
        } catch {
          stop(new Problem("unsupported", "This browser cannot run a worker, which this page needs. Use a current browser."));
        }
      });
    },
  };
}
