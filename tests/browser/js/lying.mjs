/** What Node lacks of a browser, and servers whose answers a test chooses. */

/** A document with a token, both storages, IndexedDB (objects by key, in memory). */
export function browserWorld() {
  globalThis.document = { querySelector: () => ({ content: "token" }) };
  globalThis.sessionStorage = storage();
  Object.defineProperty(globalThis, "localStorage", { value: storage(), configurable: true }); // newer Nodes have their own
  Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });
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
    clear: () => held.clear(),
    key: (place) => [...held.keys()][place] ?? null,
    get length() {
      return held.size;
    },
  };
}

/**
 * A page at this path, of elements that show nothing. Every dialog is filled in with what is typed, and sent off.
 * @param {string} pathname
 * @param {Object<string, string>} [typed]
 * @returns {(selector: string) => object} its elements
 */
export function pageAt(pathname, typed = {}) {
  const found = new Map();
  const one = (selector) => found.get(selector) ?? found.set(selector, made("p")).get(selector);
  const location = { pathname, search: "", origin: "https://market.example", reload() {}, assign() {}, replace() {} };
  const document = { querySelector: one, querySelectorAll: () => [], createElement: made, createTextNode: String, body: made("body") };
  Object.assign(globalThis, { location, document, HTMLElement: Element, HTMLFieldSetElement: class {}, RadioNodeList: class {} });
  globalThis.FormData = class {
    *[Symbol.iterator]() {
      yield* Object.entries(typed);
    }
  };
  return one;
}

class Element {}

function made(tag) {
  const [heard, children, nothing] = [{}, [], () => {}];
  const fire = async (event) => {
    for (const each of heard[event] ?? []) await each({ preventDefault: nothing });
  };
  return Object.assign(new Element(), {
    ...{ tag, children, fire, content: "token", dataset: {}, hidden: false, textContent: "", childNodes: [] },
    ...{ elements: Object.assign([], { namedItem: () => null }), hasAttribute: () => true, getAttribute: () => "" },
    ...{ setAttribute: nothing, removeAttribute: nothing, focus: nothing, remove: nothing, before: nothing, closest: () => null },
    ...{ querySelector: () => null, querySelectorAll: () => [] },
    append: (...each) => void children.push(...each),
    replaceChildren: (...each) => void children.splice(0, children.length, ...each),
    addEventListener: (event, listener) => (heard[event] ??= []).push(listener),
    showModal: () => children.find((each) => each.tag === "form").fire("submit"),
    close: () => fire("close"),
  });
}

const kept = new Map();
const STORE = {
  get: (key) => ({ get result() { return kept.get(key); }, addEventListener: at }), // read when it is heard: transactions go one by one
  put: (value, key) => ({ result: kept.set(key, structuredClone(value)) && key }),
  delete: (key) => ({ result: kept.delete(key) && undefined }),
  getAll: (within) => ({ result: [...kept].filter(([key]) => within(key)).map(([, value]) => value) }),
};
const at = (event, listener) => ["success", "complete"].includes(event) && queueMicrotask(listener);
const opened = { addEventListener: at, result: { close: () => {}, transaction } };

/** Adding what is there already ends the whole transaction. */
function transaction() {
  const made = { error: null, objectStore: () => ({ ...STORE, add }) };
  const add = (value, key) => {
    if (kept.has(key)) made.error = new DOMException("it is there already", "ConstraintError");
    return made.error === null ? STORE.put(value, key) : {};
  };
  made.addEventListener = (event, listener) => event === (made.error === null ? "complete" : "abort") && queueMicrotask(listener);
  return made;
}

/**
 * From now on fetch answers from `answers`, by URL or its beginning; a function gets the body, path and signal, a
 * Refusal-like `{status, ...}` is a problem, a Response is itself, and what is not named does not answer.
 * @returns {Array<{path: string, body: unknown}>} what was asked, growing
 */
export function answering(answers) {
  const asked = [];
  globalThis.fetch = async (path, { body, signal } = {}) => {
    const read = body === undefined ? null : JSON.parse(new TextDecoder().decode(body));
    asked.push({ path, body: read });
    const name = Object.keys(answers).filter((each) => path === each || path.startsWith(each)).sort((a, b) => b.length - a.length)[0];
    if (name === undefined) throw new TypeError("nobody answers");
    const said = typeof answers[name] === "function" ? await answers[name](read, path, signal) : answers[name];
    if (said instanceof Response) return said;
    return new Response(JSON.stringify(said), { status: said?.status ?? 200 });
  };
  return asked;
}
