/** A row's columns and proof, made by a worker: seconds of arithmetic in which the page stays responsive. */

import { toBytes } from "../dictionary.js";
import { Refused } from "../refused.js";

const WORKER = new URL("./worker.js", import.meta.url).href;
/** The one script that this module names at run time. */
const policy = globalThis.trustedTypes?.createPolicy("tally", { createScriptURL: () => WORKER });
const REFUSED = {
  code: "worker_refused",
  message: "This browser does not let this page work beside itself, which encrypting your values needs.",
  remedy:
    "Nothing was sealed. Load the page again; if that does not help, take another browser, or turn off what blocks " +
    "workers here. Your clinic can seal your record, too.",
};
const CANCELLED = {
  code: "cancelled",
  message: "Sealing was cancelled.",
  remedy: "Nothing was sealed, and nothing left this browser.",
};

/**
 * @typedef {object} How
 * @property {(fraction: number) => void} [told] how far it is, from 0 to 1, in ascending order
 * @property {AbortSignal} [signal] ends the worker at once
 */

/**
 * The worker is ended whatever comes of it, and its memory with it.
 * @param {import("./encrypted.js").ToEncrypt} of
 * @param {How} [how]
 * @returns {Promise<import("./encrypted.js").Encrypted>}
 * @throws {Refused} as `encryptedRow`; worker_refused where none starts; cancelled; any other Error where it failed
 */
export async function encryptRow({ dictionary, ...of }, { told = () => {}, signal } = {}) {
  requireGoing(signal);
  const worker = started();
  try {
    const answered = answerOf(worker, told, signal);
    worker.postMessage({ ...of, document: toBytes(dictionary) });
    return await answered;
  } finally {
    worker.terminate();
  }
}

/** @param {AbortSignal} [signal] @throws {Refused} cancelled */
export function requireGoing(signal) {
  if (signal?.aborted) throw new Refused(CANCELLED);
}

/** Browsers refuse one here, or tell of it later, with an event that has no message. */
function started() {
  try {
    return new Worker(policy?.createScriptURL(WORKER) ?? WORKER, { type: "module" });
  } catch {
    throw new Refused(REFUSED);
  }
}

function answerOf(worker, told, signal) {
  return new Promise((resolve, reject) => {
    signal?.addEventListener("abort", () => reject(new Refused(CANCELLED)));
    worker.addEventListener("error", ({ message }) => reject(message ? new Error(message) : new Refused(REFUSED)));
    worker.addEventListener("message", ({ data }) => {
      if (data.progress !== undefined) told(data.progress);
      else if (data.refused !== undefined) reject(new Refused(data.refused));
      else resolve(data.encrypted);
    });
  });
}
