/** What a file is, from its first bytes and before anything is decoded. */

import { Problem } from "./problem.js";
import { pixels } from "./format.js";

export const LARGEST = 100e6; // pixels, the package's limit too: 400 MB in memory
export const HEAD = 1 << 20; // bytes that are looked at: a JPEG's size stands behind its metadata

/**
 * @param {Uint8Array} bytes the first bytes of the file
 * @returns {import("./types").Sniffed}
 */
export function sniff(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** @param {number} from @param {number} to */
  const text = (from, to) => String.fromCharCode(...bytes.subarray(from, to));
  const size = bytes.length;
  if (text(0, 8) === "\x89PNG\r\n\x1a\n") {
    return size >= 24 ? { kind: "png", width: view.getUint32(16), height: view.getUint32(20) } : { kind: "png" };
  }
  if (text(0, 3) === "\xff\xd8\xff") return { kind: "jpeg", ...jpegSize(view) };
  if (/^GIF8[79]a/.test(text(0, 6))) {
    return size >= 10 ? { kind: "gif", width: view.getUint16(6, true), height: view.getUint16(8, true) } : { kind: "gif" };
  }
  if (text(0, 4) === "RIFF" && text(8, 12) === "WEBP") return { kind: "webp", ...webpSize(view, text(12, 16)) };
  if (text(0, 2) === "BM" && size >= 26) {
    return { kind: "bmp", width: Math.abs(view.getInt32(18, true)), height: Math.abs(view.getInt32(22, true)) };
  }
  if (text(0, 4) === "II*\0" || text(0, 4) === "MM\0*") return { kind: "tiff" };
  if (text(4, 8) === "ftyp") {
    const brands = text(8, Math.min(size, 8 + 64));
    if (/avi[fs]/.test(brands)) return { kind: "avif" };
    return { kind: /hei[cxms]|hev[cx]|mif1|msf1/.test(brands) ? "heic" : "video" };
  }
  if (text(0, 4) === "\x1aE\xdf\xa3") return { kind: "video" };
  if (text(0, 5) === "%PDF-") return { kind: "pdf" };
  if (/<svg[\s>]/.test(text(0, Math.min(size, 1000)))) return { kind: "svg" };
  return { kind: "unknown" };
}

/**
 * @param {DataView} view
 * @returns {{width?: number, height?: number}}
 */
function jpegSize(view) {
  let at = 2;
  while (at + 9 < view.byteLength) {
    if (view.getUint8(at) !== 0xff) return {};
    const marker = view.getUint8(at + 1);
    if (marker === 0xff || marker === 1 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += marker === 0xff ? 1 : 2; // fill bytes, and markers without a length
      continue;
    }
    const frame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (frame) return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    if (marker === 0xda || marker === 0xd9) return {};
    at += 2 + view.getUint16(at + 2);
  }
  return {};
}

/**
 * @param {DataView} view
 * @param {string} chunk
 * @returns {{width?: number, height?: number}}
 */
function webpSize(view, chunk) {
  if (view.byteLength < 30) return {};
  if (chunk === "VP8 ") return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
  if (chunk === "VP8L") {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  if (chunk !== "VP8X") return {};
  /** @param {number} at */
  const three = (at) => view.getUint16(at, true) + (view.getUint8(at + 2) << 16) + 1;
  return { width: three(24), height: three(27) };
}

/**
 * Refuse what is too large to read.
 *
 * @param {string} name
 * @param {number} width
 * @param {number} height
 */
export function checkSize(name, width, height) {
  if (width * height > LARGEST) {
    const millions = Math.round((width * height) / 1e6);
    throw new Problem(
      "input",
      `“${name}” has ${pixels(width, height)} (${millions} megapixels), and at most ${LARGEST / 1e6} megapixels can be read. ` +
        "Shrink it in a photo program and choose it again.",
    );
  }
  if (Math.min(width, height) < 2) {
    throw new Problem("input", `“${name}” has ${pixels(width, height)}. Choose a picture with at least 2 along each side.`);
  }
}

/**
 * Why a browser could not decode a file, and what to do.
 *
 * @param {string} name
 * @param {string} kind as `sniff` says
 * @returns {Problem}
 */
export function undecodable(name, kind) {
  const convert = "Save it as JPEG or PNG and choose that.";
  /** @type {Record<string, string>} */
  const reasons = {
    heic:
      `“${name}” is a HEIC photo, which this browser cannot read. Save it as JPEG and choose that ` +
      "(iPhone: Settings, Camera, Formats, Most Compatible), or open this page in Safari.",
    avif: `“${name}” is an AVIF picture, which this browser cannot read. ${convert}`,
    tiff: `“${name}” is a TIFF picture, which this browser cannot read. ${convert}`,
    svg: `“${name}” is an SVG drawing and no photo. ${convert}`,
    pdf: `“${name}” is a PDF and no picture. Save the page you want as JPEG or PNG and choose that.`,
    video: `“${name}” is a video. This page takes single pictures; the package takes videos: pltutorial stylize clip.mp4.`,
    unknown: `“${name}” is not a picture. Choose a JPEG, PNG, WebP or GIF file.`,
  };
  return new Problem("input", reasons[kind] ?? `“${name}” is damaged or cut short. Copy or download it again, or choose another.`);
}
