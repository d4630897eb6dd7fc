/** Where photos come from: a file, a drop, the clipboard, the camera, or one of ours. */

import { takePhoto } from "./camera.js";
import { get } from "./page.js";
import { Problem } from "./problem.js";

/** @typedef {{blob: Blob, name: string, credit: string}} Photo */

/**
 * @param {(photo: Photo) => void} use
 * @param {(error: unknown) => void} complain
 */
export function photoSources(use, complain) {
  /** @param {File | null | undefined} file */
  const take = (file) => file && use({ blob: file, name: file.name || "pasted.png", credit: "" });

  const input = get("file", HTMLInputElement);
  input.addEventListener("change", () => {
    take(input.files?.[0]);
    input.value = ""; // the same file can be chosen again
  });

  const camera = get("camera", HTMLButtonElement);
  camera.addEventListener("click", async () => {
    try {
      take(await takePhoto(get("camera-dialog", HTMLDialogElement)));
    } catch (error) {
      complain(error);
    }
  });

  const overlay = get("drop", HTMLElement);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    overlay.hidden = !event.dataTransfer?.types.includes("Files");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) overlay.hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault(); // the browser would leave the page and open the file
    overlay.hidden = true;
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
    else complain(new Problem("input", "What was dropped is no file. Save the picture first, then drop or choose that."));
  });

  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (file) take(file);
    else complain(new Problem("input", "There is no picture in the clipboard. Copy one, then paste again."));
  });
  const paste = get("paste", HTMLButtonElement);
  paste.hidden = !navigator.clipboard?.read;
  paste.addEventListener("click", async () => {
    try {
      for (const item of await navigator.clipboard.read()) {
        const type = item.types.find((type) => type.startsWith("image/"));
        if (type) return use({ blob: await item.getType(type), name: "pasted.png", credit: "" });
      }
      complain(new Problem("input", "There is no picture in the clipboard. Copy one, then paste again."));
    } catch {
      complain(new Problem("input", "The clipboard was refused. Press Ctrl+V (on a Mac: ⌘V) instead, or choose a photo."));
    }
  });
}

/**
 * Our own photos, as buttons.
 *
 * @param {import("./types").SamplePhoto[]} photos
 * @param {(photo: Photo) => void} use
 * @param {(error: unknown, again: () => void) => void} complain
 * @returns {((index: number) => void)} takes one of them
 */
export function samplePhotos(photos, use, complain) {
  const place = get("samples", HTMLElement);
  /** @param {number} index */
  async function take(index) {
    const photo = photos[index];
    try {
      const response = await fetch(`samples/${photo.file}`);
      if (!response.ok) throw new Error(String(response.status));
      const credit = `${photo.title}. Photograph: ${photo.author}, ${photo.licence.replaceAll("-", " ").replace("BY SA", "BY-SA")}.`;
      use({ blob: await response.blob(), name: photo.file, credit });
      mark(index);
    } catch {
      complain(new Problem("network", `The photo “${photo.title}” could not be fetched. Check the network, then try again.`), () => take(index));
    }
  }
  place.replaceChildren(
    ...photos.map((photo, index) => {
      const image = Object.assign(new Image(200, 150), { src: `samples/${photo.thumb ?? photo.file}`, alt: photo.title });
      const button = Object.assign(document.createElement("button"), { type: "button", title: photo.title });
      button.append(image);
      button.addEventListener("click", () => take(index));
      return button;
    }),
  );
  return take;
}

/** Show which of our photos is in use. @param {number} index -1 for none of them */
export function mark(index) {
  [...get("samples", HTMLElement).children].forEach((button, at) => button.setAttribute("aria-pressed", String(at === index)));
}
