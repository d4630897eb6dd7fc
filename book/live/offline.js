/** Keeping the page for use without a network, by its service worker; and saying how that went. */

/**
 * @param {(state: "kept" | "full" | "failed" | "update" | "none", use?: () => void) => void} tell
 */
export async function keepOffline(tell) {
  const workers = navigator.serviceWorker; // missing in private windows of some browsers, and without https
  if (!workers) return tell("none");
  let reloading = false;
  workers.addEventListener("message", ({ data }) => {
    if (data?.live === "full" || data?.live === "failed") tell(data.live);
  });
  try {
    /** The version is part of the address, so a new one is a new worker. @type {{version: string} | null} */
    const found = await fetch("version.json", { cache: "no-store" })
      .then((response) => (response.ok ? response.json() : null))
      .catch(() => null);
    const known = await workers.getRegistration("./");
    const registration = found
      ? await workers.register(`sw.js?v=${encodeURIComponent(found.version)}`, { updateViaCache: "none" })
      : known;
    if (!registration) return tell("none");
    const watch = () => {
      const coming = registration.installing ?? registration.waiting;
      if (!coming) return tell("kept");
      const settle = () => {
        if (coming.state === "activated") tell("kept");
        if (coming.state === "redundant" && registration.active) tell("kept"); // the old version stays
        if (coming.state !== "installed" || !registration.active) return;
        tell("update", () => {
          workers.addEventListener("controllerchange", () => {
            if (!reloading) location.reload();
            reloading = true;
          });
          coming.postMessage("use");
        });
      };
      coming.addEventListener("statechange", settle);
      settle();
    };
    registration.addEventListener("updatefound", watch);
    watch();
  } catch {
    tell("failed");
  }
}
