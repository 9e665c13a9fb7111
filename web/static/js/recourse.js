/** What a researcher types who has no answer: built here, since no server's text is for a shell. */

import { deployment } from "./pin.js";
import { Refused, badParameter } from "./refused.js";

const REQUEST = /^0x[0-9a-f]{64}$/;
const ORIGIN = /^https?:\/\/(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/;

/** @returns {Promise<string[]>} where this browser knows custodians to answer; none where nobody can tell now */
export async function knownCustodians() {
  try {
    return (await deployment()).custodians;
  } catch (error) {
    if (error instanceof Refused) return [];
    throw error;
  }
}

/**
 * @param {string} request 0x..
 * @param {string[]} custodians origins; what is none, or not plain enough for a shell, is left out
 * @returns {string}
 * @throws {Refused} bad_parameter
 */
export function defaultCommand(request, custodians) {
  if (typeof request !== "string" || !REQUEST.test(request)) badParameter("request", "is no hash");
  const known = custodians.filter((each) => typeof each === "string" && ORIGIN.test(each));
  const asked = (known.length > 0 ? known.map(quoted) : ["CUSTODIAN"]).map((each) => `--custodian ${each}`);
  return ["usufruct default", `--request ${request}`, ...asked, "--node NODE --manifest manifest.json --key-file KEY"].join(" ");
}

/**
 * Of an answer that this page does not open, or not for others: with the delivery key as this page saves it, which no one else may read.
 * @param {string} request 0x..
 * @param {string} origin of the operator
 * @param {string} file of the delivery key
 * @param {boolean} [byNode] where only a node can tell whether custodians signed
 * @param {string} [opening] a file for the opening, which proves the numbers to others
 * @returns {string}
 * @throws {Refused} bad_parameter
 */
export function resultCommand(request, origin, file, byNode = false, opening = "") {
  if (typeof request !== "string" || !REQUEST.test(request)) badParameter("request", "is no hash");
  const at = ORIGIN.test(origin) ? quoted(origin) : "OPERATOR";
  const node = byNode ? " --node NODE --manifest manifest.json" : "";
  const out = opening ? ` --opening-out ${opening}` : "";
  return `chmod 600 ${file}\nusufruct result --request ${request} --url ${at}${node} --delivery-key-file ${file}${out}`;
}

/** Brackets mean something to a shell. */
function quoted(origin) {
  return origin.includes("[") ? `'${origin}'` : origin;
}
