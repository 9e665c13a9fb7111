/**
 * What a receipt of the homomorphic lane (usufruct-receipt/2) has beside the vault lane's, as far as a page reads it: whose
 * noise counts. The rest of it is the command line's to verify.
 */

import { malformed } from "./refused.js";

const MOST_CUSTODIANS = 16;

/** @typedef {{places: number[]}} TallyPart ascending places of the custodians whose noise counts */

/**
 * @param {any} given
 * @returns {TallyPart}
 * @throws {Refused} malformed_message
 */
export function tallyOf(given) {
  const isObject = typeof given === "object" && given !== null && !Array.isArray(given);
  if (!isObject) malformed("tally", "must be an object");
  const { places } = given;
  const isList = Array.isArray(places) && places.length >= 1 && places.length <= MOST_CUSTODIANS;
  const ascends = isList && places.every((each, i) => isPlace(each) && (i === 0 || places[i - 1] < each));
  return ascends ? { places } : malformed("tally.places", "must ascend by place, each place once");
}

function isPlace(value) {
  return Number.isInteger(value) && value >= 0 && value < MOST_CUSTODIANS;
}
