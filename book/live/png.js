/**
 * PNG files read and written here, not by a canvas: its colour management, premultiplied alpha, and the noise that some
 * browsers add against fingerprinting would all change pixels.
 */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
/** Channels by colour type: grey, RGB, palette, grey and alpha, RGBA. @type {Record<number, number>} */
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
/** Adam7: first column, first row, step across, step down of each pass. */
const PASSES = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

/**
 * The pixels of a PNG file, not premultiplied and without any colour correction. Of 16 bits the upper 8 are kept, as the
 * package keeps them, except for grey, which comes with fractions.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<{width: number, height: number, rgba: Uint8ClampedArray | Float32Array}>} values from 0 to 255
 * @throws {Error} it is damaged
 */
export async function decodePng(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const parts = [];
  let palette = new Uint8Array();
  let clear = new Uint8Array();
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (type === "IDAT") parts.push(body);
    if (type === "PLTE") palette = body;
    if (type === "tRNS") clear = body;
    if (type === "IEND") break;
    at += 12 + length;
  }
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [depth, type, interlaced] = [bytes[24], bytes[25], bytes[28]];
  const channels = CHANNELS[type];
  if (!channels || ![1, 2, 4, 8, 16].includes(depth)) throw new Error("unknown kind of PNG");
  const raw = await through(new DecompressionStream("deflate"), parts);
  const deep = type === 0 && depth === 16; // the one kind of which the package keeps all 16 bits
  const rgba = new (deep ? Float32Array : Uint8ClampedArray)(4 * width * height);
  const colour = colours(type, depth, palette, clear);
  let from = 0;
  for (const [left, top, across, down] of interlaced ? PASSES : [[0, 0, 1, 1]]) {
    const columns = Math.ceil((width - left) / across);
    const rows = Math.ceil((height - top) / down);
    if (columns <= 0 || rows <= 0) continue;
    const stride = Math.ceil((columns * channels * depth) / 8);
    if (from + rows * (stride + 1) > raw.length) throw new Error("the picture ends early");
    unfilter(raw, from, rows, stride, Math.max(1, (channels * depth) >> 3));
    for (let row = 0; row < rows; row++) {
      const line = raw.subarray(from + row * (stride + 1) + 1, from + (row + 1) * (stride + 1));
      for (let column = 0; column < columns; column++) {
        colour(line, column, rgba, 4 * ((top + row * down) * width + left + column * across));
      }
    }
    from += rows * (stride + 1);
  }
  return { width, height, rgba };
}

/**
 * A function that writes one pixel of a line as RGBA.
 *
 * @param {number} type
 * @param {number} depth
 * @param {Uint8Array} palette
 * @param {Uint8Array} clear
 * @returns {(line: Uint8Array, column: number, rgba: Uint8ClampedArray | Float32Array, to: number) => void}
 */
function colours(type, depth, palette, clear) {
  const bytes = depth === 16 ? 2 : 1;
  const most = 2 ** Math.min(depth, 8) - 1;
  /** The value of a pixel with fewer than 8 bits, or the upper byte. @param {Uint8Array} line @param {number} at */
  const sample = (line, at) =>
    depth >= 8 ? line[at * bytes] : (line[(at * depth) >> 3] >> (8 - depth - ((at * depth) & 7))) & most;
  const key = [0, 1, 2].map((channel) => (clear.length >= 2 * channel + 2 ? clear[2 * channel + (depth === 16 ? 0 : 1)] : -1));
  return (line, column, rgba, to) => {
    if (type === 3) {
      const index = sample(line, column);
      for (let channel = 0; channel < 3; channel++) rgba[to + channel] = palette[3 * index + channel];
      rgba[to + 3] = clear[index] ?? 255;
    } else if (type === 0 || type === 4) {
      const grey = sample(line, type === 4 ? 2 * column : column);
      const whole = type === 0 && depth === 16 ? (256 * grey + line[2 * column + 1]) / 257 : (grey * 255) / most;
      rgba[to] = rgba[to + 1] = rgba[to + 2] = whole;
      rgba[to + 3] = type === 4 ? sample(line, 2 * column + 1) : grey === key[0] ? 0 : 255;
    } else {
      const channels = type === 6 ? 4 : 3;
      for (let channel = 0; channel < channels; channel++) rgba[to + channel] = sample(line, channels * column + channel);
      if (type === 2) rgba[to + 3] = key.every((value, channel) => value === rgba[to + channel]) ? 0 : 255;
    }
  };
}

