/** Pictures of the same thing side by side that zoom and move together: pointer, wheel, pinch and keys. */

/**
 * @typedef {{x: number, y: number, zoom: number}} View the point of the picture in the middle, in [0, 1]; 1 shows all of it
 */

/**
 * A view that shows nothing beyond the picture's edges and keeps within sensible bounds.
 *
 * @param {View} view
 * @param {number} most zoom
 * @returns {View}
 */
export function bounded({ x, y, zoom }, most) {
  zoom = Math.min(most, Math.max(1, zoom));
  const half = 0.5 / zoom;
  return { x: Math.min(1 - half, Math.max(half, x)), y: Math.min(1 - half, Math.max(half, y)), zoom };
}

/**
 * The same view nearer or farther, with one point staying where it is on the screen.
 *
 * @param {View} view
 * @param {number} times
 * @param {number} u where the point is on the screen, from the middle, in shares of the width
 * @param {number} v and of the height
 * @returns {View}
 */
export function zoomed(view, times, u, v) {
  const zoom = view.zoom * times;
  return { x: view.x + u / view.zoom - u / zoom, y: view.y + v / view.zoom - v / zoom, zoom };
}

/**
 * @param {HTMLCanvasElement[]} canvases
 * @param {(zoom: number) => void} tell
 * @returns {{show: (pictures: HTMLCanvasElement[]) => void, by: (times: number) => void, reset: () => void}}
 */
export function linkedZoom(canvases, tell) {
  /** @type {View} */
  let view = { x: 0.5, y: 0.5, zoom: 1 };
  /** @type {HTMLCanvasElement[]} */
  let pictures = [];
  let most = 8;
  let waiting = false;

  function paint() {
    waiting = false;
    const ratio = Math.min(2, devicePixelRatio || 1);
    canvases.forEach((canvas, index) => {
      const picture = pictures[index];
      if (!picture) return;
      const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
      const height = Math.max(1, Math.round((width * picture.height) / picture.width));
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const context = canvas.getContext("2d");
      if (!context) return;
      const [w, h] = [picture.width / view.zoom, picture.height / view.zoom];
      canvas.style.touchAction = view.zoom > 1 ? "none" : "pan-y"; // one finger scrolls the page until there is something to move
      context.imageSmoothingEnabled = w > width / 3; // from three screen pixels a pixel on, show the pixels
      context.imageSmoothingQuality = "high";
      context.drawImage(picture, view.x * picture.width - w / 2, view.y * picture.height - h / 2, w, h, 0, 0, width, height);
    });
    tell(view.zoom);
  }

  /** @param {View} next */
  function move(next) {
    view = bounded(next, most);
    if (!waiting) requestAnimationFrame(paint);
    waiting = true;
  }

  for (const canvas of canvases) {
    /** @type {Map<number, {x: number, y: number}>} */
    const fingers = new Map();
    /** @param {{clientX: number, clientY: number}} event */
    const at = ({ clientX, clientY }) => {
      const { left, top, width, height } = canvas.getBoundingClientRect();
      return { x: (clientX - left) / width - 0.5, y: (clientY - top) / height - 0.5 };
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, at(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = at(event);
      fingers.set(event.pointerId, now);
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      if (!other) return move({ ...view, x: view.x - (now.x - before.x) / view.zoom, y: view.y - (now.y - before.y) / view.zoom });
      const times = Math.hypot(now.x - other.x, now.y - other.y) / Math.max(0.01, Math.hypot(before.x - other.x, before.y - other.y));
      move(zoomed(view, times, (now.x + other.x) / 2, (now.y + other.y) / 2));
    });
    for (const type of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(type, (event) => fingers.delete(/** @type {PointerEvent} */ (event).pointerId));
    }
    canvas.addEventListener(
      "wheel",
      (event) => {
        const times = Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002));
        if (times < 1 && view.zoom === 1) return; // nothing left to zoom out of: the page scrolls
        event.preventDefault();
        const { x, y } = at(event);
        move(zoomed(view, times, x, y));
      },
      { passive: false },
    );
    canvas.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const step = 0.1 / view.zoom;
      /** @type {Record<string, () => View>} */
      const keys = {
        "+": () => zoomed(view, 1.4, 0, 0),
        "=": () => zoomed(view, 1.4, 0, 0),
        "-": () => zoomed(view, 1 / 1.4, 0, 0),
        0: () => ({ x: 0.5, y: 0.5, zoom: 1 }),
        ArrowLeft: () => ({ ...view, x: view.x - step }),
        ArrowRight: () => ({ ...view, x: view.x + step }),
        ArrowUp: () => ({ ...view, y: view.y - step }),
        ArrowDown: () => ({ ...view, y: view.y + step }),
      };
      if (!(event.key in keys)) return;
      event.preventDefault();
      move(keys[event.key]());
    });
  }
  new ResizeObserver(() => move(view)).observe(canvases[0]);

  return {
    by: (times) => move(zoomed(view, times, 0, 0)),
    reset: () => move({ x: 0.5, y: 0.5, zoom: 1 }),
    show(given) {
      pictures = given;
      most = Math.max(4, Math.max(given[0].width, given[0].height) / 48);
      for (const canvas of canvases) canvas.style.aspectRatio = String(given[0].width / given[0].height);
      move({ x: 0.5, y: 0.5, zoom: 1 });
    },
  };
}
