/** Headers of files, PNG read and written, fetching with its patience: node --test book/live */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { deflateSync, inflateSync } from "node:zlib";
import { fetchBytes } from "./fetching.js";
import { decodePng, encodePng } from "./png.js";
import { checkSize, sniff, undecodable } from "./sniff.js";

const ascii = (text) => [...text].map((letter) => letter.charCodeAt(0));
const bytes = (...parts) => Uint8Array.from(parts.flat());
const padded = (...parts) => bytes(...parts, new Array(40).fill(0));

test("every kind of file is known by its first bytes, with its size", () => {
  const png = bytes(137, ascii("PNG\r\n\x1a\n"), 0, 0, 0, 13, ascii("IHDR"), 0, 0, 1, 2, 0, 0, 0, 3);
  assert.deepEqual(sniff(png), { kind: "png", width: 258, height: 3 });
  const jpeg = padded(0xff, 0xd8, 0xff, 0xe1, 0, 6, 1, 2, 3, 4, 0xff, 0xff, 0xc2, 0, 17, 8, 0, 7, 1, 0);
  assert.deepEqual(sniff(jpeg), { kind: "jpeg", width: 256, height: 7 });
  assert.deepEqual(sniff(padded(ascii("GIF89a"), 5, 0, 6, 1)), { kind: "gif", width: 5, height: 262 });
  const riff = [...ascii("RIFF"), 0, 0, 0, 0, ...ascii("WEBP")];
  assert.deepEqual(sniff(padded(riff, ascii("VP8X"), 10, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 1, 1, 0)), { kind: "webp", width: 256, height: 258 });
  assert.deepEqual(sniff(padded(riff, ascii("VP8L"), 0, 0, 0, 0, 0x2f, 0x09, 0x40, 0, 0)), { kind: "webp", width: 10, height: 2 });
  assert.equal(sniff(padded(0, 0, 0, 24, ascii("ftypheic"))).kind, "heic");
  assert.equal(sniff(padded(0, 0, 0, 24, ascii("ftypmif1"), 0, 0, 0, 0, ascii("avif"))).kind, "avif");
  assert.equal(sniff(padded(0, 0, 0, 24, ascii("ftypisom"))).kind, "video");
  assert.equal(sniff(bytes(ascii("%PDF-1.7"))).kind, "pdf");
  assert.equal(sniff(bytes(ascii("<?xml version='1.0'?><svg xmlns=''>"))).kind, "svg");
  assert.equal(sniff(bytes(ascii("hello"))).kind, "unknown");
});

test("no header, however short or broken, makes the sniffer fail", () => {
  const heads = [[137, ...ascii("PNG\r\n\x1a\n")], [0xff, 0xd8, 0xff], ascii("GIF89a"), [...ascii("RIFF"), 0, 0, 0, 0, ...ascii("WEBPVP8 ")], ascii("BM")];
  let random = 1;
  for (const head of heads) {
    for (let length = 0; length < 60; length++) {
      const tail = Array.from({ length }, () => (random = (random * 48271) % 2147483647) & 255);
      assert.ok(sniff(bytes(head, tail)).kind);
    }
  }
});

test("what is too large or too narrow is refused before it is decoded", () => {
  checkSize("a.png", 10_000, 10_000);
  assert.throws(() => checkSize("a.png", 12_000, 9_000), /108 megapixels.*Shrink/s);
  assert.throws(() => checkSize("a.png", 1, 500), /at least 2/);
  assert.match(undecodable("a.heic", "heic").message, /HEIC.*JPEG/s);
  assert.match(undecodable("a.jpg", "jpeg").message, /damaged/);
});

/** A PNG by the book: each pass's lines without prediction. */
function png(width, height, depth, type, lines, extra = [], interlaced = 0) {
  const chunk = (name, body) => [...uint(body.length), ...ascii(name), ...body, 0, 0, 0, 0];
  const uint = (value) => [value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255];
  const head = chunk("IHDR", [...uint(width), ...uint(height), depth, type, 0, 0, interlaced]);
  const body = deflateSync(Uint8Array.from(lines.flatMap((line) => [0, ...line])));
  return bytes([137, ...ascii("PNG\r\n\x1a\n")], head, ...extra.map(([name, data]) => chunk(name, data)), chunk("IDAT", [...body]), chunk("IEND", []));
}

