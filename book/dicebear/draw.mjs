// Faces of DiceBear's toon-head: `node draw.mjs < REQUESTS > PIXELS`.
// REQUESTS is a JSON list of options; for each, 48 x 48 x 3 bytes of RGB go to standard
// output and one line of JSON with what was drawn to standard error.
import { readFileSync, writeSync } from "node:fs";
import { createAvatar } from "@dicebear/core";
import * as toonHead from "@dicebear/toon-head";
import { Resvg } from "@resvg/resvg-js";

const SIZE = 48;
const FINER = 4; // each pixel is the mean of 4 x 4 that are antialiased themselves
const LARGE = SIZE * FINER;

function shrink(pixels) {
  const small = Buffer.alloc(SIZE * SIZE * 3);
  for (let y = 0; y < SIZE; y++) {
    for (let x = 0; x < SIZE; x++) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let dy = 0; dy < FINER; dy++) {
          for (let dx = 0; dx < FINER; dx++) {
            sum += pixels[4 * ((y * FINER + dy) * LARGE + x * FINER + dx) + channel];
          }
        }
        small[3 * (y * SIZE + x) + channel] = Math.round(sum / FINER ** 2);
      }
    }
  }
  return small;
}

function write(file, data) {
  for (let done = 0; done < data.length; ) {
    try {
      done += writeSync(file, data, done);
    } catch (problem) {
      if (problem.code !== "EAGAIN") throw problem; // the pipe is full
    }
  }
}

for (const options of JSON.parse(readFileSync(0, "utf8"))) {
  const { svg, extra } = createAvatar(toonHead, options).toJson();
  const fitTo = { mode: "width", value: LARGE };
  const picture = new Resvg(svg, { fitTo, background: "white" }).render();
  write(1, shrink(picture.pixels));
  write(2, Buffer.from(JSON.stringify(extra) + "\n"));
}
