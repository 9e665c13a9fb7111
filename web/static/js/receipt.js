/**
 * What a receipt's parts must be to each other: arithmetic and signatures, no node needed. Passing proves
 * nothing about any chain; `usufruct verify-receipt` and the operator's own check do. The counterpart of
 * `receipts.checks`.
 */

import { analysisHash, parametersText } from "./analysis.js";
import { equal, toHex, utf8 } from "./bytes.js";
import { parse } from "./canonical.js";
import { SCHEMA as RESULT_SCHEMA, deliveryHash, resultHash } from "./delivery.js";
import { recover } from "./eip712.js";
import { keccak, keccakText } from "./hash.js";
import { HOMOMORPHIC, VAULT } from "./lanes.js";
import { domainOf } from "./messages.js";
import { Refused, refuse } from "./refused.js";
import { cohortRoot, members, shardRoot } from "./roots.js";
import { taggedHash } from "./tagged.js";
import { requestId } from "./terms.js";

const SETTLEMENT_SCHEMA = 1n;
const NOBODY = "0x0000000000000000000000000000000000000000";
const NOT_OF_LANE = "is not of the lane that the receipt's schema is for";
const DIFFERS = "differs from its other mention in the receipt";
const NOT_HASHED = "does not have the hash that was agreed on";
const NO_PLACE = "is no place of the committee";

/** @typedef {import("./receiptfile.js").Receipt} Receipt */
/** @typedef {{name: string, check: (receipt: Receipt) => void}} Check */

/** @type {Check[]} all that need no node, in order; each throws receipt_invalid (signatures: receipt_needs_node) */
export const ALONE = [
  { name: "request", check: requireRequest },
  { name: "parameters", check: parameters },
  { name: "analysis", check: analysis },
  { name: "shards", check: shards },
  { name: "cohort", check: cohort },
  { name: "settlement", check: settlement },
  { name: "delivery", check: delivered },
  { name: "signatures", check: requireSignatures },
];

/** @type {Check[]} of the homomorphic lane, after `ALONE` */
export const ALONE_OF_SUMS = [{ name: "aggregate", check: aggregate }];

/**
 * The id is the hash of chain, market, researcher and terms; the copies beside agree.
 * @param {Receipt} receipt
 * @throws {Refused} receipt_invalid
 */
export function requireRequest(receipt) {
  const expected = requestId(receipt.chainId, receipt.market, receipt.researcher, receipt.terms);
  same("request", "request", receipt.request, expected, "is not the hash of the terms");
  for (const name of ["cost", "price", "fee"]) same("request", name, receipt[name], receipt.terms[name], DIFFERS);
  if (receipt.cost === 0n) invalid("request", "cost", "is 0, at which no request is opened");
}

function parameters(receipt) {
  same("parameters", "parameters", keccakText(receipt.parameters), receipt.terms.parameters, NOT_HASHED);
}

function analysis(receipt) {
  same("analysis", "analysis", analysisHash(receipt.analysis), receipt.terms.analysis, NOT_HASHED);
}

/** Every shard's bitmaps have its members and root, and the members add up. */
function shards({ cohort: part }) {
  part.shards.forEach((shard, i) => {
    const at = `cohort.shards[${i}]`;
    const root = rootOf(shard, `${at}.bitmaps`);
    same("shards", `${at}.members`, shard.members, members(shard.bitmaps), "is not what the bitmaps count");
    same("shards", `${at}.root`, shard.root, root, "is not the bitmaps' root");
  });
  const total = part.shards.reduce((sum, shard) => sum + shard.members, 0);
  same("shards", "cohort.members", part.members, total, "is not the shards' sum");
}

function rootOf(shard, at) {
  try {
    return shardRoot(shard);
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    return invalid("shards", at, "are not whole words");
  }
}

