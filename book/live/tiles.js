/** A picture whose pixels are moved in tiles and painted over: pure functions of planes. */

/** @typedef {import("./types").Planes} Planes */

/** Even sizes of tiles that fill a square. @param {number} side @returns {number[]} from small to large */
export function sizes(side) {
  return Array.from({ length: side / 4 }, (_, at) => 2 * (at + 1)).filter((tile) => tile >= 4 && side % tile === 0);
}

/**
 * Where each pixel of a shuffled square comes from.
 *
 * @param {number} side in pixels
 * @param {number} tile a divisor of the side
 * @param {number} seed 0 leaves everything where it is
 * @returns {Int32Array} for each pixel, row by row, its place in the square as it was
 */
export function places(side, tile, seed) {
  const count = side / tile;
  const order = Array.from({ length: count * count }, (_, at) => at);
  if (seed) {
    const uniform = draws(seed);
    for (let last = order.length - 1; last > 0; last--) {
      const other = Math.floor(uniform() * (last + 1)); // Fisher and Yates
      [order[last], order[other]] = [order[other], order[last]];
    }
  }
  return Int32Array.from({ length: side * side }, (_, at) => {
    const [x, y] = [at % side, Math.floor(at / side)];
    const from = order[Math.floor(y / tile) * count + Math.floor(x / tile)];
    return (Math.floor(from / count) * tile + (y % tile)) * side + (from % count) * tile + (x % tile);
  });
}

/** Even draws in [0, 1) that depend on the seed alone. @param {number} seed @returns {() => number} */
export function draws(seed) {
  let state = Math.imul(seed, 0x9e3779b9);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
}

/** @param {Planes} picture @param {Int32Array} from @returns {Planes} */
export function moved({ width, height, data }, from) {
  const size = width * height;
  return { width, height, data: data.map((_, at) => data[at - (at % size) + from[at % size]]) };
}

/**
 * Paint a round dab on a picture that is seen with its pixels moved.
 *
 * @param {Planes} picture as it was, which is changed
 * @param {Int32Array} from where each pixel that is seen comes from
 * @param {{x: number, y: number, radius: number, colour: number[]}} dab place and size in the picture as it is seen; colour in [0, 1]
 */
export function dab({ width, height, data }, from, { x, y, radius, colour }) {
  for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(height - 1, y + radius); row++) {
    for (let column = Math.max(0, Math.ceil(x - radius)); column <= Math.min(width - 1, x + radius); column++) {
      if ((column - x) ** 2 + (row - y) ** 2 > radius * radius) continue;
      colour.forEach((value, channel) => (data[channel * width * height + from[row * width + column]] = value));
    }
  }
}
