/** The copy of the key file that somebody saved, and whether it still is the one in this browser. */

import { toHex } from "./bytes.js";
import { keccak } from "./hash.js";
import { keyFile } from "./keystore.js";
import { save } from "./save.js";

const SAVED = "saved key file"; // its hash alone: of a file that opens with the passphrase

/** Saves the key file, as it is now, with this person's downloads. */
export async function saveCopy() {
  const file = await keyFile();
  save("usufruct-keys.json", file, "application/json");
  keepAsSaved(file);
}

/** @param {Uint8Array} file of which this person has a copy */
export function keepAsSaved(file) {
  localStorage.setItem(SAVED, toHex(keccak(file)));
}

/** Forgets that there is a copy, where the keys leave this browser. */
export function forgetCopy() {
  localStorage.removeItem(SAVED);
}

/**
 * @param {string} [what] the older copy does not know it
 * @returns {Promise<{href: string, label: string}|null>} where to save it, with the reason; null where the copy is as new
 *   as these keys, or where this browser has no keys, as with a wallet
 */
export async function copyWanted(what = "this dataset") {
  const [file, saved] = [await keyFile(), localStorage.getItem(SAVED)];
  if (file === null || saved === toHex(keccak(file))) return null;
  const why = saved === null ? "this browser knows of no copy." : `the older copy does not know ${what}.`;
  return { href: "/keys", label: `${saved === null ? "Save your key file" : "Save your key file again"}: ${why}` };
}