const rgba = async (file) => [...(await decodePng(file)).rgba];

test("grey, palettes, few bits and keyed transparency are read", async () => {
  assert.deepEqual(await rgba(png(3, 1, 1, 0, [[0b10100000]])), [255, 255, 255, 255, 0, 0, 0, 255, 255, 255, 255, 255]);
  assert.deepEqual(await rgba(png(2, 1, 4, 0, [[0x1f]], [["tRNS", [0, 15]]])), [17, 17, 17, 255, 255, 255, 255, 0]);
  const palette = [["PLTE", [1, 2, 3, 4, 5, 6]], ["tRNS", [9]]];
  assert.deepEqual(await rgba(png(2, 1, 2, 3, [[0b00010000]], palette)), [1, 2, 3, 9, 4, 5, 6, 255]);
  assert.deepEqual(await rgba(png(1, 1, 16, 2, [[1, 99, 2, 99, 3, 99]])), [1, 2, 3, 255]);
  assert.deepEqual(await rgba(png(1, 1, 8, 4, [[7, 8]])), [7, 7, 7, 8]);
  assert.deepEqual(await rgba(png(1, 1, 8, 6, [[1, 2, 3, 0]])), [1, 2, 3, 0]); // not premultiplied
});

test("interlaced pictures are put together", async () => {
  const [width, height] = [9, 6];
  const passes = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
  const lines = [];
  for (const [left, top, across, down] of passes) {
    for (let y = top; y < height; y += down) {
      const line = [];
      for (let x = left; x < width; x += across) line.push(10 * y + x);
      if (line.length) lines.push(line);
    }
  }
  const found = await rgba(png(width, height, 8, 0, lines, [], 1));
  for (let at = 0; at < width * height; at++) assert.equal(found[4 * at], 10 * Math.floor(at / width) + (at % width));
});

test("what is written is read again, pixel by pixel", async () => {
  const [width, height] = [57, 33];
  const data = Uint8ClampedArray.from({ length: 4 * width * height }, (_, at) => (at % 4 === 3 ? 255 : (at * at) % 256));
  const blob = await encodePng({ width, height, data });
  assert.equal(blob.type, "image/png");
  const file = new Uint8Array(await blob.arrayBuffer());
  assert.deepEqual(sniff(file), { kind: "png", width, height });
  assert.deepEqual([...(await decodePng(file)).rgba], [...data]);
  assert.equal(inflateSync(file.subarray(41, file.length - 16)).length, height * (3 * width + 1));
});

test("a file that is cut short is refused and not half read", async () => {
  const blob = await encodePng({ width: 40, height: 40, data: new Uint8ClampedArray(6400).map((_, at) => (at * 7919) % 251) });
  const file = new Uint8Array(await blob.arrayBuffer());
  for (const share of [0.05, 0.3, 0.6, 0.9]) {
    await assert.rejects(decodePng(file.slice(0, Math.round(file.length * share))));
  }
});

/** A server for one answer. */
async function served(answer, use) {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  try {
    await use(new URL(`http://127.0.0.1:${server.address().port}/models/net.onnx`));
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("a file comes whole, with its progress", async () => {
  await served(
    (_, response) => response.end(Buffer.alloc(100_000, 7)),
    async (url) => {
      const seen = [];
      const body = await fetchBytes(url, 100_000, (done, total) => seen.push([done, total]));
      assert.equal(body.length, 100_000);
      assert.ok(body.every((value) => value === 7));
      assert.deepEqual(seen.at(-1), [100_000, 100_000]);
    },
  );
});

test("a missing file, a broken connection and a silent server end in a sentence", async () => {
  const say = (url) => fetchBytes(url, 10, () => {}, 0.2);
  await served((_, response) => response.writeHead(404).end(), (url) => assert.rejects(say(url), { kind: "network", message: /net\.onnx.*404/ }));
  const half = (_, response) => {
    response.writeHead(200, { "Content-Length": 1000 });
    response.write("half", () => response.destroy());
  };
  await served(half, (url) => assert.rejects(say(url), { kind: "network", message: /connection failed/ }));
  const silent = (_, response) => response.writeHead(200, { "Content-Length": 1000 }).write("a little");
  await served(silent, (url) => assert.rejects(say(url), { kind: "network", message: /nothing has come for 0\.2 seconds/ }));
});
