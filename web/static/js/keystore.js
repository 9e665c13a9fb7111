/**
 * What this browser keeps (IndexedDB): the key file, which is encrypted under the passphrase, and public facts
 * that the page for stopping needs when the operator is down. Nothing here can be used without the passphrase.
 */

import { refuse } from "./refused.js";

const NAME = "usufruct";
const STORE = "kept";
const KEY_FILE = "key file";
const FACTS = "stop ";
const MARKET = "market";
const OPENINGS = "openings ";
const SIGNED_IN = "signed in";

/** @returns {Promise<Uint8Array|null>} the key file; null where none was made or brought here */
export function keyFile() {
  return got(KEY_FILE);
}

/** @param {Uint8Array} file as `keyfile.js` makes it; takes the place of the one before */
export function keepKeyFile(file) {
  return put(KEY_FILE, file);
}

/**
 * The same where there is none yet.
 * @param {Uint8Array} file
 * @throws {Refused} keys_here
 */
export async function addKeyFile(file) {
  try {
    await inStore("readwrite", (store) => store.add(file, KEY_FILE));
  } catch (error) {
    if (error?.name !== "ConstraintError") throw error;
    const remedy = "Load this page again and unlock them; or save and remove them first, on the page Keys.";
    refuse("keys_here", "This browser has keys already.", remedy);
  }
}

/** Forgets the key file. What it opened can be opened again only with a saved copy. */
export function forgetKeyFile() {
  return inStore("readwrite", (store) => store.delete(KEY_FILE));
}

/** @param {{dataset: string, address: string, guardian?: string|null}} facts all of them public: one entry a consent */
export function keepStopFacts(facts) {
  return put(factsKey(facts), facts);
}

/** @param {{dataset: string, address: string, guardian?: string|null}} own @returns {Promise<object|null>} what was kept of one */
export function stopFactsOf(own) {
  return got(factsKey(own));
}

function factsKey({ dataset, address, guardian = null }) {
  return `${FACTS}${dataset} ${address}${guardian === null ? "" : ` ${guardian}`}`;
}

/** @returns {Promise<object[]>} what was kept for stopping, one entry a consent */
export async function stopFacts() {
  const range = IDBKeyRange.bound(FACTS, `${FACTS}\uffff`);
  return (await inStore("readonly", (store) => store.getAll(range))) ?? [];
}

/** @param {{account: string, kind: "local"|"wallet"}} who signed in in this browser: what it signed with, no server's word */
export function keepSignedIn(who) {
  return put(SIGNED_IN, who);
}

/** @returns {Promise<{account: string, kind: "local"|"wallet"}|null>} who signed in last, and has not signed out here */
export function signedInAs() {
  return got(SIGNED_IN);
}

/** Forgets who signed in. */
export function forgetSignedIn() {
  return inStore("readwrite", (store) => store.delete(SIGNED_IN));
}

/** @returns {Promise<import("./pin.js").Pin|null>} the market that this browser knows */
export function pinned() {
  return got(MARKET);
}

/**
 * @param {(now: import("./pin.js").Pin|null) => import("./pin.js").Pin|null} change gives what is kept from now on; public
 * @returns {Promise<import("./pin.js").Pin|null>} what it gave
 * @throws {Refused} as it refuses: then nothing changes
 */
export function changePin(change) {
  return changed(MARKET, change);
}

/** Forgets it: what is told next is believed. */
export function forgetPin() {
  return inStore("readwrite", (store) => store.delete(MARKET));
}

/** @param {import("./openings.js").Own} own @returns {Promise<import("./openings.js").Waiting|null>} what of its may still be mined */
export function openingsOf(own) {
  return got(openingsKey(own));
}

/**
 * @param {import("./openings.js").Own} own
 * @param {(now: import("./openings.js").Waiting|null) => import("./openings.js").Waiting|null} change as of `changePin`
 * @returns {Promise<import("./openings.js").Waiting|null>} what it gave
 */
export function changeOpenings(own, change) {
  return changed(openingsKey(own), change);
}

function openingsKey({ chainId, market, account }) {
  return `${OPENINGS}${chainId} ${market} ${account}`;
}

async function got(key) {
  return (await inStore("readonly", (store) => store.get(key))) ?? null;
}

function put(key, value) {
  return inStore("readwrite", (store) => store.put(value, key));
}

/** In one transaction: no other tab writes between what `change` sees and what it gives. Null is nothing kept. */
async function changed(key, change) {
  let [next, failure] = [null, null];
  await inStore("readwrite", (store) => {
    const request = store.get(key);
    request.addEventListener("success", () => {
      try {
        next = change(request.result ?? null);
        if (next === null) store.delete(key);
        else store.put(next, key);
      } catch (error) {
        failure = error;
      }
    });
    return request;
  });
  if (failure !== null) throw failure;
  return next;
}

async function inStore(mode, work) {
  const database = await opened();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = work(transaction.objectStore(STORE));
      transaction.addEventListener("complete", () => resolve(request.result));
      transaction.addEventListener("abort", () => reject(transaction.error));
    });
  } finally {
    database.close();
  }
}

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.addEventListener("upgradeneeded", () => request.result.createObjectStore(STORE));
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}
