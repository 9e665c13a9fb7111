/** What every worker here does with its one task: the other end of `beside.js`. */

import { Refused } from "../refused.js";

/**
 * @param {(task: any, told: (fraction: number) => void) => any} work
 * @param {(made: any) => ArrayBuffer[]} [given] of what it made, what is handed over and not copied
 */
export function works(work, given = () => []) {
  self.addEventListener("message", ({ data }) => {
    try {
      const made = work(data, inSteps());
      self.postMessage({ made }, given(made));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      self.postMessage({ refused: error.reason() });
    }
  });
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