/** The shards' roots lead to the root, and the seal is where the receipt says that it is. */
function cohort({ chainId, market, request: id, cohort: part, sealed }) {
  const expected = cohortRoot(chainId, market, id, part.shards.map(({ root }) => root));
  same("cohort", "cohort.root", part.root, expected, "does not follow from the shards' roots");
  same("cohort", "cohort.seal_block", part.sealBlock, sealed.block, DIFFERS);
  same("cohort", "cohort.seal_block_hash", part.sealBlockHash, sealed.blockHash, DIFFERS);
}

/** What the custodians signed is of this request, cohort, epoch, noise and gate. */
function settlement(receipt) {
  const expected = {
    request: receipt.request,
    root: receipt.cohort.root,
    epoch: BigInt(receipt.epoch),
    lane: receipt.terms.lane,
    schema: SETTLEMENT_SCHEMA,
    gate: receipt.gate,
  };
  for (const [name, value] of Object.entries(expected)) {
    same("settlement", `settlement.${name}`, receipt.settlement[name], value, DIFFERS);
  }
  requireLane(receipt);
  same("settlement", "settlement.noise", receipt.settlement.noise, noiseOf(receipt), DIFFERS);
  if (receipt.tally !== null) counting(receipt.committee, receipt.tally);
}

/** The hash of the noise commitments that count, as the contract has it; zeros in the vault lane, whose gate draws its noise alone. */
function noiseOf({ chainId, market, request: id, cohort: { root }, epoch, tally }) {
  if (tally === null) return new Uint8Array(32);
  const committed = new Map(tally.commitments.map(({ place, digest }) => [place, digest]));
  const digests = tally.places.map((place) => committed.get(place) ?? new Uint8Array(32));
  const places = tally.places.reduce((mask, place) => mask + 2 ** place, 0);
  const types = ["uint256", "address", "bytes32", "bytes32", "uint32", "uint16", "bytes32[]"];
  return taggedHash("usufruct/noise/1", types, [chainId, market, id, root, epoch, places, digests]);
}

/** Whose noise counts are custodians of the committee that committed to it, a quorum of them at least. */
function counting({ signers, quorum }, { commitments, places }) {
  const committed = commitments.map(({ place }) => place);
  for (const [name, listed] of Object.entries({ commitments: committed, places })) {
    if (listed.some((place) => place >= signers.length)) invalid("settlement", `tally.${name}`, NO_PLACE);
  }
  if (!places.every((place) => committed.includes(place))) invalid("settlement", "tally.places", "names who committed to no noise");
  if (places.length < quorum) invalid("settlement", "tally.places", "are fewer than the quorum");
}

/** The noised sums are those that the settlement names, with its records and its noise. */
function aggregate({ chainId, market, request: id, cohort: { root }, epoch, tally: { noised }, settlement: signed }) {
  const session = taggedHash("usufruct/tally-session/1", ["uint256", "address", "bytes32", "bytes32", "uint32"], [chainId, market, id, root, epoch]);
  const four = ["bytes32", "bytes32", "bytes32", "bytes32"];
  const sums = taggedHash("usufruct/aggregate/1", four, [session, signed.ciphertextRoot, signed.noise, keccak(noised)]);
  same("aggregate", "tally.noised", signed.resultHash, taggedHash("usufruct/tally-result/1", ["bytes32"], [sums]), NOT_HASHED);
}

/** Each lane has its own schema; where nobody opened records there is no gate. */
function requireLane({ tally, terms, gate, gateKey }) {
  const lane = BigInt(tally === null ? VAULT : HOMOMORPHIC);
  same("settlement", "settlement.lane", BigInt(terms.lane), lane, NOT_OF_LANE);
  if (tally === null) return;
  same("settlement", "gate", gate, NOBODY, NOT_OF_LANE);
  same("settlement", "gate_key", gateKey, new Uint8Array(32), NOT_OF_LANE);
}

function delivered({ sealedResult, settlement: signed }) {
  same("delivery", "sealed_result", deliveryHash(sealedResult), signed.deliveryHash, NOT_HASHED);
}

