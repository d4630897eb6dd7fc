/** A file as pixels, in the worker: sniffed first, PNG by our own reader, everything else by the browser's. */

import { toPlanes } from "./blend.js";
import { readable } from "./plan.js";
import { decodePng } from "./png.js";
import { HEAD, checkSize, sniff, undecodable } from "./sniff.js";
import { Problem } from "./problem.js";

const OWN_PNG = 8.4e6; // pixels up to which our reader is used; larger ones are shrunk anyway

/**
 * @param {Blob} blob
 * @param {string} name how sentences call it
 * @returns {Promise<import("./types").Planes & {original: {width: number, height: number}}>} upright, over white
 */
export async function decode(blob, name) {
  if (blob.size === 0) {
    throw new Problem("input", `“${name}” is an empty file (0 bytes). Copy or download it again, or choose another.`);
  }
  let head;
  try {
    head = new Uint8Array(await blob.slice(0, HEAD).arrayBuffer());
  } catch {
    throw new Problem("input", `“${name}” can no longer be read: it was moved, changed or deleted. Choose it again.`);
  }
  const { kind, width, height } = sniff(head);
  if (width !== undefined && height !== undefined) checkSize(name, width, height);
  if (["pdf", "video", "unknown"].includes(kind)) throw undecodable(name, kind);
  if (kind === "png" && width && height && width * height <= OWN_PNG) {
    try {
      const { rgba } = await decodePng(new Uint8Array(await blob.arrayBuffer()));
      return { ...toPlanes(rgba, width, height), original: { width, height } };
    } catch (error) {
      if (error instanceof RangeError) throw error; // memory
      throw undecodable(name, kind);
    }
  }
  const bitmap = await opened(blob).catch(() => {
    throw undecodable(name, kind);
  });
  try {
    checkSize(name, bitmap.width, bitmap.height);
    const size = readable(bitmap.width, bitmap.height);
    const context = new OffscreenCanvas(size.width, size.height).getContext("2d", { willReadFrequently: true });
    if (!context) throw new Problem("memory", "This device has no memory left for the photo. Close other pages, or choose a smaller photo.");
    context.fillStyle = "#fff"; // transparency over white, as in the package
    context.fillRect(0, 0, size.width, size.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, size.width, size.height);
    const pixels = context.getImageData(0, 0, size.width, size.height).data;
    return { ...toPlanes(pixels, size.width, size.height), original: { width: bitmap.width, height: bitmap.height } };
  } finally {
    bitmap.close();
  }
}

/**
 * The browser's decoder, without colour correction; EXIF's orientation is honoured.
 *
 * @param {Blob} blob
 * @returns {Promise<ImageBitmap>}
 */
async function opened(blob) {
  try {
    return await createImageBitmap(blob, {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
      imageOrientation: "from-image",
    });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return createImageBitmap(blob); // a browser that does not know these options
  }
}
