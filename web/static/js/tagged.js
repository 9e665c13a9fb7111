/** Domain-separated hashes: what binds one format's bytes to that format alone. */

import { encode } from "./abi.js";
import { keccak } from "./hash.js";

/**
 * @param {string} tag such as `usufruct/record/1`
 * @param {string[]} types ABI types of the values
 * @param {unknown[]} values
 * @returns {Uint8Array} keccak256(abi.encode(tag, values...)), 32 bytes
 */
export function taggedHash(tag, types, values) {
  return keccak(encode(["string", ...types], [tag, ...values]));
}
