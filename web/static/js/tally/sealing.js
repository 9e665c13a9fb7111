/** A row's columns and proof, made by a worker: seconds of arithmetic in which the page stays responsive. */

import { toBytes } from "../dictionary.js";
import { beside, requireGoing as requireOn } from "./beside.js";

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

const WORDS = { refused: REFUSED, cancelled: CANCELLED };

/**
 * The worker is ended whatever comes of it, and its memory with it.
 * @param {import("./encrypted.js").ToEncrypt} of
 * @param {import("./beside.js").How} [how]
 * @returns {Promise<import("./encrypted.js").Encrypted>}
 * @throws {Refused} as `encryptedRow`; worker_refused where none starts; cancelled; any other Error where it failed
 */
export async function encryptRow({ dictionary, ...of }, how) {
  return beside("sealing", { ...of, document: toBytes(dictionary) }, WORDS, how);
}

/** @param {AbortSignal} [signal] @throws {Refused} cancelled */
export function requireGoing(signal) {
  requireOn(WORDS, signal);
}
