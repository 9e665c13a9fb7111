/**
 * Reads a receipt (usufruct-receipt/1, and /2 of the homomorphic lane) from hostile bytes: exactly its keys, every value in its one spelling.
 * That it can be read says nothing yet of its truth; `receipt.js` and the servers' `verify` do.
 */

import { fromBase64, fromHex, toHex } from "./bytes.js";
import { parseCanonical } from "./canonical.js";
import { isShallow } from "./json.js";
import { MOST_CUSTODIANS, account, amount, hash, list, requireKeys, requireSpelling, text, whole } from "./receiptfields.js";
import { tallyOf } from "./receipttally.js";
import { Refused, malformed, refuse } from "./refused.js";
import { MOST_BITMAPS, MOST_SHARDS } from "./roots.js";
import { fromJson, toJson } from "./solidity.js";
import { classId } from "./terms.js";

export const SCHEMA = "usufruct-receipt/1";
export const WITH_TALLY = "usufruct-receipt/2"; // of the homomorphic lane
const MOST_OF_CHAIN = 1 << 23; // bytes: 64 full shards in base64 are 7 MB
export const LARGEST = MOST_OF_CHAIN + (2 << 20); // 1,024 sums and their partial decryptions beside
const DEEPEST = 16;
const MOST_RESULT = 1 << 17; // bytes
const SIGNATURE_BYTES = 65;
const STEPS = ["frozen", "opened", "sealed", "settled"];
const KEYS = [
  ...["schema", "chain_id", "genesis_hash", "deployed_block", "contracts", "request", "researcher", "terms"],
  ...["analysis", "parameters", "epoch", "committee", "gate", "gate_key", "cohort", "settlement", "signatures"],
  ...["sealed_result", "blocks", "block_hashes", "transactions", "cost", "price", "fee"],
];

/**
 * @typedef {object} Receipt bytes are Uint8Array, amounts BigInt, terms and settlement checked structs
 * @property {number} chainId
 * @property {string} market address
 * @property {Uint8Array} request
 * @property {string} researcher
 * @property {object} terms RequestTerms
 * @property {string} analysis
 * @property {string} parameters
 * @property {number} epoch
 * @property {{signers: string[], quorum: number}} committee
 * @property {string} gate
 * @property {Uint8Array} gateKey
 * @property {object} cohort members, sealBlock, sealBlockHash, root, shards
 * @property {object} settlement Settlement
 * @property {{place: number, signature: Uint8Array}[]} signatures
 * @property {Uint8Array} sealedResult
 * @property {{block: number, blockHash: Uint8Array}} sealed
 * @property {bigint} cost
 * @property {bigint} price
 * @property {bigint} fee
 * @property {import("./receipttally.js").TallyPart|null} tally null in the vault lane
 * @property {any} document all of it, as it was written
 */

/**
 * @param {Uint8Array} data
 * @returns {Receipt}
 * @throws {Refused} receipt_invalid, naming the field that is missing, unknown or misspelt
 */
export function load(data) {
  try {
    if (!isShallow(data, DEEPEST)) malformed("$", "is nested too deeply");
    return read(parseCanonical(data, { limit: LARGEST }));
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    const remedy = `Give the receipt exactly as it was issued (${SCHEMA}, or ${WITH_TALLY} of the homomorphic lane).`;
    return refuse("receipt_invalid", `The receipt cannot be read. ${fault.message}`, remedy, fault.field);
  }
}

