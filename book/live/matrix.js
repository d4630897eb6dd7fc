/** Symmetric matrices in double precision: covariances, their eigenvectors, and powers. Rows lie one after the other. */

/**
 * Means of the rows, and the rows less these.
 *
 * @param {ArrayLike<number>} values
 * @param {number} rows
 * @returns {{means: Float64Array, centred: Float64Array}}
 */
export function centred(values, rows) {
  const count = values.length / rows;
  const [means, left] = [new Float64Array(rows), Float64Array.from(values)];
  for (let row = 0; row < rows; row++) {
    const part = left.subarray(row * count, (row + 1) * count);
    means[row] = part.reduce((sum, value) => sum + value, 0) / count;
    for (let at = 0; at < count; at++) part[at] -= means[row];
  }
  return { means, centred: left };
}

/**
 * X X^T / by, of rows that are centred.
 *
 * @param {Float64Array} x (rows, count)
 * @param {number} rows
 * @param {number} by
 * @returns {Float64Array<ArrayBuffer>} (rows, rows)
 */
export function covariance(x, rows, by) {
  const count = x.length / rows;
  const made = new Float64Array(rows * rows);
  for (let one = 0; one < rows; one++) {
    const from = one * count;
    // four rows at a time: each value of the one is read once for them
    for (let first = 0; first <= one; first += 4) {
      const [a, b, c, d] = [0, 1, 2, 3].map((more) => Math.min(first + more, rows - 1) * count);
      let [p, q, r, s] = [0, 0, 0, 0];
      for (let at = 0; at < count; at++) {
        const value = x[from + at];
        p += value * x[a + at];
        q += value * x[b + at];
        r += value * x[c + at];
        s += value * x[d + at];
      }
      [p, q, r, s].forEach((sum, more) => {
        const other = first + more;
        if (other <= one) made[one * rows + other] = made[other * rows + one] = sum / by;
      });
    }
  }
  return made;
}

/**
 * A B.
 *
 * @param {Float64Array} a (rows, inner)
 * @param {Float64Array} b (inner, columns)
 * @param {number} rows
 * @returns {Float64Array<ArrayBuffer>} (rows, columns)
 */
export function product(a, b, rows) {
  const inner = a.length / rows;
  const columns = b.length / inner;
  const made = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const to = made.subarray(row * columns, (row + 1) * columns);
    for (let at = 0; at < inner; at++) {
      const factor = a[row * inner + at];
      if (!factor) continue;
      const from = at * columns;
      for (let column = 0; column < columns; column++) to[column] += factor * b[from + column];
    }
  }
  return made;
}

/**
 * Eigenvalues and eigenvectors: Householder's reflections to three diagonals, then the QL algorithm with implicit shifts
 * (Martin, Reinsch and Wilkinson 1968; Bowdler et al. 1968).
 *
 * @param {Float64Array} matrix (size, size), symmetric
 * @returns {{values: Float64Array, vectors: Float64Array}} of values in no order, a vector each row
 */
export function eigen(matrix) {
  const size = Math.round(Math.sqrt(matrix.length));
  const vectors = Float64Array.from(matrix);
  const [values, side] = [new Float64Array(size), new Float64Array(size)];
  tridiagonal(vectors, values, side, size);
  diagonal(vectors, values, side, size);
  return { values, vectors };
}

