/** Sealing one's own record for a clinic's desk. What leaves the browser is ciphertext, and what is public. */

import { bytes32, equal, fromHex, randomBytes, toBase64, toHex } from "./bytes.js";
import { committeeHash } from "./committee.js";
import { fromJson as dictionaryFrom, hashOf } from "./dictionary.js";
import { accountOf, requireSigned } from "./eip712.js";
import { parse } from "./json.js";
import { domainOf } from "./messages.js";
import { codeHash, isSecretOf, sealOpening } from "./opening.js";
import { takeVouched } from "./pin.js";
import { NONCE_BYTES, VAULT, openBox, seal } from "./record.js";
import { LARGEST, dump, load } from "./recordfile.js";
import { refuse } from "./refused.js";
import { toRow } from "./row.js";
import { fromJson } from "./solidity.js";
import { toEncrypt } from "./tally/randomness.js";
import { encryptRow, requireGoing } from "./tally/sealing.js";
import { committeeChanged, requireVouched } from "./voucher.js";

/**
 * @param {unknown} document a dictionary as the server gives it
 * @param {string} hash what the chain keeps of it, 0x..
 * @returns {import("./dictionary.js").Dictionary}
 * @throws {Refused} wrong_dictionary, bad_dictionary
 */
export function requireDictionary(document, hash) {
  const dictionary = dictionaryFrom(document);
  if (equal(hashOf(dictionary), bytes32(hash, "dictionary_hash"))) return dictionary;
  const message = "The dictionary that this server shows is not the one on chain.";
  return refuse("wrong_dictionary", message, "Do not go on here: tell the steward of the dataset.");
}

/**
 * Whether these keys made that account for another dataset: sealing with it here would link the two.
 * @param {Array<{dataset: string|null, key: Uint8Array}>} accounts as `accountsOf` gives them
 */
export function isOfAnother(accounts, account, dataset) {
  const found = accounts.find(({ key }) => accountOf(key) === account);
  return found !== undefined && found.dataset !== null && found.dataset !== dataset;
}

/**
 * The committee's keys, in the order of its places.
 * @param {{epoch: number, quorum: number, members: Array<{place: number, key: string}>}} committee
 * @returns {import("./record.js").CustodianKey[]}
 * @throws {Refused} wrong_committee
 */
export function custodiansOf(committee) {
  committeeHash(committee); // of a committee alone
  return committee.members.map(({ place, key }) => ({ index: place + 1, publicKey: bytes32(key, "committee") }));
}

/**
 * A clinic's desk, held against its own signature.
 * @param {{desk: unknown, signature: string}} told
 * @param {{chainId: number, contracts: object}} market
 * @param {{dataset: string, issuers: string[], now?: number}} wanted `now` in unix seconds
 * @returns {{issuer: string, key: Uint8Array, until: number}}
 * @throws {Refused} wrong_desk, bad_signature
 */
export function requireDesk({ desk, signature }, market, { dataset, issuers, now = Date.now() / 1_000 }) {
  const said = fromJson("IssuerDesk", desk, "desk.");
  const domain = domainOf("DatasetRegistry", market);
  requireSigned("IssuerDesk", said, domain, fromHex(signature, "signature", 65), said.issuer);
  if (!equal(said.dataset, bytes32(dataset, "dataset"))) wrongDesk("is one for another dataset");
  if (!issuers.includes(said.issuer)) wrongDesk("is not that of an issuer of this dataset");
  if (Number(said.until) <= now) wrongDesk("has ended");
  return { issuer: said.issuer, key: said.key, until: Number(said.until) };
}

function wrongDesk(problem) {
  refuse("wrong_desk", `The clinic's desk ${problem}.`, "Ask the clinic to open its desk again.", "code");
}

/** @typedef {{code: Uint8Array, desk: {issuer: string, key: Uint8Array, until: number}, committee: Uint8Array, epoch: number}} Paper */

