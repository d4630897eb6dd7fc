/** Two pictures over each other with a movable line between them: by pointer, touch and keyboard. */

/**
 * @param {HTMLElement} box holds `canvas.before`, `canvas.after` and `[role=slider]`
 * @param {() => [string, string]} names of what lies left and right, for who hears them
 * @returns {{show: (before: import("./types").Pixels, after: import("./types").Pixels) => void, set: (percent: number) => void}}
 */
export function divider(box, names = () => ["photo", "print"]) {
  const handle = /** @type {HTMLElement} */ (box.querySelector("[role=slider]"));
  const [before, after] = ["before", "after"].map((name) => /** @type {HTMLCanvasElement} */ (box.querySelector(`canvas.${name}`)));
  let percent = 50;

  /** @param {number} value */
  function set(value) {
    percent = Math.min(100, Math.max(0, Math.round(value)));
    box.style.setProperty("--divider", `${percent}%`);
    handle.setAttribute("aria-valuenow", String(percent));
    handle.setAttribute("aria-valuetext", `${percent} % ${names()[0]}, ${100 - percent} % ${names()[1]}`);
  }

  /** @param {PointerEvent} event */
  function follow(event) {
    const place = box.getBoundingClientRect();
    set((100 * (event.clientX - place.left)) / place.width);
  }

  box.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    box.setPointerCapture(event.pointerId);
    handle.focus({ preventScroll: true });
    follow(event);
    event.preventDefault();
  });
  box.addEventListener("pointermove", (event) => {
    if (box.hasPointerCapture(event.pointerId)) follow(event);
  });
  handle.addEventListener("keydown", (event) => {
    /** @type {Record<string, number>} */
    const steps = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    set(percent + steps[event.key]);
    event.preventDefault();
  });
  set(percent);
  return {
    set,
    show(photo, print) {
      draw(before, photo);
      draw(after, print);
      box.style.setProperty("--ratio", String(photo.width / photo.height));
    },
  };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {import("./types").Pixels} pixels
 */
export function draw(canvas, { width, height, data }) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d")?.putImageData(new ImageData(data, width, height), 0, 0);
}
