/**
 * Canonical JSON: keys sorted by code point, no white space, UTF-8, whole numbers within 2^53, no
 * floating point. One value, one byte string; the counterpart of the servers' `wire.canonical`.
 */

import { LARGEST_INTEGER, isShallow, parse } from "./json.js";
import { equal, utf8 } from "./bytes.js";
import { refuse } from "./refused.js";

export const JSON_LIMIT = 1 << 20; // bytes
export { isShallow, parse };
const CODE = "malformed_json";
const HALF_PAIR = /\p{Surrogate}/u;

/**
 * @param {unknown} value objects, lists, text, whole numbers (also as BigInt), true, false, null
 * @returns {Uint8Array}
 * @throws {Refused} malformed_json for all else, and for halves of surrogate pairs
 */
export function canonical(value) {
  return utf8(written(value, "$"));
}

/**
 * @param {Uint8Array} data
 * @param {{limit?: number}} [options] bytes
 * @returns {unknown} the value whose canonical form is exactly `data`
 * @throws {Refused} malformed_json
 */
export function parseCanonical(data, { limit = JSON_LIMIT } = {}) {
  const value = parse(data, { limit });
  if (equal(canonical(value), data)) return value;
  return refuse(CODE, "The JSON is not in canonical form. (at $)", "Sort keys and drop white space.", "$");
}

/** Order by code point, which UTF-16 units do not keep. For `sort`. */
export function byCodePoint(/** @type {string} */ one, /** @type {string} */ other) {
  const [mine, its] = [Array.from(one), Array.from(other)];
  for (let i = 0; i < Math.min(mine.length, its.length); i++) {
    const difference = mine[i].codePointAt(0) - its[i].codePointAt(0);
    if (difference !== 0) return difference;
  }
  return mine.length - its.length;
}

function written(value, path) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") return writtenText(value);
  if (typeof value === "number" || typeof value === "bigint") return writtenInteger(value, path);
  if (Array.isArray(value)) {
    return `[${value.map((item, i) => written(item, `${path}[${i}]`)).join(",")}]`;
  }
  if (isPlainObject(value)) return writtenObject(value, path);
  return unwritable(`A ${typeof value} has no canonical form.`, "Use integers or text.", path);
}

function writtenObject(value, path) {
  const keys = Object.keys(value).sort(byCodePoint);
  const members = keys.map((key) => `${writtenText(key)}:${written(value[key], `${path}.${key}`)}`);
  return `{${members.join(",")}}`;
}

function writtenText(text) {
  if (!HALF_PAIR.test(text)) return JSON.stringify(text);
  return unwritable("A text holds half of a surrogate pair.", "Give valid Unicode text.", "$");
}

function writtenInteger(value, path) {
  if (typeof value === "number" && !Number.isInteger(value)) {
    return unwritable("A float has no canonical form.", "Use integers or text.", path);
  }
  const integer = BigInt(value);
  if (integer >= -LARGEST_INTEGER && integer <= LARGEST_INTEGER) return String(integer);
  return unwritable("A whole number exceeds 2^53.", "Write it as text.", path);
}

function isPlainObject(value) {
  const prototype = typeof value === "object" ? Object.getPrototypeOf(value) : undefined;
  return prototype === null || prototype === Object.prototype;
}

function unwritable(message, remedy, path) {
  return refuse(CODE, `${message} (at ${path})`, remedy, path);
}

