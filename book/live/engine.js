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
 * @returns {Engine} a new job ends the one before
 */
export function createEngine(makeWorker, limits = { start: START, quiet: QUIET, patience }) {
  /** @typedef {{id: number, job: import("./types").Job, report: (progress: import("./types").Progress) => void, resolve: (outcome: import("./types").Outcome) => void, reject: (problem: Problem) => void}} Running */
  /** @type {WorkerLike | null} */
  let worker = null;
  /** @type {Running | null} */
  let running = null;
  let count = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let watchdog;

  /** @param {number} seconds @param {string} message */
  function watch(seconds, message) {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => stop(new Problem("broken", message)), seconds * 1000);
  }

  /** End the worker and what it does. @param {Problem} problem */
  function stop(problem) {
    clearTimeout(watchdog);
    worker?.terminate();
    worker = null;
    const ended = running;
    running = null;
    ended?.reject(problem);
  }

  /** @param {MessageEvent} event */
  function hear(event) {
    const message = /** @type {import("./types").FromWorker} */ (event.data);
    const { id, job, report, resolve, reject } = running ?? {};
    if (!job || !report || (message.type !== "ready" && message.id !== id)) return;
    if (message.type === "ready") return watch(limits.quiet, "The page's worker does not answer. Try again.");
    if (message.type === "progress") {
      const pixels = job.type === "upscale" ? (job.tile * job.factor) ** 2 : message.total;
      if (message.stage === "compute") {
        watch(limits.patience(pixels), "The network has given no answer for very long and was stopped. Choose a smaller size and try again.");
      } else {
        watch(limits.quiet, "Nothing has happened for long, so this was stopped. Check the network, then try again.");
      }
      return report(message);
    }
    clearTimeout(watchdog);
    running = null;
    if (message.type === "result") return resolve?.(message.outcome);
    reject?.(new Problem(message.kind, message.message));
    // A module or a session that failed to load stays failed, and memory stays full: begin anew.
    if (message.kind !== "input") stop(new Problem("cancelled", "Stopped."));
  }

  return {
    busy: () => running !== null,
    cancel: () => stop(new Problem("cancelled", "Stopped.")),
    run(job, report = () => {}) {
      if (running) stop(new Problem("cancelled", "Stopped."));
      return new Promise((resolve, reject) => {
        running = { id: ++count, job, report, resolve, reject };
        try {
          if (worker) {
            watch(limits.quiet, "The page's worker does not answer. Try again.");
          } else {
            worker = makeWorker();
            worker.onmessage = hear;
            worker.onerror = () =>
              stop(new Problem("network", "A part of this page could not be loaded or has failed. Check the network, then try again."));
            watch(limits.start, "The page's worker does not start. Check the network, then try again.");
          }
          worker.postMessage({ id: count, job });
        } catch {
          stop(new Problem("unsupported", "This browser cannot run a worker, which this page needs. Use a current browser."));
        }
      });
    },
  };
}
