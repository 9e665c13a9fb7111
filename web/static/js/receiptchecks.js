/** A receipt's checks as a person reads them: those of the file alone, and those against what a chain is said to have. */

import { equal, fromHex } from "./bytes.js";
import { ALONE } from "./receipt.js";
import { Refused } from "./refused.js";

const MEANS = {
  request: "The request is the hash of chain, market, researcher and terms.",
  parameters: "The parameters are those that the terms name.",
  analysis: "The analysis is the one that the terms name.",
  shards: "Every part of the cohort has the members and the root that it states.",
  cohort: "The parts lead to the root that was sealed.",
  settlement: "What custodians signed is of this request, cohort, epoch and gate.",
  delivery: "The sealed result is the one that they signed.",
  signatures: "A quorum of custodians signed it, each with the key that the receipt names.",
};

/** @typedef {import("./receiptfile.js").Receipt} Receipt */
/** @typedef {{means: string, why: string|null}} Check `why` it could not be made here; null where it held */
/** @typedef {{means: string, holds: boolean}} Comparison */

/**
 * @param {Receipt} receipt
 * @returns {Check[]} all that need no node
 * @throws {Refused} receipt_invalid
 */
export function checkedAlone(receipt) {
  return ALONE.map(({ name, check }) => made(MEANS[name], () => check(receipt)));
}

/** One check; that only a node can make it is said, anything else that fails ends all. */
function made(means, check) {
  try {
    check();
    return { means, why: null };
  } catch (refused) {
    if (!(refused instanceof Refused) || refused.code !== "receipt_needs_node") throw refused;
    return { means, why: refused.message };
  }
}

/**
 * @param {Receipt} receipt
 * @param {any} anchors what an operator says that the chain keeps of the request
 * @returns {Comparison[]}
 */
export function compared(receipt, anchors) {
  const { cohort, settlement, committee } = receipt;
  const places = committee.signers.length === anchors.signers?.length;
  const signers = places && committee.signers.every((each, place) => each === anchors.signers[place]);
  const hashes = (mine, theirs) => equal(mine, fromHex(theirs, "hash", 32));
  const told = [
    ["The request is settled.", anchors.stage === "settled"],
    ["It was asked by the researcher whom the receipt names.", receipt.researcher === anchors.researcher],
    ["The sealed cohort has this root, these members and this block.", hashes(cohort.root, anchors.root) && same(cohort.members, anchors.members) && same(cohort.sealBlock, anchors.seal_block)],
    ["Custodians and quorum are those of the epoch that it was frozen in.", same(receipt.epoch, anchors.epoch) && signers && same(committee.quorum, anchors.quorum)],
    ["The gate and its key are those that were recorded.", receipt.gate === anchors.gate && hashes(receipt.gateKey, anchors.gate_key)],
    ["The result that they signed has the hash that the market keeps.", hashes(settlement.resultHash, anchors.result_hash)],
  ];
  return told.map(([means, holds]) => ({ means, holds }));
}

function same(mine, theirs) {
  return theirs !== null && BigInt(mine) === BigInt(theirs);
}
