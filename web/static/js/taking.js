/** What a person takes along (usufruct-export/1), put together in the browser. */

import { bytes32, equal, fromBase64, fromHex } from "./bytes.js";
import { canonical } from "./canonical.js";
import { decodeRow } from "./dictionary.js";
import { isSecretOf } from "./opening.js";
import { NONCE_BYTES, VAULT, commitmentWith, openBox } from "./record.js";
import { refuse } from "./refused.js";
import { headerIn } from "./tally/file.js";
import { shownRow } from "./values.js";

export const SCHEMA = "usufruct-export/1";
const LARGEST_BOX = 64 * 1024;
const HEAD = ["kind", "time (UTC)", "request", "class", "privacy cost (nano-rho)", "amount (token units)", "details"];

/**
 * The values of a record, by the keys of the person that sealed it.
 * @param {{header: object, box: string}} held as the server has it
 * @param {import("./keys.js").Root} root
 * @param {import("./dictionary.js").Dictionary} dictionary
 * @returns {Promise<import("./values.js").Shown[]>}
 * @throws {Refused} record_unreadable; other_keys, it was sealed with another secret: by a clinic, or other keys
 */
export async function openedValues({ header, box: encoded }, root, dictionary) {
  const box = fromBase64(encoded, "box", LARGEST_BOX);
  const context = contextOf(header);
  const keyCommitments = header.key_commitments.map((text) => fromHex(text, "key_commitments", 33));
  const record = { context, box, keyCommitments };
  if (!equal(commitmentWith(record, headerIn(header)), bytes32(header.commitment, "commitment"))) {
    refuse("record_unreadable", "The ciphertext is not the one whose fingerprint is on chain.", "Tell the operator.");
  }
  const secret = await root.recordSecret(context, box.slice(0, NONCE_BYTES));
  if (!isSecretOf(secret, record)) {
    const message = "These keys did not seal this record: your clinic did, or other keys of yours.";
    refuse("other_keys", message, "Ask the clinic for the values. All else can be exported.");
  }
  return shownRow(dictionary, decodeRow(dictionary, await openBox(secret, context, box)));
}

function contextOf(header) {
  return {
    chainId: header.chain_id,
    registry: header.registry,
    dataset: bytes32(header.dataset, "dataset"),
    patient: header.patient,
    dictionaryHash: bytes32(header.dictionary_hash, "dictionary_hash"),
    recordVersion: header.record_version,
    lane: VAULT,
  };
}

/**
 * @param {object} parts `market`, `account`, `dataset`, `name`, `held` (null without one), `values` (null unopened),
 *   `consent`, `timeline`; `now` in milliseconds
 * @returns {Uint8Array} canonical JSON
 */
export function exportFile({ market, account, dataset, name, held, values, consent, timeline, now = Date.now() }) {
  return canonical({
    schema: SCHEMA,
    made_at: new Date(now).toISOString(),
    deployment: { chain_id: market.chainId, contracts: market.contracts },
    address: account,
    dataset: { id: dataset, name },
    record: held,
    values: values === null ? null : values.map(({ name: variable, value, unit }) => ({ name: variable, value, unit })),
    consent,
    timeline,
  });
}

/** @param {import("./values.js").Shown[]} values @returns {string[][]} rows of a table */
export function valueRows(values) {
  return [["variable", "label", "value", "unit"], ...values.map(({ name, label, value, unit }) => [name, label, value ?? "", unit])];
}

/** @param {object[]} timeline @returns {unknown[][]} rows of a table, one an entry */
export function timelineRows(timeline) {
  return [HEAD, ...timeline.map(timelineRow)];
}

function timelineRow({ kind, at, request, class_index: index, cost, amount, ...details }) {
  const time = new Date(Number(at) * 1_000).toISOString();
  const rest = Object.entries(details).map(([name, value]) => `${name}: ${value}`);
  return [kind, time, request, index, cost, amount, rest.join("; ")];
}