/**
 * Undo the prediction of every line from its neighbours, in place (PNG specification, section 9).
 *
 * @param {Uint8Array} raw
 * @param {number} from
 * @param {number} rows
 * @param {number} stride
 * @param {number} step bytes of a pixel
 */
function unfilter(raw, from, rows, stride, step) {
  for (let row = 0; row < rows; row++) {
    const start = from + row * (stride + 1) + 1;
    const filter = raw[start - 1];
    const above = start - stride - 1;
    for (let at = 0; at < stride; at++) {
      const left = at >= step ? raw[start + at - step] : 0;
      const up = row ? raw[above + at] : 0;
      let guess = 0;
      if (filter === 1) guess = left;
      else if (filter === 2) guess = up;
      else if (filter === 3) guess = (left + up) >> 1;
      else if (filter === 4) guess = paeth(left, up, row && at >= step ? raw[above + at - step] : 0);
      raw[start + at] += guess;
    }
  }
}

/** @param {number} left @param {number} up @param {number} corner */
function paeth(left, up, corner) {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

/**
 * Opaque pixels as an RGB PNG file.
 *
 * @param {import("./types").Pixels} pixels
 * @returns {Promise<Blob>}
 */
export async function encodePng({ width, height, data }) {
  const stride = 3 * width + 1;
  /** Some lines at a time, each as its difference from the line above: small, and the page stays alive between. */
  function* lines() {
    const block = Math.max(1, Math.floor(2e6 / stride));
    for (let top = 0; top < height; top += block) {
      const rows = Math.min(block, height - top);
      const part = new Uint8Array(rows * stride);
      for (let row = 0; row < rows; row++) {
        let to = row * stride;
        let from = 4 * (top + row) * width;
        const up = top + row ? 4 * width : 0;
        part[to++] = up ? 2 : 0;
        for (let x = 0; x < width; x++, from += 4) {
          for (let channel = 0; channel < 3; channel++) {
            part[to++] = data[from + channel] - (up ? data[from + channel - up] : 0);
          }
        }
      }
      yield part;
    }
  }
  const head = new Uint8Array(13);
  const view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head.set([8, 2, 0, 0, 0], 8);
  const body = await through(new CompressionStream("deflate"), lines());
  const parts = [new Uint8Array(SIGNATURE), chunk("IHDR", head), chunk("IDAT", body), chunk("IEND", new Uint8Array())];
  return new Blob(parts, { type: "image/png" });
}

/**
 * @param {string} type
 * @param {Uint8Array} body
 * @returns {Uint8Array<ArrayBuffer>}
 */
function chunk(type, body) {
  const bytes = new Uint8Array(body.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  for (let at = 0; at < 4; at++) bytes[4 + at] = type.charCodeAt(at);
  bytes.set(body, 8);
  view.setUint32(body.length + 8, crc(bytes.subarray(4, body.length + 8)));
  return bytes;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** @param {Uint8Array} bytes */
function crc(bytes) {
  let value = 0xffffffff;
  for (let at = 0; at < bytes.length; at++) value = TABLE[(value ^ bytes[at]) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/**
 * Bytes through a (de)compressor.
 *
 * @param {CompressionStream | DecompressionStream} stream
 * @param {Iterable<Uint8Array<ArrayBuffer>>} parts
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function through(stream, parts) {
  const writer = stream.writable.getWriter();
  const write = async () => {
    for (const part of parts) await writer.write(part);
    await writer.close();
  };
  const writing = write();
  writing.catch(() => {}); // the reader below sees the same error
  const result = new Uint8Array(await new Response(stream.readable).arrayBuffer());
  await writing;
  return result;
}
