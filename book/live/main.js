/** The live page: checks what the browser can do, and puts the parts together. */

import { createEngine } from "./engine.js";
import { json, missing } from "./needs.js";
import { keepOffline } from "./offline.js";
import { get, showProblem } from "./page.js";
import { Problem } from "./problem.js";
import { mark, photoSources, samplePhotos } from "./source.js";
import { styleView } from "./style_view.js";
import { themeButton } from "./theme.js";
import { upscaleView } from "./upscale_view.js";

/** @type {Record<string, string>} */
const OFFLINE = {
  kept: "It is kept on this device now: it works without a network.",
  full: "There is not enough room left on this device to keep it, so it needs the network each time. Free some storage and reload the page to keep it.",
  failed: "It could not be kept for use without a network this time; it will try again at the next visit.",
  none: "This browser keeps nothing here (a private window, perhaps), so the page needs the network each time.",
};

/** @param {import("./engine.js").Engine} engine */
function offline(engine) {
  keepOffline((state, use) => {
    if (state !== "update") return (get("offline", HTMLElement).textContent = OFFLINE[state]);
    get("update", HTMLElement).hidden = false;
    get("use-update", HTMLButtonElement).onclick = () => {
      engine.cancel();
      use?.();
    };
  });
}

async function start() {
  document.documentElement.dataset.ready = "yes";
  themeButton(get("theme", HTMLButtonElement));
  const lacking = missing();
  if (lacking) {
    get("status", HTMLElement).textContent = "Nothing can be computed here.";
    return showProblem(new Problem("unsupported", lacking));
  }
  const engine = createEngine(() => new Worker(new URL("worker.js", import.meta.url), { type: "module" }));
  /** @type {Record<string, import("./types").ModelFacts>} */
  const models = await json("models/models.json");
  /** @type {import("./types").Samples} */
  const samples = await json("samples/samples.json");
  const files = Object.entries(models).map(([file, facts]) => ({ file, ...facts }));
  const style = files.find(({ kind }) => kind === "style");
  if (!style) throw new Problem("broken", "The page is incomplete: it has no network. Tell whoever runs this site.");

  let count = 0;
  const view = styleView(engine, style, samples);
  /** @param {import("./source.js").Photo} photo */
  const use = (photo) => {
    mark(-1);
    view.repaint({ ...photo, key: ++count });
  };
  upscaleView(engine, files.filter(({ kind }) => kind === "upscale"), view.photo);
  photoSources(use, (error) => showProblem(error));
  const take = samplePhotos(samples.photos, use, (error, again) => showProblem(error, { again }));
  get("status", HTMLElement).textContent = "Ready for a photo.";

  // An example is painted at once, unless the reader saves data or is quicker; the page is kept for offline use after it.
  const saving = /** @type {{connection?: {saveData?: boolean}}} */ (navigator).connection?.saveData;
  if (!saving) take(0);
  const idle = setInterval(() => {
    if (engine.busy() || (!saving && !document.querySelector("#compare:not([hidden])") && get("problem", HTMLElement).hidden)) return;
    clearInterval(idle);
    offline(engine);
  }, 500);
}

start().catch((error) => showProblem(error, { again: () => location.reload() }));
