/** What a page needs before it can compute: a browser that can, and its lists. */

import { Problem } from "./problem.js";

/** What a browser must have, by the words of the sentence that says so. @returns {string} "" if it has all */
export function missing() {
  if (typeof WebAssembly === "undefined") {
    return "WebAssembly is switched off in this browser, and the networks need it. Allow it for this page, or use another browser.";
  }
  if (typeof Worker === "undefined") {
    return "Workers are switched off in this browser, and the networks run in one. Allow them for this page, or use another browser.";
  }
  if (typeof OffscreenCanvas === "undefined" || typeof DecompressionStream === "undefined") {
    return "This browser is too old for this page. Use Chrome 91, Firefox 114, Safari 16.4, or newer.";
  }
  return "";
}

/**
 * @param {string} file
 * @returns {Promise<any>}
 */
export async function json(file) {
  try {
    const response = await fetch(file);
    if (!response.ok) throw new Error(String(response.status));
    return await response.json();
  } catch {
    throw new Problem("network", `“${file}” could not be fetched, and the page needs it. Check the network, then try again.`);
  }
}
