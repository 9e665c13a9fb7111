/**
 * Every vector of the servers against the browser's modules. Runs wherever JavaScript runs: in Node and, with
 * the same bytes, in Chromium.
 */

import { chain } from "./chain.mjs";
import { fhir } from "./fhir.mjs";
import { forms } from "./forms.mjs";
import { keys } from "./keys.mjs";
import { receipt } from "./receipt.mjs";
import { tallied } from "./record_tally.mjs";
import { sealing } from "./sealing.mjs";
import { signing } from "./signing.mjs";
import { Checks, load } from "./support.mjs";
import { tally } from "./tally.mjs";
import { answered } from "./tally_answers.mjs";

export { load };
export const VECTORS = [
  ...["web", "structs", "record", "hpke", "turn", "delivery", "feldman", "roots"],
  ...["browser_keys", "opening", "siwe", "class_page", "tally", "record_tally", "tally_answers", "tally_delivery", "receipt_tally"],
];
export const SUITES = { forms, sealing, signing, chain, fhir, keys, receipt, tally, tallied, answered };

/**
 * @param {Object<string, object>} vectors the files of VECTORS, read, by name
 * @param {Object<string, object>} modules as `load` gives them
 * @returns {Promise<{name: string, ok: boolean, got: string, wanted: string}[]>}
 */
export async function checks(vectors, modules) {
  const all = [];
  for (const [suite, run] of Object.entries(SUITES)) {
    const checks = new Checks(modules);
    await run(vectors, checks);
    all.push(...checks.done.map((each) => ({ ...each, name: `${suite}: ${each.name}` })));
  }
  return all;
}
