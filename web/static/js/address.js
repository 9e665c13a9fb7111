/** Ethereum addresses: 0x and 40 digits with the checksum of EIP-55 in their case. */

import { badParameter, malformed } from "./refused.js";
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
  const remedy = "Give 0x and 40 hexadecimal digits (with a correct checksum, if in mixed case).";
  return badParameter(field, "is not an Ethereum address", remedy);
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
