/** What the documents of a dictionary are held against: each problem names its field and the remedy. */

import { Decimal } from "./decimal.js";
import { hasExactly } from "./json.js";
import { refuse } from "./refused.js";

const DECIMAL = /^-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?$/;

/**
 * @param {boolean} holds
 * @param {string} path
 * @param {string} problem
 * @param {string} remedy
 * @throws {Refused} bad_dictionary unless it holds
 */
export function require(holds, path, problem, remedy) {
  if (!holds) refuse("bad_dictionary", `${path} ${problem}.`, remedy, path);
}

/** An object with exactly these keys. @throws {Refused} bad_dictionary */
export function requireKeys(/** @type {unknown} */ entry, /** @type {string[]} */ keys, /** @type {string} */ path) {
  require(hasExactly(entry, keys), path, "has missing or unknown keys", `Give exactly ${[...keys].sort().join(", ")}.`);
}

/**
 * @param {unknown} text a decimal
 * @param {number} decimals
 * @param {string} path
 * @returns {bigint} in units of 10^-decimals
 * @throws {Refused} bad_dictionary
 */
export function scaled(text, decimals, path) {
  const matches = typeof text === "string" && DECIMAL.test(text);
  require(matches, path, "is not a decimal in text", 'Write it like "72.5".');
  const integer = Decimal.parse(text).scaled(decimals);
  require(integer !== null, path, "has more decimals than the variable", "Round it, or raise decimals.");
  return integer;
}

/** @param {unknown} value @returns {boolean} whether it is a JSON object */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
