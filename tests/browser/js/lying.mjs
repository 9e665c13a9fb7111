/** What Node lacks of a browser, and servers whose answers a test chooses. */

/** A document with a token, sessionStorage, IndexedDB (objects by key, in memory). */
export function browserWorld() {
  globalThis.document = { querySelector: () => ({ content: "token" }) };
  globalThis.sessionStorage = storage();
  globalThis.indexedDB = { open: () => opened };
  globalThis.IDBKeyRange = { bound: (from, to) => (key) => key >= from && key <= to };
  return { forget: () => kept.clear() };
}

function storage() {
  const held = new Map();
  return {
    getItem: (key) => held.get(key) ?? null,
    setItem: (key, value) => held.set(key, value),
    removeItem: (key) => held.delete(key),
  };
}

const kept = new Map();
const STORE = {
  get: (key) => ({ result: kept.get(key) }),
  put: (value, key) => ({ result: kept.set(key, structuredClone(value)) && key }),
  delete: (key) => ({ result: kept.delete(key) && undefined }),
  getAll: (within) => ({ result: [...kept].filter(([key]) => within(key)).map(([, value]) => value) }),
};
const at = (event, listener) => ["success", "complete"].includes(event) && queueMicrotask(listener);
const opened = {
  addEventListener: at,
  result: { close: () => {}, transaction: () => ({ addEventListener: at, objectStore: () => STORE }) },
};

/**
 * From now on fetch answers from `answers`, by URL or its beginning; a function gets the body, a Refusal-like
 * `{status, ...}` is a problem, and what is not named does not answer.
 * @returns {Array<{path: string, body: unknown}>} what was asked, growing
 */
export function answering(answers) {
  const asked = [];
  globalThis.fetch = async (path, { body } = {}) => {
    const read = body === undefined ? null : JSON.parse(new TextDecoder().decode(body));
    asked.push({ path, body: read });
    const name = Object.keys(answers).filter((each) => path === each || path.startsWith(each)).sort((a, b) => b.length - a.length)[0];
    if (name === undefined) throw new TypeError("nobody answers");
    const said = typeof answers[name] === "function" ? await answers[name](read, path) : answers[name];
    return new Response(JSON.stringify(said), { status: said?.status ?? 200 });
  };
  return asked;
}
