/** What a clinic's browser does with a draft: opens it, shows what is in it, and signs for it. */

import { bytes32, equal, fromBase64, fromHex, toHex } from "./bytes.js";
import { canonical } from "./canonical.js";
import { decodeRow, hashOf } from "./dictionary.js";
import { domainOf } from "./messages.js";
import { codeHash, codeText, isSecretOf, openOpening, OPENING_BYTES } from "./opening.js";
import { VAULT, commitmentOf, openBox } from "./record.js";
import { load } from "./recordfile.js";
import { refuse } from "./refused.js";
import { toJson } from "./solidity.js";
import { isOfRow } from "./tally/randomness.js";
import { shownRow } from "./values.js";

/** Seconds within which a signed attestation must be on chain. */
export const ATTESTATION_LIFE = 86_400;
const OTHER = "Decline it, and say that it does not open.";

/**
 * Opens a draft with the desk's key, and believes nothing of it that was not checked here.
 * @param {{commitment: string, patient: string, code: string, record: object, opening: string}} draft
 * @param {{place: import("./keys.js").Place, desk: import("./hpke.js").SecretKey, dictionary: object}} with_
 * @returns {Promise<{record: import("./record.js").SealedRecord, shown: import("./values.js").Shown[], code: string}>}
 * @throws {Refused} record_unreadable, envelope_unreadable, wrong_draft
 */
export async function openedDraft(draft, { place, desk, dictionary }) {
  const record = load(canonical(draft.record));
  const wanted = { ...place, patient: draft.patient, dictionaryHash: hashOf(dictionary), lane: VAULT };
  requireHere(record, wanted, bytes32(draft.commitment, "commitment"));
  const { code, secret } = await openOpening(fromBase64(draft.opening, "opening", OPENING_BYTES), desk, record);
  if (!equal(codeHash(code), fromHex(draft.code, "code", 32))) {
    refuse("wrong_draft", "What was left for you names another invitation than the one it came with.", OTHER);
  }
  if (!isSecretOf(secret, record)) {
    refuse("wrong_draft", "What was left for you does not open this record: custodians hold parts of another secret.", OTHER);
  }
  const row = decodeRow(dictionary, await openBox(secret, record.context, record.box));
  if (record.tally !== null && !(await isOfRow(record, secret, dictionary, row))) {
    refuse("wrong_draft", "The values that stay encrypted for sums are others than those that this record opens to.", OTHER);
  }
  return { record, shown: shownRow(dictionary, row), code: codeText(code) };
}

function requireHere(record, wanted, commitment) {
  const { context } = record;
  const same =
    equal(commitmentOf(record), commitment) &&
    equal(context.dataset, wanted.dataset) &&
    equal(context.dictionaryHash, wanted.dictionaryHash) &&
    [context.chainId === wanted.chainId, context.registry === wanted.registry, context.patient === wanted.patient].every(Boolean);
  if (!same) refuse("wrong_draft", "The record is sealed for another place, or another person.", OTHER);
}

/**
 * The clinic's word for one record.
 * @param {import("./record.js").SealedRecord} record that was opened here
 * @param {Uint8Array} person the clinic's pseudonym of the patient, 32 bytes
 * @param {import("./wallet.js").Signer} issuer
 * @param {{chainId: number, contracts: object}} market
 * @param {number} now unix seconds
 * @returns {Promise<{attestation: object, signature: string}>}
 */
export async function attested(record, person, issuer, market, now) {
  const values = {
    dataset: record.context.dataset,
    patient: record.context.patient,
    person,
    commitment: commitmentOf(record),
    version: record.context.recordVersion,
    issuer: issuer.address,
    deadline: Math.floor(now) + ATTESTATION_LIFE,
  };
  const signature = await issuer.sign("RecordAttestation", values, domainOf("DatasetRegistry", market));
  return { attestation: toJson("RecordAttestation", values), signature: toHex(signature) };
}
