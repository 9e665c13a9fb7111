/**
 * Keeps the page for stopping and the files that it needs, so that it opens while the operator is down. It
 * answers for these alone, and keeps nothing else: no answer to anybody who has signed in, no message, no key.
 *
 * Where a dishonest moment's worker of the same path has a wider scope, this takes its place there and ends
 * itself: only the page itself is ever answered for.
 *
 * The server writes `KIT` before this text: the page's path, the files' paths, and a version over all of them.
 */

/* global KIT */

const OURS = "stop ";
const NAME = OURS + KIT.version;
const PATIENCE = 4_000; // milliseconds that a page may take before the one kept here is shown
const FILES = new Set(KIT.files);

if (new URL(self.registration.scope).pathname === KIT.page) work();
else end();

function work() {
  self.addEventListener("install", (event) => {
    event.waitUntil(keepAll().then(() => self.skipWaiting()));
  });
  self.addEventListener("activate", (event) => {
    event.waitUntil(forgetOlder().then(() => self.clients.claim()));
  });
  self.addEventListener("fetch", (event) => {
    const { method, url } = event.request;
    const { origin, pathname } = new URL(url);
    if (method !== "GET" || origin !== self.location.origin) return;
    if (pathname === KIT.page) event.respondWith(page());
    else if (FILES.has(pathname)) event.respondWith(file(pathname, event.request));
  });
}

function end() {
  self.addEventListener("install", () => self.skipWaiting());
  self.addEventListener("activate", (event) => event.waitUntil(self.registration.unregister()));
}

/** All of them or none: half a page stops nobody. */
async function keepAll() {
  const paths = [KIT.page, ...KIT.files];
  const found = await Promise.all(paths.map((path) => fetched(path)));
  if (found[0].headers.get("Stop-Kit") !== KIT.version) throw new TypeError("the page is another version's");
  const cache = await caches.open(NAME);
  await Promise.all(paths.map((path, i) => cache.put(path, found[i])));
}

/** Without cookies; whatever is not this very server's plain 200 is no answer. */
async function fetched(path, options = {}) {
  const response = await fetch(path, { credentials: "omit", cache: "no-cache", redirect: "error", ...options });
  if (response.status !== 200 || response.type !== "basic") throw new TypeError("not fit to be kept");
  return response;
}

async function forgetOlder() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(OURS) && name !== NAME).map((name) => caches.delete(name)));
}

/** The server's, read whole within the patience; else the one kept here. */
async function page() {
  try {
    const response = await fetched(KIT.page, { signal: AbortSignal.timeout(PATIENCE) });
    return new Response(await response.arrayBuffer(), { headers: response.headers });
  } catch {
    return (await kept(KIT.page)) ?? Response.error();
  }
}

/** Under a path that names its bytes, so that the one kept here is the right one. */
async function file(path, request) {
  return (await kept(path)) ?? fetch(request);
}

async function kept(path) {
  return (await caches.open(NAME)).match(path);
}
