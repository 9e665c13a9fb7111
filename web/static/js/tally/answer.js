/** A question of the homomorphic lane as it was settled: where its sums lie, and the answer that they make. */

import { refuse } from "../refused.js";
import { QUESTIONS, noisedDocument } from "./answers.js";
import { MOST_STEPS, stepsFor } from "./logarithms.js";
import { rangesOf, sigmaOf } from "./shares.js";

/** @typedef {{members: number, cost: bigint, contributors: number, quorum: number}} Settled cost in nano-rho; whose noise counts, and the epoch's quorum */
/** @typedef {{ranges: import("./shares.js").Range[], noised: (sums: bigint[]) => object}} Question */

/**
 * @param {string} analysis
 * @param {any} parameters canonical
 * @param {import("../dictionary.js").Dictionary} dictionary with an encoding
 * @param {Settled} settled
 * @returns {Question} `noised` makes the same document of the same sums, whoever opens them
 * @throws {Refused} opened_elsewhere, for what only the command line has the arithmetic of; sums_too_large
 */
export function questionOf(analysis, parameters, dictionary, settled) {
  if (!Object.hasOwn(QUESTIONS, analysis)) openedElsewhere("This page has not the arithmetic of this analysis.");
  const { wanted, squaredSensitivity, finish } = QUESTIONS[analysis](parameters, dictionary);
  const shares = { cost: settled.cost, squaredSensitivity, quorum: settled.quorum };
  const made = (sums) => finish(sums, sigmaOf(shares, settled.contributors), BigInt(settled.members));
  return {
    ranges: rangesOf(wanted, shares, settled),
    noised: (sums) => noisedDocument(made(sums), Number(settled.cost), settled.members),
  };
}

/** @param {import("./shares.js").Range[]} ranges @throws {Refused} opened_elsewhere where looking for them could take minutes */
export function requireWithinReach(ranges) {
  const steps = stepsFor(ranges);
  if (steps <= MOST_STEPS) return;
  const times = Math.ceil(steps / MOST_STEPS).toLocaleString("en-GB");
  openedElsewhere(`The sums can lie so far apart that finding them takes ${times} times as long as a page should work.`);
}

function openedElsewhere(message) {
  const remedy = "Save its delivery key below, and open it with the command that stands there.";
  refuse("opened_elsewhere", message, remedy);
}
