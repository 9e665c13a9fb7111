/** Encrypts one row beside the page, which stays responsive meanwhile. Started by `sealing.js`. */

import { load } from "../dictionary.js";
import { Refused } from "../refused.js";
import { encryptedRow } from "./encrypted.js";

/** @typedef {{document: Uint8Array, row: (number|null)[], context: Uint8Array, publicKey: Uint8Array, randomness?: bigint[]}} Asked */

self.addEventListener("message", ({ data }) => {
  try {
    const encrypted = encryptedOf(data);
    self.postMessage({ encrypted }, [encrypted.columns.buffer, encrypted.proof.buffer]);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    self.postMessage({ refused: error.reason() });
  }
});

function encryptedOf({ document, ...of }) {
  return encryptedRow({ ...of, dictionary: load(document) }, inSteps());
}

/** Tells of each whole hundredth once: the page draws no more. */
function inSteps() {
  let last = -1;
  return (fraction) => {
    const hundredth = Math.floor(100 * fraction);
    if (hundredth > last) self.postMessage({ progress: fraction });
    last = hundredth;
  };
}
