/**
 * Under whose key columns are encrypted: that which all custodians made together and none of them has, by their own word,
 * past this operator. Whoever had columns encrypted under a key of its own would read every value.
 */

import { fromHex, toHex } from "./bytes.js";
import { voicesIn } from "./committee.js";
import { POINT_BYTES, isPoint } from "./curve.js";
import { Refused, refuse } from "./refused.js";

const LATER = "Nothing was sealed. Try again in a few minutes; if this stays, ask the steward of the dataset.";

/**
 * @param {import("./committee.js").Committee} committee as the operator tells it
 * @param {Array<import("./committee.js").Word|null>} said of this committee, as `requireSaid` gives it
 * @param {string[]} urls of those custodians, in the same order
 * @param {number} least how many of them have to name the same key
 * @returns {Uint8Array} the joint key, 33 bytes
 * @throws {Refused} no_joint_key; wrong_joint_key, where one that answers names another; joint_key_unconfirmed
 */
export function requireJointKey({ joint_key: told = null }, said, urls, least) {
  if (told === null) {
    const message = "The custodians have not made their common key yet, this site says: without it nothing can be sealed for this dataset.";
    refuse("no_joint_key", message, LATER);
  }
  const key = readKey(told);
  const named = toHex(key);
  const voices = voicesIn(said.filter((word) => word !== null && word.jointKey === named));
  if (voices >= least) return key;
  said.forEach((word, i) => {
    if (word !== null && word.jointKey !== null && word.jointKey !== named) contradicted(urls[i]);
  });
  const message = `Only ${voices} of the custodians that this browser knows said that their common key is the one which this site names; ${least} have to.`;
  return refuse("joint_key_unconfirmed", message, LATER);
}

function readKey(told) {
  try {
    const key = fromHex(told, "joint_key", POINT_BYTES);
    if (isPoint(key)) return key;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
  }
  const message = "What this site names as the custodians' common key is none.";
  return refuse("wrong_joint_key", message, "Nothing was sealed. Do not go on here: tell the steward of the dataset.");
}

function contradicted(url) {
  const message = `The custodian at ${new URL(url).host} names another common key than this site does: whoever has the key of this site could read what is sealed with it.`;
  const remedy = "Nothing was sealed. Do not go on here: tell your clinic and the steward of the dataset what this page says.";
  refuse("wrong_joint_key", message, remedy);
}
