/**
 * What a receipt of the homomorphic lane (usufruct-receipt/2) has beside the vault lane's: all of it is read strictly. Whose
 * noise counts, and the noised sums, are held against the settlement (`receipt.js`); their decryption is the command line's to verify.
 */

import { fromBase64, fromHex, toHex } from "./bytes.js";
import { POINT_BYTES } from "./curve.js";
import { MOST_CUSTODIANS, hash, list, requireKeys, requireSpelling, whole } from "./receiptfields.js";
import { malformed } from "./refused.js";

const PLACE_BITS = 4;
const MOST_NOISED = 2 * POINT_BYTES * 1024; // bytes: of 1,024 sums
const PROOF_BYTES = 96;
const STEP = ["block", "block_hash", "transaction"];

/** @typedef {{place: number, digest: Uint8Array}} Committed a custodian's hash of its noise */
/**
 * @typedef {object} TallyPart
 * @property {number[]} places whose noise counts, ascending
 * @property {Committed[]} commitments ascending by place
 * @property {Uint8Array} noised the sums with all noise, 66 bytes each
 */

/**
 * @param {any} given
 * @returns {TallyPart}
 * @throws {Refused} malformed_message, bad_parameter
 */
export function tallyOf(given) {
  requireKeys(given, ["places", "commitments", "committed", "fixed", "joint_key", "noised", "partials"], "tally");
  const places = list(given.places, MOST_CUSTODIANS, "tally.places", placeOf);
  requireAscending(places, "tally.places");
  const commitments = list(given.commitments, MOST_CUSTODIANS, "tally.commitments", committedOf);
  requireAscending(commitments.map(({ place }) => place), "tally.commitments");
  for (const name of ["committed", "fixed"]) requireStep(given[name], `tally.${name}`);
  const key = fromHex(given.joint_key, "tally.joint_key", POINT_BYTES * MOST_CUSTODIANS);
  requireSpelling(toHex(key), given.joint_key, "tally.joint_key");
  const noised = fromBase64(given.noised, "tally.noised", MOST_NOISED);
  const partials = list(given.partials, MOST_CUSTODIANS, "tally.partials", partialOf);
  requireAscending(partials, "tally.partials");
  return { places, commitments, noised };
}

function placeOf(value, at) {
  return whole(value, PLACE_BITS, at);
}

function committedOf(pair, at) {
  if (!Array.isArray(pair) || pair.length !== 2) malformed(at, "must be a place and a hash");
  return { place: placeOf(pair[0], at), digest: hash(pair[1], at) };
}

function requireStep(given, at) {
  requireKeys(given, STEP, at);
  whole(given.block, 53, `${at}.block`);
  hash(given.block_hash, `${at}.block_hash`);
  hash(given.transaction, `${at}.transaction`);
}

function partialOf(given, at) {
  requireKeys(given, ["place", "partial"], at);
  fromBase64(given.partial, `${at}.partial`, PROOF_BYTES + MOST_NOISED);
  return placeOf(given.place, `${at}.place`);
}

function requireAscending(places, at) {
  const ascends = places.every((place, i) => i === 0 || places[i - 1] < place);
  if (!ascends) malformed(at, "must ascend by place, each place once");
}
