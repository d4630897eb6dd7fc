/** Light, dark or automatic: the same keys, and the same order of the button, as the rest of the site. */

const MODES = ["auto", "light", "dark"];
const TITLES = { auto: "as the system", light: "light", dark: "dark" };
const dark = matchMedia("(prefers-color-scheme: dark)");

/** @param {string} mode */
function apply(mode) {
  const root = document.documentElement;
  root.dataset.mode = mode;
  root.dataset.theme = mode === "auto" ? (dark.matches ? "dark" : "light") : mode;
}

/** @param {HTMLButtonElement} button */
export function themeButton(button) {
  const label = () => {
    const mode = /** @type {keyof typeof TITLES} */ (document.documentElement.dataset.mode);
    button.setAttribute("aria-label", `Colours: ${TITLES[mode]}; change`);
    button.title = `Colours: ${TITLES[mode]}`;
  };
  button.addEventListener("click", () => {
    const mode = MODES[(MODES.indexOf(document.documentElement.dataset.mode ?? "auto") + 1) % MODES.length];
    apply(mode);
    try {
      localStorage.setItem("mode", mode);
      localStorage.setItem("theme", document.documentElement.dataset.theme ?? "light");
    } catch {
      // storage is switched off: the choice holds until the page is left
    }
    label();
  });
  dark.addEventListener("change", () => apply(document.documentElement.dataset.mode ?? "auto"));
  followOthers(label);
  label();
}

/** Another page of the site, or the one around this one, was given other colours. @param {() => void} [told] */
export function followOthers(told) {
  addEventListener("storage", ({ key, newValue }) => {
    if (key !== "mode") return;
    apply(newValue === "light" || newValue === "dark" ? newValue : "auto");
    told?.();
  });
}