/**
 * A quorum of the committee signed the settlement, each custodian once, in order of place.
 * @param {Receipt} receipt
 * @throws {Refused} receipt_invalid; receipt_needs_node, where one is by no custodian's own key
 */
export function requireSignatures(receipt) {
  requireCommittee(receipt.committee);
  const places = receipt.signatures.map(({ place }) => place);
  const ascend = places.every((place, i) => i === 0 || places[i - 1] < place);
  if (!ascend) invalid("signatures", "signatures", "do not ascend by place, each place once");
  if (places.length < receipt.committee.quorum) invalid("signatures", "signatures", "are fewer than the quorum");
  receipt.signatures.forEach((_, i) => signature(receipt, i));
}

/** One that `CustodianCommittee.openEpoch` takes: different members, and more than half of them act. */
function requireCommittee({ signers, quorum }) {
  if (new Set(signers).size !== signers.length) invalid("signatures", "committee.signers", "names a custodian twice");
  const isMost = signers.length < 2 * quorum && quorum <= signers.length;
  if (!isMost) invalid("signatures", "committee.quorum", "is not of more than half of the signers");
}

function signature(receipt, i) {
  const { place, signature: raw } = receipt.signatures[i];
  const { signers } = receipt.committee;
  if (place >= signers.length) invalid("signatures", `signatures[${i}].place`, NO_PLACE);
  if (signerOf(receipt, raw) === signers[place]) return;
  const field = `signatures[${i}].signature`;
  const message =
    `${field} is not by the key of the custodian's address. Where that is a contract wallet, ` +
    "only a node can tell whether it signed (step signatures).";
  const remedy = "Verify the receipt against a node of its chain; until then, do not rely on it.";
  refuse("receipt_needs_node", message, remedy, field);
}

function signerOf({ chainId, market, settlement: signed }, raw) {
  const domain = domainOf("ResearchMarket", { chainId, contracts: { ResearchMarket: market } });
  try {
    return recover("Settlement", signed, domain, raw);
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    return null;
  }
}

/**
 * What the researcher opened is the result that the custodians signed, to this question.
 * @param {Receipt} receipt
 * @param {import("./delivery.js").Opened} result
 * @throws {Refused} receipt_invalid
 */
export function requireOpened(receipt, { salt, result, document }) {
  same("opened", "result", resultHash(salt, result), receipt.settlement.resultHash, NOT_HASHED);
  const asked = parse(utf8(receipt.parameters), { limit: 1 << 20, code: "receipt_invalid" });
  const expected = {
    schema: RESULT_SCHEMA,
    request: toHex(receipt.request),
    analysis: receipt.analysis,
    parameters: parametersText(asked),
    cohort_size: receipt.cohort.members,
  };
  const found = { ...document, parameters: parametersText(document.parameters ?? null) };
  for (const [name, value] of Object.entries(expected)) {
    same("opened", `result.${name}`, found[name], value, "is not the receipt's");
  }
  const cost = costOf(document);
  if (cost > 0n && cost <= receipt.cost) return;
  invalid("opened", "result.noised.cost_nano_rho", "is not within the receipt's cost");
}

/** Nano-rho that a result says it spent; 0, which is nobody's, where it does not say. */
function costOf({ noised }) {
  const said = typeof noised === "object" && noised !== null ? noised.cost_nano_rho : null;
  return Number.isSafeInteger(said) || typeof said === "bigint" ? BigInt(said) : 0n;
}

function same(step, field, found, expected, problem) {
  const isSame = found instanceof Uint8Array ? equal(found, expected) : found === expected;
  if (!isSame) invalid(step, field, problem);
}

function invalid(step, field, problem) {
  const message = `The receipt is not valid: ${field} ${problem} (step ${step}).`;
  const remedy = "Do not rely on it. Ask for the receipt again, or build it from the chain.";
  return refuse("receipt_invalid", message, remedy, field);
}

