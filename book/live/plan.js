/** How large a picture becomes before a network sees it: the package's rule, `pltutorial.images.resize`. */

/**
 * Python's round: halves go to the even neighbour.
 *
 * @param {number} value
 * @returns {number}
 */
export function roundHalfEven(value) {
  const floor = Math.floor(value);
  const above = value - floor;
  if (above === 0.5) return floor % 2 === 0 ? floor : floor + 1;
  return above < 0.5 ? floor : floor + 1;
}

/**
 * @param {number} width
 * @param {number} height
 * @param {number | null} size longer side in pixels; null keeps the picture as it is
 * @param {number} largest longer side that the network is given at most
 * @returns {{width: number, height: number}}
 */
export function plan(width, height, size, largest) {
  const longer = Math.max(width, height);
  const wanted = size === null ? Math.min(longer, largest) : Math.min(size, largest);
  if (wanted === longer) return { width, height };
  const scale = wanted / longer;
  return {
    width: Math.max(1, roundHalfEven(width * scale)),
    height: Math.max(1, roundHalfEven(height * scale)),
  };
}

/**
 * What a network sees of a picture for strokes of this size: the package's rule, `pltutorial.tasks.style.at_stroke`.
 *
 * @param {number} width
 * @param {number} height
 * @param {number} stroke
 * @returns {{width: number, height: number}}
 */
export function seenAt(width, height, stroke) {
  const [across, down] = [width, height].map((side) => Math.max(1, roundHalfEven(side / stroke)));
  return { width: across, height: down };
}

/**
 * How large a bitmap is read into memory as pixels: three times what a network sees is enough, and fits into a phone.
 *
 * @param {number} width
 * @param {number} height
 * @returns {{width: number, height: number}}
 */
export function readable(width, height) {
  const scale = Math.min(1, 3072 / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/**
 * Seconds after which a network that has said nothing counts as stuck: some hundred times what a laptop takes.
 *
 * @param {number} pixels of its output
 * @returns {number}
 */
export function patience(pixels) {
  return 60 + pixels * 2e-4;
}
