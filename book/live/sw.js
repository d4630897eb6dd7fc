/**
 * The live page without a network: everything below live/ that version.json lists is kept, whole or not at all,
 * but what it lists as `later`, which is kept once it was used.
 * Each version has a cache of its own, so a page never mixes two; nothing outside this site is ever asked.
 */

const scope = /** @type {import("./types").ServiceWorkerScope} */ (/** @type {unknown} */ (self));
const version = new URL(location.href).searchParams.get("v") ?? "";
const base = new URL("./", location.href).href;
const prefix = `pltutorial ${base} `;
const cacheName = prefix + version;
/** What lets the browser use several threads; a host of static files rarely sends it. */
const ISOLATION = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

/** @typedef {{version: string, files: {path: string, bytes: number, later?: boolean}[]}} List */

/** @returns {Promise<List>} */
async function listed() {
  const list = await fetch(new URL("version.json", base), { cache: "no-store" }).then((response) => response.json());
  if (list.version === version) return list;
  await caches.delete(cacheName);
  throw new Error("another version has just been published");
}

async function install() {
  try {
    const list = await listed();
    const cache = await caches.open(cacheName);
    for (const { path, bytes, later } of list.files) {
      if (later) continue;
      const file = new URL(path, base).href;
      if (await cache.match(file)) continue; // from an attempt that was cut short
      // Asked again: the browser's own cache may hold another version, and for unchanged files the answer is short.
      const response = await fetch(file, { cache: "no-cache" });
      const body = await response.blob();
      if (!response.ok || body.size !== bytes) throw new Error(`${path}: status ${response.status}, ${body.size} bytes`);
      await cache.put(file, new Response(body, { headers: { "Content-Type": response.headers.get("Content-Type") ?? "" } }));
    }
    await listed(); // published anew meanwhile: then begin anew
  } catch (error) {
    const full = error instanceof DOMException && error.name === "QuotaExceededError";
    if (full) await caches.delete(cacheName); // give the room back
    for (const client of await scope.clients.matchAll({ includeUncontrolled: true })) {
      if (client.url.startsWith(base)) client.postMessage({ live: full ? "full" : "failed" });
    }
    throw error;
  }
}

async function activate() {
  for (const old of await caches.keys()) {
    if (old.startsWith(prefix) && old !== cacheName) await caches.delete(old);
  }
  await scope.clients.claim();
}

/**
 * What is kept once it was used: networks and pictures that not every reader needs, of this very version.
 *
 * @param {Request} request
 * @param {string} file
 * @returns {Promise<Response>}
 */
async function used(request, file) {
  const response = await fetch(request);
  const copy = response.clone();
  fetch(new URL("version.json", base), { cache: "no-store" })
    .then((found) => found.json())
    .then(async (/** @type {List} */ list) => {
      const known = list.files.find(({ path }) => new URL(path, base).href === file);
      const body = await copy.blob();
      if (list.version !== version || known?.bytes !== body.size) return;
      const cache = await caches.open(cacheName);
      await cache.put(file, new Response(body));
    })
    .catch(() => {}); // then it is fetched the next time too
  return response;
}

/**
 * @param {Request} request
 * @returns {Promise<Response>}
 */
async function answer(request) {
  const url = new URL(request.url);
  if (url.origin !== location.origin) return Response.error(); // nothing leaves this site
  if (url.pathname.endsWith("/live/version.json") && url.href.startsWith(base)) return fetch(request);
  url.search = url.hash = "";
  if (url.href === base) url.pathname += "index.html";
  const cache = await caches.open(cacheName);
  const kept = await cache.match(url.href);
  if (!kept) return /\/live\/(models|flip)\//.test(url.pathname) ? used(request, url.href) : fetch(request);
  const headers = new Headers(kept.headers);
  for (const [key, value] of Object.entries(ISOLATION)) headers.set(key, value);
  return new Response(kept.body, { status: 200, headers });
}

scope.addEventListener("install", (event) => event.waitUntil(install()));
scope.addEventListener("activate", (event) => event.waitUntil(activate()));
scope.addEventListener("message", (event) => event.data === "use" && scope.skipWaiting());
scope.addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});
