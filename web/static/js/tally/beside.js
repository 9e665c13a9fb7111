/** Work beside the page, which stays responsive meanwhile: one worker for one task, ended whatever comes of it. */

import { Refused } from "../refused.js";

/** The scripts that this module names at run time, and no others. */
const WORKERS = {
  sealing: new URL("./worker.js", import.meta.url).href,
  opening: new URL("./openworker.js", import.meta.url).href,
};
const policy = globalThis.trustedTypes?.createPolicy("tally", { createScriptURL: (name) => WORKERS[name] });

/** @typedef {import("../refused.js").Reason} Reason */
/**
 * @typedef {object} How
 * @property {(fraction: number) => void} [told] how far it is, from 0 to 1, in ascending order
 * @property {AbortSignal} [signal] ends the worker at once
 */

/**
 * @param {"sealing"|"opening"} name
 * @param {object} task what the worker is sent
 * @param {{refused: Reason, cancelled: Reason}} words where none starts; where somebody ended it
 * @param {How} [how]
 * @returns {Promise<any>} what it made
 * @throws {Refused} as the work; worker_refused; cancelled; any other Error where it failed
 */
export async function beside(name, task, words, { told = () => {}, signal } = {}) {
  requireGoing(words, signal);
  const worker = started(name, words);
  try {
    const answered = answerOf(worker, words, told, signal);
    worker.postMessage(task);
    return await answered;
  } finally {
    worker.terminate();
  }
}

/** @param {{cancelled: Reason}} words @param {AbortSignal} [signal] @throws {Refused} cancelled */
export function requireGoing({ cancelled }, signal) {
  if (signal?.aborted) throw new Refused(cancelled);
}

/** Browsers refuse one here, or tell of it later, with an event that has no message. */
function started(name, { refused }) {
  try {
    return new Worker(policy?.createScriptURL(name) ?? WORKERS[name], { type: "module" });
  } catch {
    throw new Refused(refused);
  }
}

function answerOf(worker, { refused, cancelled }, told, signal) {
  return new Promise((resolve, reject) => {
    signal?.addEventListener("abort", () => reject(new Refused(cancelled)));
    worker.addEventListener("error", ({ message }) => reject(message ? new Error(message) : new Refused(refused)));
    worker.addEventListener("message", ({ data }) => {
      if (data.progress !== undefined) told(data.progress);
      else if (data.refused !== undefined) reject(new Refused(data.refused));
      else resolve(data.made);
    });
  });
}
