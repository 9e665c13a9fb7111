/** Key files of the command line: 64 hexadecimal digits on a line, with 0x before them or without. */

import { fromHex } from "./bytes.js";
import { accountOf } from "./eip712.js";

const MOST = 200; // bytes: 0x, 64 digits, an end of line
const KEY = /^(?:0x)?([0-9a-fA-F]{64})$/;

/**
 * @param {File} file
 * @returns {Promise<Uint8Array|null>} the 32 bytes of a secp256k1 key; null where the file holds none
 */
export async function commandLineKey(file) {
  if (file.size > MOST) return null;
  const found = KEY.exec((await file.text()).trim());
  if (found === null) return null;
  const key = fromHex(`0x${found[1]}`, "file", 32);
  try {
    accountOf(key);
    return key;
  } catch {
    return null; // nought, or beyond the order of the curve
  }
}
