// Every page: copy the link to what is read, print in light colours. Front page: play the strip once, from noise to picture.
"use strict";

// Paper is white: while the page is printed it is light, whatever the screen shows.
let shown = "";
matchMedia("print").addEventListener("change", ({matches}) => {
  const page = document.documentElement.dataset;
  if (matches) shown = page.theme;
  page.theme = matches ? "light" : shown;
});

// A table, of numbers or of pictures, that scrolls within itself can be reached, and then scrolled, by keyboard.
const reach = () => document.querySelectorAll(".bd-article table, .panels.table").forEach((table) => {
  if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
  else table.removeAttribute("tabindex");
});
reach();
addEventListener("resize", reach);

// The reader's own JupyterLab is offered where the page itself is served from the reader's machine, and a dead link elsewhere.
if (!["", "localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) {
  document.querySelectorAll('a[href^="http://localhost"]').forEach((link) => (link.closest("li") ?? link).remove());
}

/** A picture that is stored larger than it is shown opens at its full size, by a click, Enter or Space. */
const enlarge = (image) => {
  const dialog = document.createElement("dialog");
  dialog.className = "enlarged";
  dialog.setAttribute("aria-label", image.alt);
  const full = new Image();
  full.src = image.src;
  full.alt = image.alt;
  dialog.append(full);
  dialog.onclick = () => dialog.close();
  dialog.onclose = () => {
    dialog.remove();
    image.focus();
  };
  document.body.append(dialog);
  dialog.showModal();
};
document.querySelectorAll(".panels img").forEach((image) => {
  if (Number(image.getAttribute("width")) <= 1.3 * parseFloat(image.style.maxWidth)) return;
  image.tabIndex = 0;
  image.setAttribute("role", "button");
  image.title = "show at full size";
  image.onclick = () => enlarge(image);
  image.onkeydown = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    enlarge(image);
  };
});

/**
 * Figures whose cell is tagged `divider`: above the panels two of them lie over each other, with a line to drag between.
 * At first what was given is on the left, and on the right the picture half way through the panels.
 */
const divide = (panels, {divider}) => {
  const images = [...panels.querySelectorAll("img.panel")];
  const box = document.createElement("figure");
  box.className = "divide d-print-none";
  box.classList.toggle("exact", panels.classList.contains("exact"));
  box.innerHTML = `<div class="compare"><canvas class="before"></canvas><canvas class="after"></canvas>
    <div class="handle" role="slider" tabindex="0" aria-label="Divider between two pictures" aria-orientation="horizontal" aria-valuemin="0" aria-valuemax="100"></div></div>
    <p><label>Left <select></select></label> <label>right <select></select></label></p>`;
  const [left, right] = box.querySelectorAll("select");
  [left, right].forEach((menu) => menu.append(...images.map((image) => new Option(image.alt))));
  const view = divider(box.querySelector(".compare"), () => [left.value, right.value]);
  const pixels = (image) => {
    const canvas = Object.assign(document.createElement("canvas"), {width: image.naturalWidth, height: image.naturalHeight});
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  };
  const show = () => {
    view.show(pixels(images[left.selectedIndex]), pixels(images[right.selectedIndex]));
    view.set(Number(box.querySelector("[role=slider]").getAttribute("aria-valuenow")));
  };
  right.selectedIndex = images.length / 2;
  left.onchange = right.onchange = show;
  panels.before(box);
  return Promise.all(images.map((image) => image.decode())).then(show);
};
const divided = document.querySelectorAll(".tag_divider .panels");
if (divided.length) {
  import(new URL("../live/divider.js", document.currentScript.src)).then(
    (module) => divided.forEach((panels) => divide(panels, module)),
    () => {}, // a site that was built without the live page has no dividers
  );
}

/** Copy the address of the page and of the section in view, and say so. */
window.copyLink = async () => {
  const above = [...document.querySelectorAll("article section[id]")].filter(
    (section) => section.getBoundingClientRect().top < innerHeight / 3,
  );
  const address = new URL(location.href);
  const section = above.pop();
  address.hash = section && scrollY > 0 ? section.id : "";
  const text = address.href.replace(/#$/, "");
  let note = document.querySelector(".copied");
  if (!note) {
    note = document.createElement("p");
    note.className = "copied d-print-none";
    note.setAttribute("role", "status");
    document.body.append(note);
  }
  try {
    await navigator.clipboard.writeText(text);
    note.textContent = "The link is copied.";
  } catch {
    note.textContent = `The browser does not let this page copy; the link is ${text}`;
  }
  setTimeout(() => { note.textContent = ""; }, 4000);
};

/** Move the strip's slider by itself, until its end or until a hand takes it. */
const play = (strip) => {
  const range = strip.querySelector("input");
  const last = Number(range.max);
  let timer = 0;
  const button = document.createElement("button");
  button.type = "button";
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = "play";
  };
  const start = () => {
    if (Number(range.value) === last) range.value = "-1"; // the slider's own least value: its first frame
    else range.value = String(Number(range.value) + 1);
    range.dispatchEvent(new Event("input"));
    button.textContent = "pause";
    timer = setInterval(() => {
      range.value = String(Number(range.value) + 1);
      range.dispatchEvent(new Event("input"));
      if (Number(range.value) === last) stop();
    }, 700);
  };
  button.onclick = () => (timer ? stop() : start());
  range.addEventListener("pointerdown", stop);
  range.addEventListener("keydown", stop);
  strip.querySelector("button").before(button);
  stop();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) start();
};

document.querySelectorAll(".strip").forEach(play);

// The labs are pages of their own in a frame: as high as what they hold, so that nothing scrolls within the page.
document.querySelectorAll("iframe.lab-frame").forEach((frame) => {
  const fit = () => {
    const page = frame.contentDocument?.documentElement;
    const main = page?.querySelector("main");
    if (!main) return;
    const follow = () => { frame.style.height = `${Math.ceil(main.getBoundingClientRect().bottom) + 8}px`; };
    new frame.contentWindow.ResizeObserver(follow).observe(main);
    follow();
  };
  frame.addEventListener("load", fit);
  if (frame.contentDocument?.readyState === "complete") fit();
});
