/** Enlarging four times: both networks and plain interpolation side by side, under one zoom. */

import { divider, draw } from "./divider.js";
import { bytes, fileName, pixels, seconds } from "./format.js";
import { get, hideProblem, meter, save, showProblem } from "./page.js";
import { encodePng } from "./png.js";
import { asProblem, Problem } from "./problem.js";
import { linkedZoom } from "./zoom.js";

const COMPARED = 1024; // longer side of the two pictures under the divider, which are shown whole
const LARGEST = 1024; // longer side of what is enlarged: 4096 pixels then, as much as a phone's canvas holds

/**
 * @param {import("./engine.js").Engine} engine
 * @param {(import("./types").ModelFile & import("./types").ModelFacts)[]} models
 * @param {() => import("./style_view.js").Current | null} current
 */
export function upscaleView(engine, models, current) {
  const size = get("enlarge-size", HTMLSelectElement);
  const [start, cancel] = ["enlarge", "enlarge-cancel"].map((id) => get(id, HTMLButtonElement));
  const status = get("enlarge-status", HTMLElement);
  const bar = meter(get("enlarge-progress", HTMLProgressElement), cancel, null);
  const canvases = [...get("panes", HTMLElement).querySelectorAll("canvas")];
  const zoom = linkedZoom(canvases, (zoom) => (get("zoom-value", HTMLOutputElement).value = `${Math.round(100 * zoom)} %`));
  const pair = get("pair", HTMLElement);
  const sides = ["pair-left", "pair-right"].map((id) => get(id, HTMLSelectElement));
  const nameOf = (/** @type {HTMLSelectElement} */ side) => side.selectedOptions[0].text;
  divider(pair, () => [nameOf(sides[0]), nameOf(sides[1])]);
  /** @type {Record<string, HTMLCanvasElement>} */
  const drawn = {};
  /** @type {{pictures: Record<string, import("./types").Pixels>, name: string} | null} */
  let result = null;

  status.textContent = `The networks (${bytes(models.reduce((sum, model) => sum + model.bytes, 0))}) are fetched when you ask for them.`;

  async function run() {
    const photo = current();
    if (!photo) return showProblem(new Problem("input", "There is no photo yet. Choose one above, then enlarge it."));
    const { blob, name, key } = photo;
    hideProblem();
    bar.start();
    start.disabled = true;
    try {
      const outcome = await engine.run(
        {
          type: "upscale",
          blob,
          name,
          key,
          models: models.map(({ file, bytes, loss, reach }) => ({ file, bytes, loss: loss ?? file, reach: reach ?? 24 })),
          factor: models[0].factor ?? 4,
          size: size.value ? Number(size.value) : null,
          largest: LARGEST,
          tile: Math.min(...models.map(({ largest }) => largest)),
        },
        ({ stage, done, total, what }) => {
          const texts = { download: `Fetching ${what} (${bytes(total)}) …`, decode: "Reading the photo …", compute: `Enlarging (${what} loss) …` };
          if (status.textContent !== texts[stage]) status.textContent = texts[stage];
          bar.at(total ? done / total : null);
        },
      );
      if (!outcome.enlarged || !outcome.before) return;
      show(outcome.enlarged, name);
      const [from, to] = [outcome.before, outcome.enlarged.bicubic];
      status.textContent = `Enlarged in ${seconds(outcome.seconds)}: from ${pixels(from.width, from.height)} to ${pixels(to.width, to.height)}.`;
    } catch (error) {
      status.textContent = asProblem(error).kind === "cancelled" ? "Stopped." : "There is no enlargement: see the message above.";
      showProblem(error, { again: run, less: () => ((size.value = "256"), run()) });
    } finally {
      bar.stop();
      start.disabled = false;
    }
  }

  /** @param {Record<string, import("./types").Pixels>} pictures @param {string} name */
  function show(pictures, name) {
    result = { pictures, name };
    get("zoom", HTMLElement).hidden = false;
    zoom.show(
      canvases.map((canvas) => {
        const picture = document.createElement("canvas");
        draw(picture, pictures[canvas.dataset.loss ?? ""]);
        drawn[canvas.dataset.loss ?? ""] = picture;
        return picture;
      }),
    );
    compare();
  }

  /** Two of them under the divider. */
  function compare() {
    pair.querySelectorAll("canvas").forEach((canvas, at) => {
      const picture = drawn[sides[at].value];
      if (!picture) return;
      const { width, height } = picture;
      const scale = Math.min(1, COMPARED / Math.max(width, height));
      Object.assign(canvas, { width: Math.round(scale * width), height: Math.round(scale * height) });
      canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
      canvas.setAttribute("aria-label", nameOf(sides[at]));
      pair.querySelectorAll(".tag")[at].textContent = nameOf(sides[at]);
      pair.style.setProperty("--ratio", String(width / height));
    });
  }

  get("enlarge-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  for (const side of sides) side.addEventListener("change", compare);
  cancel.addEventListener("click", () => engine.cancel());
  get("zoom-in", HTMLButtonElement).addEventListener("click", () => zoom.by(1.4));
  get("zoom-out", HTMLButtonElement).addEventListener("click", () => zoom.by(1 / 1.4));
  get("zoom-all", HTMLButtonElement).addEventListener("click", () => zoom.reset());
  for (const button of get("panes", HTMLElement).querySelectorAll("button")) {
    button.addEventListener("click", async () => {
      const loss = button.dataset.save ?? "";
      if (result) save(await encodePng(result.pictures[loss]), fileName(result.name, `x4-${loss}`));
    });
  }
}
