/** Values of a receipt, read strictly: of their type and range, in their one spelling. The counterpart of `receipts.fields`. */

import { address } from "./address.js";
import { fromHex, toHex } from "./bytes.js";
import { byCodePoint } from "./canonical.js";
import { malformed } from "./refused.js";

export const MOST_CUSTODIANS = 16;
const MOST_TEXT = 1 << 16; // characters
const DECIMAL = /^(?:0|[1-9][0-9]{0,19})$/;

/** @param {any} value @param {string[]} keys all that it has to have, and may @param {string} at where it stands @throws {Refused} malformed_message */
export function requireKeys(value, keys, at) {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isObject) malformed(at, "must be an object");
  for (const key of [...keys].sort()) if (!Object.hasOwn(value, key)) malformed(`${at}.${key}`, "is missing");
  const unknown = Object.keys(value).sort(byCodePoint).find((key) => !keys.includes(key));
  if (unknown !== undefined) malformed(`${at}.${unknown.slice(0, 40)}`, "is unknown");
}

/** @param {string} written its one spelling @param {any} given @param {string} at @throws {Refused} malformed_message */
export function requireSpelling(written, given, at) {
  if (written !== given) malformed(at, "is not in its one canonical spelling");
}

/** @param {any} value @param {number} bits @param {string} at @returns {number} @throws {Refused} malformed_message */
export function whole(value, bits, at) {
  const fits = Number.isSafeInteger(value) && value >= 0 && value < 2 ** bits;
  return fits ? value : malformed(at, `is not a whole number below 2^${bits}`);
}

/** @param {any} value a decimal number as text @param {number} bits @param {string} at @returns {bigint} @throws {Refused} malformed_message */
export function amount(value, bits, at) {
  const isDecimal = typeof value === "string" && DECIMAL.test(value);
  if (!isDecimal) return malformed(at, "must be a decimal number written as a string");
  return BigInt(value) >> BigInt(bits) === 0n ? BigInt(value) : malformed(at, `is not below 2^${bits}`);
}

/** @param {any} value 0x.. @param {string} at @returns {Uint8Array} 32 bytes @throws {Refused} malformed_message, bad_parameter */
export function hash(value, at) {
  const raw = fromHex(value, at, 32);
  requireSpelling(toHex(raw), value, at);
  return raw.length === 32 ? raw : malformed(at, "is not 32 bytes");
}

/** @param {any} value @param {string} at @returns {string} a checksummed address @throws {Refused} malformed_message */
export function account(value, at) {
  requireSpelling(address(value, at), value, at);
  return value;
}

/** @param {any} value @param {string} at @returns {string} @throws {Refused} malformed_message */
export function text(value, at) {
  const fits = typeof value === "string" && Array.from(value).length <= MOST_TEXT;
  return fits ? value : malformed(at, `must be text of at most ${MOST_TEXT} characters`);
}

/**
 * @template T
 * @param {any} value
 * @param {number} most
 * @param {string} at
 * @param {(each: any, at: string) => T} readOne
 * @returns {T[]}
 * @throws {Refused} malformed_message
 */
export function list(value, most, at, readOne) {
  if (!Array.isArray(value) || value.length > most) return malformed(at, `must be a list of at most ${most}`);
  return value.map((each, i) => readOne(each, `${at}[${i}]`));
}
