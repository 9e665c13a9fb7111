/**
 * A sealed record as one canonical JSON document (usufruct-record/1; /2 with a tally), written and read from hostile bytes.
 */

import { address } from "./address.js";
import { bytes32, equal, fromBase64, fromHex, toBase64, toHex } from "./bytes.js";
import { canonical, parse } from "./canonical.js";
import { SCALAR_BYTES } from "./curve.js";
import { MOST_CUSTODIANS, requirePoints } from "./feldman.js";
import { hasExactly } from "./json.js";
import * as hpke from "./hpke.js";
import { NONCE_BYTES, VAULT, commitmentOf } from "./record.js";
import { Refused, badParameter, refuse } from "./refused.js";
import { read as readTally, toJson as tallyToJson } from "./tally/file.js";

export const SCHEMA = "usufruct-record/1";
export const WITH_TALLY = "usufruct-record/2";
/** Bytes of any record: of one with a tally. */
export const LARGEST = 512 * 1024;
const TAG_BYTES = 16;
const LARGEST_BOX = 64 * 1024;
const LARGEST_RECORD = 128 * 1024; // the box in base64 and 16 envelopes
const ENVELOPE_BYTES = hpke.OVERHEAD + SCALAR_BYTES;
const KEYS = [
  ...["box", "chain_id", "commitment", "dataset", "dictionary_hash", "epoch", "key_commitments", "lane"],
  ...["patient", "record_version", "registry", "schema", "shares"],
];
/** Members of a context and what a refusal calls them. */
const CONTEXT = {
  chainId: "chain_id",
  registry: "registry",
  dataset: "dataset",
  patient: "patient",
  dictionaryHash: "dictionary_hash",
  recordVersion: "record_version",
  lane: "lane",
};

/** @param {import("./record.js").SealedRecord} record @returns {Uint8Array} canonical JSON */
export function dump(record) {
  const { context, tally = null } = record;
  return canonical({
    schema: tally === null ? SCHEMA : WITH_TALLY,
    chain_id: context.chainId,
    registry: context.registry,
    dataset: toHex(context.dataset),
    patient: context.patient,
    record_version: context.recordVersion,
    lane: context.lane,
    dictionary_hash: toHex(context.dictionaryHash),
    epoch: record.epoch,
    box: toBase64(record.box),
    key_commitments: record.keyCommitments.map(toHex),
    shares: record.shares.map(({ index, envelope }) => ({ index, envelope: toBase64(envelope) })),
    commitment: toHex(commitmentOf(record)),
    ...(tally === null ? {} : { tally: tallyToJson(tally) }),
  });
}

/**
 * That a tally's proof holds, it does not say.
 * @param {Uint8Array} data
 * @param {import("./record.js").Context} [expected] where it was found
 * @returns {import("./record.js").SealedRecord} its commitment recomputed, its context compared
 * @throws {Refused} record_unreadable naming the field at fault
 */
export function load(data, expected) {
  const document = parse(data, { limit: limitOf(data), code: "record_unreadable" });
  const keys = document?.schema === WITH_TALLY ? [...KEYS, "tally"] : KEYS;
  if (!hasExactly(document, keys) || ![SCHEMA, WITH_TALLY].includes(document.schema)) {
    return unreadable("schema", `The document is not a ${SCHEMA} with exactly its keys.`);
  }
  const record = readChecked(document);
  if (document.commitment !== toHex(commitmentOf(record))) {
    return unreadable("commitment", "The commitment does not match box and key commitments.");
  }
  if (expected !== undefined) requireContext(record, expected);
  return record;
}

/** As the servers do: only what calls itself a record with a tally may be as large as one. */
function limitOf(data) {
  const isLarger = data.length > LARGEST_RECORD && new TextDecoder("latin1").decode(data).includes(`"schema":"${WITH_TALLY}"`);
  return isLarger ? LARGEST : LARGEST_RECORD;
}

/** The record says that it belongs where it was found. @throws {Refused} record_unreadable */
export function requireContext(record, expected) {
  for (const [member, name] of Object.entries(CONTEXT)) {
    const [found, wanted] = [record.context[member], expected[member]];
    const same = found instanceof Uint8Array ? equal(found, wanted) : String(found) === String(wanted);
    if (!same) unreadable(name, `The record is for another ${name}.`);
  }
}

function readChecked(document) {
  try {
    const record = read(document);
    requirePoints(record.keyCommitments);
    return record;
  } catch (fault) {
    if (!(fault instanceof Refused) || fault.code === "record_unreadable") throw fault;
    return unreadable(fault.field ?? "record", fault.message);
  }
}

function read(document) {
  const box = fromBase64(document.box, "box", LARGEST_BOX);
  if (box.length < NONCE_BYTES + TAG_BYTES) {
    return unreadable("box", `The box has ${box.length} bytes; at most ${LARGEST_BOX} are allowed.`);
  }
  const keyCommitments = list(document.key_commitments, "key_commitments", (text, field) => fromHex(text, field, 33));
  const shares = list(document.shares, "shares", shareOf);
  const ordered = shares.every(({ index }, i) => index === i + 1);
  if (!ordered || keyCommitments.length < 1 || keyCommitments.length > shares.length) {
    return unreadable("shares", "Shares are not those of custodians 1..n, n at least the quorum.");
  }
  const epoch = whole(document.epoch, 32, "epoch");
  const tally = document.schema === WITH_TALLY ? readTally(document.tally) : null;
  return { context: contextOf(document), epoch, box, keyCommitments, shares, tally };
}

function contextOf(document) {
  if (document.lane !== VAULT) return unreadable("lane", "The lane is unknown.");
  return {
    chainId: whole(document.chain_id, 53, "chain_id"),
    registry: address(document.registry, "registry"),
    dataset: bytes32(document.dataset, "dataset"),
    patient: address(document.patient, "patient"),
    dictionaryHash: bytes32(document.dictionary_hash, "dictionary_hash"),
    recordVersion: whole(document.record_version, 32, "record_version"),
    lane: VAULT,
  };
}

function shareOf(entry, field) {
  if (!hasExactly(entry, ["envelope", "index"])) return unreadable(field, "A share has exactly index and envelope.");
  const envelope = fromBase64(entry.envelope, `${field}.envelope`, LARGEST_RECORD);
  if (envelope.length !== ENVELOPE_BYTES) {
    return unreadable(`${field}.envelope`, `An envelope has ${ENVELOPE_BYTES} bytes.`);
  }
  return { index: whole(entry.index, 8, `${field}.index`), envelope };
}

function list(value, field, readOne) {
  if (!Array.isArray(value) || value.length > MOST_CUSTODIANS) {
    return unreadable(field, `${field} is not a list of at most ${MOST_CUSTODIANS}.`);
  }
  return value.map((item, i) => readOne(item, `${field}[${i}]`));
}

function whole(value, bits, field) {
  if (Number.isSafeInteger(value) && value >= 0 && value < 2 ** bits) return value;
  return badParameter(field, `is not a whole number below 2^${bits}`, `Give ${field} as an integer.`);
}

function unreadable(field, message) {
  return refuse("record_unreadable", message, "Seal the record again and send it unchanged.", field);
}