function read(given) {
  const isTallied = typeof given === "object" && given !== null && Object.hasOwn(given, "tally");
  requireKeys(given, isTallied ? [...KEYS, "tally"] : KEYS, "receipt");
  const schema = isTallied ? WITH_TALLY : SCHEMA;
  if (given.schema !== schema) malformed("schema", `must be ${schema}`);
  whole(given.deployed_block, 53, "deployed_block");
  hash(given.genesis_hash, "genesis_hash");
  const terms = struct("RequestTerms", given.terms, "terms");
  return {
    chainId: whole(given.chain_id, 53, "chain_id"),
    market: marketOf(given.contracts),
    request: hash(given.request, "request"),
    researcher: account(given.researcher, "researcher"),
    terms,
    analysis: text(given.analysis, "analysis"),
    parameters: text(given.parameters, "parameters"),
    epoch: whole(given.epoch, 32, "epoch"),
    committee: committeeOf(given.committee),
    gate: account(given.gate, "gate"),
    gateKey: hash(given.gate_key, "gate_key"),
    cohort: cohortOf(given.cohort, terms.dataset),
    settlement: struct("Settlement", given.settlement, "settlement"),
    signatures: list(given.signatures, MOST_CUSTODIANS, "signatures", signatureOf),
    sealedResult: fromBase64(given.sealed_result, "sealed_result", MOST_RESULT),
    sealed: sealedStep(given),
    cost: amount(given.cost, 56, "cost"),
    price: amount(given.price, 56, "price"),
    fee: amount(given.fee, 64, "fee"),
    tally: isTallied ? tallyOf(given.tally) : null,
    document: given,
  };
}

function marketOf(contracts) {
  const isObject = typeof contracts === "object" && contracts !== null && !Array.isArray(contracts);
  if (!isObject) malformed("contracts", "must be an object");
  for (const [name, each] of Object.entries(contracts)) {
    const at = `contracts.${name.slice(0, 40)}`;
    requireKeys(each, ["address", "code_hash"], at);
    account(each.address, `${at}.address`);
    hash(each.code_hash, `${at}.code_hash`);
  }
  if (!Object.hasOwn(contracts, "ResearchMarket")) malformed("contracts.ResearchMarket", "is missing");
  return contracts.ResearchMarket.address;
}

function committeeOf(given) {
  requireKeys(given, ["signers", "quorum"], "committee");
  return {
    signers: list(given.signers, MOST_CUSTODIANS, "committee.signers", account),
    quorum: whole(given.quorum, 8, "committee.quorum"),
  };
}

function cohortOf(given, dataset) {
  requireKeys(given, ["members", "seal_block", "seal_block_hash", "root", "shards"], "cohort");
  return {
    members: whole(given.members, 32, "cohort.members"),
    sealBlock: whole(given.seal_block, 53, "cohort.seal_block"),
    sealBlockHash: hash(given.seal_block_hash, "cohort.seal_block_hash"),
    root: hash(given.root, "cohort.root"),
    shards: list(given.shards, MOST_SHARDS, "cohort.shards", (each, at) => shardOf(each, at, dataset)),
  };
}

function shardOf(given, at, dataset) {
  requireKeys(given, ["class", "shard", "members", "root", "bitmaps"], at);
  const index = whole(given.class, 16, `${at}.class`);
  if (index === 0) malformed(`${at}.class`, "must be a class index from 1 to 65535");
  return {
    classId: classId(dataset, index),
    shard: whole(given.shard, 16, `${at}.shard`),
    members: whole(given.members, 32, `${at}.members`),
    root: hash(given.root, `${at}.root`),
    bitmaps: fromBase64(given.bitmaps, `${at}.bitmaps`, MOST_BITMAPS),
  };
}

function signatureOf(given, at) {
  requireKeys(given, ["place", "signature"], at);
  const signature = fromHex(given.signature, `${at}.signature`, SIGNATURE_BYTES);
  requireSpelling(toHex(signature), given.signature, `${at}.signature`);
  return { place: whole(given.place, 8, `${at}.place`), signature };
}

function sealedStep({ blocks, block_hashes: hashes, transactions }) {
  for (const [name, given, check] of [
    ["blocks", blocks, (value, at) => whole(value, 53, at)],
    ["block_hashes", hashes, hash],
    ["transactions", transactions, hash],
  ]) {
    requireKeys(given, STEPS, name);
    for (const step of STEPS) check(given[step], `${name}.${step}`);
  }
  return { block: blocks.sealed, blockHash: hash(hashes.sealed, "block_hashes.sealed") };
}

function struct(name, json, field) {
  const known = fromJson(name, json, `${field}.`);
  const same = Object.entries(toJson(name, known)).every(([key, value]) => spelled(value) === spelled(json[key]));
  return same ? known : malformed(field, "is not in its one canonical spelling");
}

function spelled(value) {
  if (typeof value !== "object" || value === null) return String(value);
  return JSON.stringify(Object.entries(value).sort().map(([key, each]) => [key, spelled(each)]));
}