/** @param {Float64Array} v whose rows are the columns of the transformation @param {Float64Array} d @param {Float64Array} e @param {number} n */
function tridiagonal(v, d, e, n) {
  for (let j = 0; j < n; j++) d[j] = v[j * n + n - 1];
  for (let i = n - 1; i > 0; i--) {
    let [scale, h] = [0, 0];
    for (let k = 0; k < i; k++) scale += Math.abs(d[k]);
    if (scale === 0) {
      e[i] = d[i - 1];
      for (let j = 0; j < i; j++) {
        d[j] = v[j * n + i - 1];
        v[j * n + i] = v[i * n + j] = 0;
      }
    } else {
      for (let k = 0; k < i; k++) {
        d[k] /= scale;
        h += d[k] * d[k];
      }
      let f = d[i - 1];
      let g = f > 0 ? -Math.sqrt(h) : Math.sqrt(h);
      e[i] = scale * g;
      h -= f * g;
      d[i - 1] = f - g;
      e.fill(0, 0, i);
      for (let j = 0; j < i; j++) {
        f = d[j];
        v[i * n + j] = f;
        const row = j * n;
        g = e[j] + v[row + j] * f;
        for (let k = j + 1; k < i; k++) {
          g += v[row + k] * d[k];
          e[k] += v[row + k] * f;
        }
        e[j] = g;
      }
      f = 0;
      for (let j = 0; j < i; j++) {
        e[j] /= h;
        f += e[j] * d[j];
      }
      const half = f / (h + h);
      for (let j = 0; j < i; j++) e[j] -= half * d[j];
      for (let j = 0; j < i; j++) {
        const row = j * n;
        [f, g] = [d[j], e[j]];
        for (let k = j; k < i; k++) v[row + k] -= f * e[k] + g * d[k];
        d[j] = v[row + i - 1];
        v[row + i] = 0;
      }
    }
    d[i] = h;
  }
  for (let i = 0; i < n - 1; i++) {
    v[i * n + n - 1] = v[i * n + i];
    v[i * n + i] = 1;
    const h = d[i + 1];
    const next = (i + 1) * n;
    if (h !== 0) {
      for (let k = 0; k <= i; k++) d[k] = v[next + k] / h;
      for (let j = 0; j <= i; j++) {
        const row = j * n;
        let g = 0;
        for (let k = 0; k <= i; k++) g += v[next + k] * v[row + k];
        for (let k = 0; k <= i; k++) v[row + k] -= g * d[k];
      }
    }
    v.fill(0, next, next + i + 1);
  }
  for (let j = 0; j < n; j++) {
    d[j] = v[j * n + n - 1];
    v[j * n + n - 1] = 0;
  }
  v[n * n - 1] = 1;
  e[0] = 0;
}

/** @param {Float64Array} v @param {Float64Array} d @param {Float64Array} e @param {number} n */
function diagonal(v, d, e, n) {
  e.copyWithin(0, 1);
  e[n - 1] = 0;
  let [f, most] = [0, 0];
  for (let l = 0; l < n; l++) {
    most = Math.max(most, Math.abs(d[l]) + Math.abs(e[l]));
    let m = l;
    while (m < n - 1 && Math.abs(e[m]) > Number.EPSILON * most) m++;
    if (m > l) {
      do {
        let g = d[l];
        let p = (d[l + 1] - g) / (2 * e[l]);
        let r = p < 0 ? -Math.hypot(p, 1) : Math.hypot(p, 1);
        d[l] = e[l] / (p + r);
        d[l + 1] = e[l] * (p + r);
        const dl1 = d[l + 1];
        let h = g - d[l];
        for (let i = l + 2; i < n; i++) d[i] -= h;
        f += h;
        p = d[m];
        let [c, c2, c3, s, s2] = [1, 1, 1, 0, 0];
        const el1 = e[l + 1];
        for (let i = m - 1; i >= l; i--) {
          [c3, c2, s2] = [c2, c, s];
          g = c * e[i];
          h = c * p;
          r = Math.sqrt(p * p + e[i] * e[i]);
          e[i + 1] = s * r;
          s = e[i] / r;
          c = p / r;
          p = c * d[i] - s * g;
          d[i + 1] = h + s * (c * g + s * d[i]);
          const [one, other] = [i * n, (i + 1) * n];
          for (let k = 0; k < n; k++) {
            const next = v[other + k];
            v[other + k] = s * v[one + k] + c * next;
            v[one + k] = c * v[one + k] - s * next;
          }
        }
        p = (-s * s2 * c3 * el1 * e[l]) / dl1;
        e[l] = s * p;
        d[l] = c * p;
      } while (Math.abs(e[l]) > Number.EPSILON * most);
    }
    d[l] += f;
    e[l] = 0;
  }
}

/**
 * The symmetric matrix whose eigenvalues are a function of this one's; what the function gives as 0 costs nothing.
 *
 * @param {Float64Array} matrix (size, size), symmetric
 * @param {(value: number, largest: number) => number} change
 * @returns {Float64Array<ArrayBuffer>} (size, size)
 */
export function changed(matrix, change) {
  const size = Math.round(Math.sqrt(matrix.length));
  const { values, vectors } = eigen(matrix);
  const largest = values.reduce((most, value) => Math.max(most, value), -Infinity);
  const made = new Float64Array(size * size);
  for (let at = 0; at < size; at++) {
    const factor = change(values[at], largest);
    if (!factor) continue;
    const vector = vectors.subarray(at * size, (at + 1) * size);
    for (let one = 0; one < size; one++) {
      const [share, row] = [factor * vector[one], one * size];
      for (let other = 0; other <= one; other++) made[row + other] += share * vector[other];
    }
  }
  for (let one = 0; one < size; one++) for (let other = 0; other < one; other++) made[other * size + one] = made[one * size + other];
  return made;
}
