/** Files of the page's own folder, with progress, and never waiting for ever. */

import { Problem } from "./problem.js";

export const STALL = 30; // seconds without a byte after which the network counts as lost

/**
 * @param {URL} url
 * @param {number} total bytes that will come (a compressed transfer does not say)
 * @param {(done: number, total: number) => void} progress
 * @param {number} stall seconds
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function fetchBytes(url, total, progress, stall = STALL) {
  const name = url.pathname.split("/").pop();
  const abort = new AbortController();
  let timer = setTimeout(() => abort.abort(), stall * 1000);
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => abort.abort(), stall * 1000);
  };
  try {
    const response = await fetch(url, { signal: abort.signal });
    if (!response.ok) {
      throw new Problem("network", `The server does not give “${name}” (status ${response.status}). Try again later.`);
    }
    /** @type {Uint8Array<ArrayBuffer>[]} */
    const parts = [];
    let done = 0;
    const reader = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ (response.body).getReader();
    for (let step = await reader.read(); !step.done; step = await reader.read()) {
      alive();
      parts.push(step.value);
      done += step.value.length;
      progress(done, Math.max(done, total));
    }
    const bytes = new Uint8Array(done);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  } catch (error) {
    if (error instanceof Problem || error instanceof RangeError) throw error;
    const why = abort.signal.aborted ? `nothing has come for ${stall} seconds` : "the connection failed";
    throw new Problem("network", `“${name}” could not be fetched: ${why}. Check the network, then try again.`);
  } finally {
    clearTimeout(timer);
  }
}
