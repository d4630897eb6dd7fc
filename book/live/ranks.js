/** Orders compared with orders. Pure functions. */

/**
 * Spearman's rank correlation of two orders of the same things.
 *
 * @param {string[]} one from the best to the worst
 * @param {string[]} other
 * @returns {number} 1 for the same order, -1 for the opposite
 */
export function rankCorrelation(one, other) {
  const count = one.length;
  const squares = one.reduce((sum, name, at) => sum + (at - other.indexOf(name)) ** 2, 0);
  return 1 - (6 * squares) / (count * (count * count - 1));
}

/** How many of all orders of so many things have a sum of squared differences of ranks. @type {Map<number, Map<number, number>>} */
const counted = new Map();

/**
 * The share of all orders that agree with a given one at least as well: what an eye that saw nothing would reach.
 *
 * @param {number} correlation
 * @param {number} count of things, at most 8: every order is counted
 * @returns {number}
 */
export function byChance(correlation, count) {
  let sums = counted.get(count);
  if (!sums) {
    sums = new Map();
    // orders of the places that are taken already, a bit each: sums of squares, and how many
    /** @type {Map<number, number>[]} */
    const partly = Array.from({ length: 1 << count }, () => new Map());
    partly[0].set(0, 1);
    for (let taken = 0; taken < partly.length; taken++) {
      const place = taken.toString(2).replaceAll("0", "").length;
      for (let next = 0; next < count; next++) {
        if (taken & (1 << next)) continue;
        const further = partly[taken | (1 << next)];
        for (const [sum, many] of partly[taken]) {
          const grown = sum + (place - next) ** 2;
          further.set(grown, (further.get(grown) ?? 0) + many);
        }
      }
    }
    for (const [sum, many] of partly[partly.length - 1]) sums.set(sum, many);
    counted.set(count, sums);
  }
  const most = ((1 - correlation) * count * (count * count - 1)) / 6 + 1e-6;
  let [near, all] = [0, 0];
  for (const [sum, many] of sums) {
    all += many;
    if (sum <= most) near += many;
  }
  return near / all;
}
