/** What went wrong, in a sentence or two for the reader: what happened and what to do. */
export class Problem extends Error {
  /**
   * @param {import("./types").ProblemKind} kind
   * @param {string} message
   */
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

const MEMORY = /out of memory|bad_alloc|allocation fail|failed to allocate|invalid array length|array buffer|memory access out of bounds/i;

/**
 * Any error as a Problem.
 *
 * @param {unknown} error
 * @returns {Problem}
 */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  if (MEMORY.test(text) || error instanceof RangeError) {
    return new Problem("memory", "This device ran out of memory. Choose a smaller size, or close other pages, and try again.");
  }
  return new Problem("broken", `Something failed that should not have (${text}). Try again; if it fails again, reload the page.`);
}
