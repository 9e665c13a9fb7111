/** A row's columns and proof, made by a worker: seconds of arithmetic in which the page stays responsive. */

import { toBytes } from "../dictionary.js";
import { Refused } from "../refused.js";

const WORKER = new URL("./worker.js", import.meta.url).href;
/** The one script that this module names at run time. */
const policy = globalThis.trustedTypes?.createPolicy("tally", { createScriptURL: () => WORKER });

/**
 * @param {import("./encrypted.js").ToEncrypt} of
 * @param {(fraction: number) => void} [told] how far it is, from 0 to 1, in ascending order
 * @returns {Promise<import("./encrypted.js").Encrypted>}
 * @throws {Refused} as `encryptedRow`; any other Error where the worker did not start or failed
 */
export async function encryptRow({ dictionary, row, context, publicKey }, told = () => {}) {
  const worker = new Worker(policy?.createScriptURL(WORKER) ?? WORKER, { type: "module" });
  try {
    const answered = answerOf(worker, told);
    worker.postMessage({ document: toBytes(dictionary), row, context, publicKey });
    return await answered;
  } finally {
    worker.terminate();
  }
}

function answerOf(worker, told) {
  return new Promise((resolve, reject) => {
    worker.addEventListener("error", (event) => reject(new Error(event.message ?? "The worker did not start.")));
    worker.addEventListener("message", ({ data }) => {
      if (data.progress !== undefined) told(data.progress);
      else if (data.refused !== undefined) reject(new Refused(data.refused));
      else resolve(data.encrypted);
    });
  });
}
