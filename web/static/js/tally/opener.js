/** Sums opened by a worker: seconds of arithmetic in which the page stays responsive. */

import { beside } from "./beside.js";

const WORDS = {
  refused: {
    code: "worker_refused",
    message: "This browser does not let this page work beside itself, which opening the answer needs.",
    remedy:
      "Load the page again; if that does not help, take another browser, or turn off what blocks workers here. `usufruct " +
      "result` opens it, too.",
  },
  cancelled: { code: "cancelled", message: "Opening was cancelled.", remedy: "Press the button to open it again." },
};

/**
 * @param {import("./opened.js").ToOpen} of
 * @param {import("./beside.js").How} [how]
 * @returns {Promise<bigint[]>} the noised sums
 * @throws {Refused} as `openedSums`; worker_refused; cancelled
 */
export function openBeside(of, how) {
  return beside("opening", of, WORDS, how);
}
