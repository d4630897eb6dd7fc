/** Numbers as people read them. */

/**
 * @param {number} seconds
 * @returns {string} "0.42 s", "12 s", "3 min 5 s"
 */
export function seconds(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(seconds < 0.995 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 100) return `${whole} s`;
  const rest = whole % 60;
  return `${Math.floor(whole / 60)} min${rest ? ` ${rest} s` : ""}`;
}

/**
 * @param {number} bytes
 * @returns {string} "850 KB", "3.7 MB"
 */
export function bytes(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * @param {number} width
 * @param {number} height
 * @returns {string} "640 × 427 pixels"
 */
export function pixels(width, height) {
  return `${width.toLocaleString("en")} × ${height.toLocaleString("en")} pixels`;
}

/**
 * A name for the file that is saved: the photo's, and what was done to it.
 *
 * @param {string} photo
 * @param {string} what
 * @returns {string}
 */
export function fileName(photo, what) {
  const stem = photo.replace(/\.[a-z0-9]{1,5}$/i, "").replace(/[^\p{L}\p{N} ._-]+/gu, "").trim().slice(0, 60);
  return `${stem || "photo"}-${what}.png`;
}