/**
 * What this operator tells of market, desk and committee is what the clinic saw that gave out the code: until here its
 * word is all that the browser of somebody new has. From now on custodians are asked where the clinic knows them.
 * @param {{desk: unknown, signature: string, voucher: unknown}} answer
 * @param {Uint8Array} code as it stands on the paper
 * @param {import("./pin.js").Market} market
 * @param {{dataset: string, issuers: string[]}} wanted
 * @returns {Promise<Paper>}
 * @throws {Refused} wrong_desk, bad_signature, wrong_committee, wrong_paper, committee_changed
 */
export async function requirePaper(answer, code, market, wanted) {
  const desk = requireDesk(answer, market, wanted);
  const hash = committeeHash(market.committee);
  const seen = { market, dataset: bytes32(wanted.dataset, "dataset"), issuer: desk.issuer, desk: desk.key, committee: market.committee };
  await takeVouched(await requireVouched(answer.voucher, code, seen), market.committee);
  return { code, desk, committee: hash, epoch: market.committee.epoch };
}

/** The paper, for the committee that it vouches for. @throws {Refused} committee_changed */
export function requireStill(/** @type {Paper} */ paper, committee) {
  if (!equal(committeeHash(committee), paper.committee)) committeeChanged(paper.epoch, committee.epoch);
  return paper;
}

/**
 * One act for both lanes: the record for the vault, and where the dictionary has an encoding the row's columns, too.
 * @param {import("./keys.js").Root} root
 * @param {import("./dictionary.js").Dictionary} dictionary
 * @param {Object<string, import("./row.js").Value>} values those that are to be sealed; others are absent
 * @param {{place: import("./keys.js").Place, patient: string, version: number}} whose
 * @param {import("./committee.js").Committee & {jointKey: Uint8Array|null}} committee as `confirmedCommittee` gives it
 * @param {import("./tally/beside.js").How} [how]
 * @returns {Promise<{record: import("./record.js").SealedRecord, secret: bigint}>} tried: the secret opens it
 * @throws {Refused} bad_parameter, out_of_dictionary, wrong_committee; worker_refused, cancelled
 */
export async function sealedFor(root, dictionary, values, { place, patient, version }, committee, how = {}) {
  const context = { ...place, patient, dictionaryHash: hashOf(dictionary), recordVersion: version, lane: VAULT };
  const nonce = randomBytes(NONCE_BYTES);
  const secret = await root.recordSecret(context, nonce);
  const tally = await tallyFor(dictionary, values, context, committee.jointKey, secret, how);
  const { epoch, quorum } = committee;
  const record = await seal(dictionary, values, context, custodiansOf(committee), epoch, quorum, { secret, nonce, tally });
  const kept = load(dump(record), context);
  await openBox(secret, context, kept.box);
  if (!isSecretOf(secret, kept)) throw new TypeError("the record was sealed with another secret");
  return { record, secret };
}

/** Null where the dictionary has no encoding, or the custodians have no joint key: then `seal` refuses. */
async function tallyFor(dictionary, values, context, jointKey, secret, how) {
  if ((dictionary.encoding ?? null) === null || jointKey === null) return null;
  const of = await toEncrypt(dictionary, toRow(dictionary, values), context, jointKey, secret);
  return { publicKey: jointKey, ...(await encryptRow(of, how)) };
}

/**
 * What is left for the clinic: ciphertext, and of the invitation its hash.
 * @param {{record: import("./record.js").SealedRecord, secret: bigint}} sealed
 * @param {Paper} paper
 * @param {AbortSignal} [signal]
 * @returns {Promise<{record: object, opening: string, code: string}>}
 * @throws {Refused} bad_parameter, cancelled
 */
export async function draftOf({ record, secret }, { code, desk }, signal) {
  const opening = await sealOpening({ code, secret }, desk.key, record);
  const document = parse(dump(record), { limit: LARGEST });
  requireGoing(signal);
  return { record: document, opening: toBase64(opening), code: toHex(codeHash(code)) };
}
