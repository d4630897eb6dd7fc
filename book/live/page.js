/** The elements of the page, and how it speaks to its reader. */

import { asProblem } from "./problem.js";

/**
 * An element by its id, of the class that is expected.
 *
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function get(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}

const box = get("problem", HTMLElement);
const text = get("problem-text", HTMLElement);
const retry = get("retry", HTMLButtonElement);
const smaller = get("smaller", HTMLButtonElement);
const dismiss = get("dismiss", HTMLButtonElement);

/**
 * Say what went wrong, and offer what can be done about it.
 *
 * @param {unknown} error
 * @param {{again?: () => void, less?: () => void}} [offers]
 */
export function showProblem(error, { again, less } = {}) {
  const problem = asProblem(error);
  if (problem.kind === "cancelled") return;
  if (problem.kind === "broken") console.warn(error);
  text.textContent = problem.message;
  offer(retry, problem.kind === "input" || problem.kind === "unsupported" ? undefined : again);
  offer(smaller, problem.kind === "memory" ? less : undefined);
  offer(dismiss, hideProblem);
  box.hidden = false;
  box.scrollIntoView({ block: "nearest" });
}

export function hideProblem() {
  box.hidden = true;
}

/** @param {HTMLButtonElement} button @param {(() => void) | undefined} action */
function offer(button, action) {
  button.hidden = !action;
  button.onclick = () => {
    hideProblem();
    action?.();
  };
}

/**
 * A progress bar with a clock and a button to cancel: how far something is, or how long it takes where nothing says how far.
 *
 * @param {HTMLProgressElement} bar
 * @param {HTMLButtonElement} cancel
 * @param {HTMLElement | null} clock
 * @returns {{start: () => void, at: (share: number | null) => void, stop: () => void}}
 */
export function meter(bar, cancel, clock) {
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let ticking;
  return {
    start() {
      const begin = performance.now();
      clearInterval(ticking);
      bar.removeAttribute("value");
      ticking = setInterval(() => {
        bar.hidden = cancel.hidden = false; // not for what takes a moment only
        if (clock) clock.textContent = `${((performance.now() - begin) / 1000).toFixed(1)} s`;
      }, 100);
    },
    at(share) {
      if (share === null) bar.removeAttribute("value");
      else bar.value = share;
    },
    stop() {
      clearInterval(ticking);
      bar.hidden = cancel.hidden = true;
      if (clock) clock.textContent = "";
    },
  };
}

/**
 * Hand the reader a file.
 *
 * @param {Blob} blob
 * @param {string} name
 */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
