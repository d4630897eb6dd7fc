/** A photo from the camera, in a dialog; the stream ends with the dialog. */

import { Problem } from "./problem.js";

/** Why there is no picture from the camera, by the name of the browser's error. @type {Record<string, string>} */
const REASONS = {
  NotAllowedError:
    "The camera was refused. Allow it beside the address of this page (or in the system's settings), or choose a photo instead.",
  NotFoundError: "No camera was found. Connect one, or choose a photo instead.",
  OverconstrainedError: "No camera was found that fits. Choose a photo instead.",
  NotReadableError: "The camera is in use by another program. Close that, or choose a photo instead.",
  SecurityError: "This page may not use the camera here. Choose a photo instead.",
};

/**
 * @param {unknown} error
 * @returns {Problem}
 */
export function cameraProblem(error) {
  const name = error instanceof Error ? error.name : "";
  return new Problem("input", REASONS[name] ?? "The camera does not work here. Choose a photo instead.");
}

/**
 * @param {HTMLDialogElement} dialog holds a `video` and the buttons `.shoot`, `.turn` and `.close`
 * @returns {Promise<File | null>} null if the reader closes the dialog
 */
export async function takePhoto(dialog) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Problem("input", "The camera can only be used over https or on this very machine (localhost). Choose a photo instead.");
  }
  const video = /** @type {HTMLVideoElement} */ (dialog.querySelector("video"));
  /** @param {string} name */
  const button = (name) => /** @type {HTMLButtonElement} */ (dialog.querySelector(`.${name}`));
  let facing = "environment";
  /** @type {MediaStream | null} */
  let stream = null;
  const end = () => stream?.getTracks().forEach((track) => track.stop());
  const begin = async () => {
    end();
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: facing, width: { ideal: 1920 }, height: { ideal: 1440 } },
    });
    if (!dialog.open) dialog.showModal();
    video.classList.toggle("mirrored", stream.getVideoTracks()[0]?.getSettings().facingMode === "user");
    video.srcObject = stream;
    await video.play();
  };
  try {
    await begin();
    return await new Promise((resolve, reject) => {
      button("turn").onclick = () => {
        facing = facing === "user" ? "environment" : "user";
        begin().catch(reject);
      };
      button("close").onclick = () => dialog.close();
      dialog.onclose = () => resolve(null);
      button("shoot").onclick = () => {
        if (!video.videoWidth) return; // nothing has come yet
        const canvas = document.createElement("canvas");
        Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
        canvas.getContext("2d")?.drawImage(video, 0, 0);
        canvas.toBlob((blob) => resolve(blob && new File([blob], "camera.png", { type: blob.type })), "image/png");
      };
    });
  } catch (error) {
    throw cameraProblem(error);
  } finally {
    end();
    video.srcObject = null;
    dialog.onclose = null;
    if (dialog.open) dialog.close();
  }
}
