/** keccak256, from the one vendored place. */

import { keccak_256 } from "../vendor/noble-hashes-2.4.0/sha3.js";
import { utf8 } from "./bytes.js";

/** @param {Uint8Array} bytes @returns {Uint8Array} 32 bytes */
export function keccak(bytes) {
  return keccak_256(bytes);
}

/** @param {string} text @returns {Uint8Array} keccak256 of its UTF-8, 32 bytes */
export function keccakText(text) {
  return keccak_256(utf8(text));
}
