/** A receipt's checks as a person reads them: those of the file alone, and those against what a chain is said to have. */

import { equal } from "./bytes.js";
import { canonical } from "./canonical.js";
import { isSameManifest } from "./manifest.js";
import { ALONE, ALONE_OF_SUMS } from "./receipt.js";
import { Refused } from "./refused.js";

const MEANS = {
  request: "The request is the hash of chain, market, researcher and terms.",
  parameters: "The parameters are those that the terms name.",
  analysis: "The analysis is the one that the terms name.",
  shards: "Every part of the cohort has the members and the root that it states.",
  cohort: "The parts lead to the root that was sealed.",
  settlement: "What custodians signed is of this request, cohort, epoch, noise and gate.",
  delivery: "The sealed result is the one that they signed.",
  signatures: "A quorum of custodians signed it, each with the key that the receipt names.",
  aggregate: "The noised sums are those that they signed, with the noise that counts.",
};

/** Where nobody opened a record there is no gate. */
const OF_SUMS = { settlement: "What custodians signed is of this request, cohort and epoch, and of the noise that counts." };

/** @typedef {import("./receiptfile.js").Receipt} Receipt */
/** What the command line alone makes, of a receipt of the homomorphic lane; how, in words of the commands below it. */
const BY_COMMAND = [
  {
    means: "A quorum's parts decrypt these sums to what was delivered, each proven to be by its custodian's share of the joint key.",
    why: "Pages do not compute it: `usufruct verify-receipt` does.",
  },
  {
    means: "The sums are those of the cohort's encrypted records, and every custodian's noise is within its bound.",
    why: "Pages do not compute it: `usufruct verify-receipt --bundle FILE` does.",
  },
  {
    means: "Every record's encrypted values are within the dictionary's bounds.",
    why: "Pages do not compute it: `usufruct verify-receipt --bundle FILE` does, of a bundle that was fetched with `--proofs`.",
  },
];

/** @typedef {{means: string, why: string|null}} Check `why` it could not be made here; null where it held */
/** @typedef {{means: string, holds: boolean|null}} Comparison null where it is not told, or not decided yet */

/**
 * @param {Receipt} receipt
 * @returns {Check[]} all that need no node
 * @throws {Refused} receipt_invalid
 */
export function checkedAlone(receipt) {
  const isOfSums = receipt.tally !== null;
  const means = isOfSums ? { ...MEANS, ...OF_SUMS } : MEANS;
  const mine = (isOfSums ? [...ALONE, ...ALONE_OF_SUMS] : ALONE).map(({ name, check }) => made(means[name], () => check(receipt)));
  return isOfSums ? [...mine, ...BY_COMMAND] : mine;
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

/** Parts that hashes in the receipt prove to belong to the rest: for these no node is asked. */
const HASHED = ["schema", "terms", "analysis", "parameters", "sealed_result"];
const SETTLED = "What the custodians signed is what was settled.";
const OF_GATE = [["gate", "gate_key"], "The gate and its key are those that were recorded."];
const ANCHORED = [
  [["chain_id", "genesis_hash", "deployed_block", "contracts"], "Chain, contracts and their code are those of this market."],
  [["request", "researcher", "cost", "price", "fee"], "It was asked by the researcher whom the receipt names, at this cost and price."],
  [["cohort"], "The sealed cohort has this root, these members and this block."],
  [["epoch", "committee"], "Custodians and quorum are those of the epoch that it was frozen in."],
  OF_GATE,
  [["settlement"], SETTLED],
  [["signatures"], "The signatures are those that it was settled with, all of them."],
  [["blocks", "block_hashes", "transactions"], "It was opened, frozen, sealed and settled in these blocks, by these transactions."],
];
const OF_TALLY = [["tally"], "Everybody's noise commitments, whose noise counts, in which blocks that was fixed, and the joint key are what the chain keeps."];
/** Where there is no gate, zeros stand for it: they are compared, and no gate is spoken of. */
const ANCHORED_OF_SUMS = [
  ...ANCHORED.filter((each) => each !== OF_GATE).map(([names, means]) => [means === SETTLED ? [...OF_GATE[0], ...names] : names, means]),
  OF_TALLY,
];
const NAMED = ["tally", ...HASHED, ...ANCHORED.flatMap(([names]) => names)];

/**
 * By what this browser keeps of the market: chain and contracts' addresses; where it has a manifest, code and first block.
 * @param {Receipt} receipt
 * @param {{chainId: number, contracts: Object<string, string>}} market
 * @param {object|null} manifest
 */
export function isOf({ document }, { chainId, contracts }, manifest) {
  const named = document.contracts;
  const names = [...new Set([...Object.keys(named), ...Object.keys(contracts)])];
  const isThere = names.every((name) => named[name]?.address === contracts[name]);
  return document.chain_id === chainId && isThere && (manifest === null || isSameManifest(document, manifest));
}

/**
 * Every part of the receipt that it cannot prove by itself: what nobody tells is left open.
 * @param {Receipt} receipt
 * @param {any} anchors what an operator says that the chain keeps of the request, as GET /verify/{request} gives it
 * @returns {Comparison[]}
 */
export function compared({ document }, anchors) {
  const { stage, final, receipt: told } = anchors ?? {};
  const { shards, ...cohort } = document.cohort; // the root proves the shards
  const mine = { ...document, cohort, ...onChain(document) };
  const others = Object.keys(mine).filter((name) => !NAMED.includes(name));
  const known = Object.hasOwn(mine, "tally") ? ANCHORED_OF_SUMS : ANCHORED;
  const groups = others.length === 0 ? known : [...known, [others, "All else that it states is what the chain has."]];
  return [
    { means: "The request is settled.", holds: stage === "settled" },
    { means: "The settlement is final: no change of the chain takes it back.", holds: final === true || null },
    ...groups.map(([names, means]) => ({ means, holds: agree(names, mine, told) })),
  ];
}

/** Of sums: all but them and what decrypted them, which no chain keeps and the signatures bind (`BY_COMMAND`). */
function onChain({ tally }) {
  if (tally === undefined) return {};
  const { noised, partials, ...kept } = tally;
  return { tally: kept };
}

/** @returns {boolean|null} null where nobody says, or not of all of them */
function agree(names, mine, told) {
  const found = names.map((name) => told?.[name] === undefined ? null : isSame(mine[name], told[name]));
  if (found.includes(false)) return false;
  return found.includes(null) ? null : true;
}

function isSame(mine, told) {
  try {
    return equal(canonical(mine), canonical(told));
  } catch (fault) {
    if (fault instanceof Refused) return false; // nothing that a receipt can hold
    throw fault;
  }
}

/**
 * @param {Check[]} alone
 * @param {Comparison[]} anchored
 * @returns {"holds"|"sums"|"differs"|"open"} `holds` only where each part of it was looked at and is as it has to be; `sums`
 *   where nothing is left but what the command line alone computes of encrypted sums
 */
export function verdictOf(alone, anchored) {
  if (anchored.some(({ holds }) => holds === false)) return "differs";
  const left = alone.filter(({ why }) => why !== null);
  if (!anchored.every(({ holds }) => holds === true) || !left.every((each) => BY_COMMAND.includes(each))) return "open";
  return left.length === 0 ? "holds" : "sums";
}
