/**
 * What a key file keeps, and how such a document is read: strictly. Everything that is read is written again
 * and compared, so that each content has one text. The counterpart of `wire.keyring`.
 */

import { address } from "./address.js";
import { bytes32, equal, fromHex, toBigInt, toHex } from "./bytes.js";
import { canonical, parseCanonical } from "./canonical.js";
import { ORDER } from "./curve.js";
import { hasExactly } from "./json.js";
import { ROOT_BYTES, Root } from "./keys.js";
import { Refused, refuse } from "./refused.js";

export const LARGEST_KEYRING = 180 * 1024; // bytes of JSON
const MOST_DATASETS = 500;
const MOST_IMPORTED = 50;
const MOST_LABEL = 60; // characters
/** Controls, what hides or turns text, ends of lines: nothing here holds them. */
const NOT_WRITTEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/** @typedef {import("./keys.js").Place & {index: number}} Joined a dataset, and which address there is in use */
/** @typedef {{label: string, key: Uint8Array}} ImportedKey a key of the command line; it signs, no more */
/** @typedef {{root: Root, datasets: Joined[], imported: ImportedKey[]}} Keyring */

/** @param {Keyring} keyring @returns {Uint8Array} what is encrypted: canonical JSON, full of secrets */
export function toBytes({ root, datasets, imported }) {
  return canonical({
    datasets: datasets.map(({ chainId, registry, dataset, index }) => {
      return { chain_id: chainId, dataset: toHex(dataset), index, registry };
    }),
    imported: imported.map(({ label, key }) => ({ key: toHex(key), label })),
    root: toHex(root.raw()),
  });
}

/** @param {Uint8Array} plaintext @returns {Keyring} @throws {Refused} keys_unreadable, naming the field */
export function readKeyring(plaintext) {
  const whole = canonicalObject(plaintext, LARGEST_KEYRING, "box");
  requireKeys(whole, ["datasets", "imported", "root"], "box");
  const root = new Root(exactly(whole.root, ROOT_BYTES, "box.root"));
  const datasets = list(whole.datasets, MOST_DATASETS, "box.datasets", joined);
  const imported = list(whole.imported, MOST_IMPORTED, "box.imported", importedKey);
  requireDistinct(datasets.map(placeText), "box.datasets");
  requireDistinct(imported.map(({ label }) => label), "box.imported");
  const keyring = { root, datasets, imported };
  if (equal(toBytes(keyring), plaintext)) return keyring;
  return unreadable("box", "writes a value in another than its one form");
}

/** @param {Keyring} keyring @param {import("./keys.js").Place} place @returns {number|null} the address in use */
export function indexIn({ datasets }, place) {
  return datasets.find((each) => placeText(each) === placeText(place))?.index ?? null;
}

/** The object whose canonical form is exactly `data`. @throws {Refused} keys_unreadable */
export function canonicalObject(data, limit, at) {
  const found = reading(at, () => parseCanonical(data, { limit }));
  const isObject = typeof found === "object" && found !== null && !Array.isArray(found);
  return isObject ? found : unreadable(at, "is not an object");
}

/** @throws {Refused} keys_unreadable unless it is an object of exactly these keys */
export function requireKeys(value, keys, at) {
  if (!hasExactly(value, keys)) unreadable(at, `has not exactly the keys ${[...keys].sort().join(", ")}`);
}

/** `size` bytes from lower-case hexadecimal text. @throws {Refused} keys_unreadable, which does not repeat it */
export function exactly(value, size, at) {
  const raw = reading(at, () => fromHex(value, at, size));
  if (raw.length === size && toHex(raw) === value) return raw;
  return unreadable(at, `is not ${size} bytes in small hexadecimal letters`);
}

/** A whole number from `least` to `most`. @throws {Refused} keys_unreadable */
export function within(value, least, most, at) {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  return unreadable(at, `is not a whole number from ${least} to ${most}`);
}

/** Text that shows as itself, on one line. @throws {Refused} keys_unreadable */
export function requireText(value, most, at) {
  if (typeof value !== "string" || Array.from(value).length > most) {
    unreadable(at, `is not text of at most ${most} characters`);
  }
  if (NOT_WRITTEN.test(value)) unreadable(at, "holds a character that does not show as itself");
}

/** What is read, every refusal of it as one of this format. None of them repeats a value. */
export function reading(at, read) {
  try {
    return read();
  } catch (fault) {
    if (!(fault instanceof Refused) || fault.code === "keys_unreadable") throw fault;
    const field = fault.field === null || fault.field === "$" ? at : fault.field;
    const remedy = "Take a copy of the file as it was saved.";
    return refuse("keys_unreadable", `The key file cannot be read: ${fault.message}`, remedy, field);
  }
}

/** @param {string} at @param {string} problem says no value @returns {never} */
export function unreadable(at, problem) {
  const remedy = "Take a copy of the file as it was saved, or a newer version of this program.";
  return refuse("keys_unreadable", `The key file cannot be read: ${at} ${problem}.`, remedy, at);
}

function joined(value, at) {
  requireKeys(value, ["chain_id", "dataset", "index", "registry"], at);
  return reading(at, () => ({
    chainId: within(value.chain_id, 0, Number.MAX_SAFE_INTEGER, `${at}.chain_id`),
    registry: address(value.registry, `${at}.registry`),
    dataset: bytes32(value.dataset, `${at}.dataset`),
    index: within(value.index, 0, 2 ** 32 - 1, `${at}.index`),
  }));
}

function importedKey(value, at) {
  requireKeys(value, ["key", "label"], at);
  requireText(value.label, MOST_LABEL, `${at}.label`);
  const key = exactly(value.key, 32, `${at}.key`);
  const scalar = toBigInt(key);
  if (value.label !== "" && scalar > 0n && scalar < ORDER) return { label: value.label, key };
  return unreadable(at, "has no label, or is no key");
}

function list(value, most, at, readOne) {
  if (!Array.isArray(value) || value.length > most) return unreadable(at, `is not a list of at most ${most}`);
  return value.map((each, i) => readOne(each, `${at}[${i}]`));
}

function requireDistinct(names, at) {
  if (new Set(names).size !== names.length) unreadable(at, "names one of its entries twice");
}

function placeText({ chainId, registry, dataset }) {
  return `${chainId} ${registry} ${toHex(dataset)}`;
}
