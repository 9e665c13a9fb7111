/** Ethereum addresses: 0x and 40 digits with the checksum of EIP-55 in their case. */

import { Refused, badParameter, malformed } from "./refused.js";
import { fromHex, toHex, utf8 } from "./bytes.js";
import { keccak } from "./hash.js";

const FORM = /^0x[0-9a-fA-F]{40}$/;
export const ZERO_ADDRESS = "0x" + "0".repeat(40);

/** @param {Uint8Array} bytes 20 @returns {string} checksummed */
export function checksummed(bytes) {
  const digits = toHex(bytes).slice(2);
  const hash = toHex(keccak(utf8(digits))).slice(2);
  return "0x" + Array.from(digits, (digit, i) => (hash[i] >= "8" ? digit.toUpperCase() : digit)).join("");
}

/**
 * @param {unknown} value in one case, or with a right checksum
 * @param {string} [field]
 * @returns {string} checksummed
 * @throws {Refused} bad_parameter
 */
export function address(value, field = "address") {
  const written = canonicalOf(value);
  const digits = written === null ? "" : value.slice(2);
  const oneCase = digits === digits.toLowerCase() || digits === digits.toUpperCase();
  if (written !== null && (oneCase || written === value)) return written;
  if (value === "") return badParameter(field, "is empty", "Copy the address into it.");
  if (written !== null) return badParameter(field, "has a letter or a digit that is wrong", "Copy it whole, with its capitals as they are.");
  return badParameter(field, "is no address of this chain", "It begins with 0x and has 40 more letters and digits; copy it whole.");
}

/**
 * Where money is to go.
 * @param {string} typed
 * @param {string} field
 * @returns {string} checksummed
 * @throws {Refused} bad_parameter
 */
export function payee(typed, field) {
  try {
    return address(typed.trim(), field);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    throw new Refused({ ...error.reason(), remedy: `${error.remedy} A bank account cannot be used here.` });
  }
}

/**
 * As signed messages read it: in lower case, or with a right checksum.
 * @param {string} field
 * @param {unknown} value
 * @returns {string} checksummed
 * @throws {Refused} malformed_message
 */
export function strictAddress(field, value) {
  const written = canonicalOf(value);
  if (written === null) return malformed(field, "must be an address (0x and 40 hex digits)");
  if (value === value.toLowerCase() || written === value) return written;
  return malformed(field, "is an address whose checksum (EIP-55) is wrong");
}

function canonicalOf(value) {
  if (typeof value !== "string" || !FORM.test(value)) return null;
  return checksummed(fromHex(value, "address"));
}
