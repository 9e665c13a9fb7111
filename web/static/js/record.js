/**
 * Sealed records (usufruct-record/1): AES-256-GCM under a key that only k custodians can rebuild; with a tally for the
 * homomorphic lane (usufruct-record/2), where the dictionary has an encoding.
 *
 * The key is HKDF-SHA256 (RFC 5869) of the shared secret; the box is AES-256-GCM (NIST SP 800-38D); both are
 * bound to chain, registry, dataset, patient, dictionary, lane and version, so that a copy under another
 * patient or on another chain does not open.
 */

import { concat, equal, randomBytes, toBigInt, utf8 } from "./bytes.js";
import { scalarBytes, randomScalar } from "./curve.js";
import { encodeRow, hashOf } from "./dictionary.js";
import { deal, drawCoefficients, verifyShare } from "./feldman.js";
import { keccak } from "./hash.js";
import * as hpke from "./hpke.js";
import { refuse } from "./refused.js";
import { toRow } from "./row.js";
import { taggedHash } from "./tagged.js";
import { headerOf, leafOfHeader } from "./tally/header.js";

export const VAULT = 1; // the lane
export const NONCE_BYTES = 12;

/**
 * @typedef {object} Context all that a record is bound to
 * @property {number|bigint} chainId
 * @property {string} registry address of the DatasetRegistry
 * @property {Uint8Array} dataset 32 bytes
 * @property {string} patient address
 * @property {Uint8Array} dictionaryHash 32 bytes
 * @property {number} recordVersion
 * @property {number} lane 1, the vault; a tally's proof is bound to the same in lane 2
 */
/** @typedef {import("./tally/header.js").SealedTally} SealedTally */
/** @typedef {{index: number, envelope: Uint8Array}} SealedShare */
/**
 * @typedef {object} SealedRecord everything in it is ciphertext or public
 * @property {Context} context
 * @property {number} epoch
 * @property {Uint8Array} box nonce (12) || ciphertext || tag (16)
 * @property {Uint8Array[]} keyCommitments 33 bytes each
 * @property {SealedShare[]} shares
 * @property {SealedTally|null} [tally]
 */
/** @typedef {{index: number, publicKey: Uint8Array}} CustodianKey */
/**
 * @typedef {object} Drawn what is drawn afresh where it is not given; never use any of it twice
 * @property {bigint} [secret] the patient's own, derived for this very nonce
 * @property {Uint8Array} [nonce] 12 bytes
 * @property {bigint[]} [coefficients] for vectors: secret and polynomial, lowest first
 * @property {hpke.SecretKey[]} [ephemerals] for vectors: one a custodian
 * @property {SealedTally|null} [tally] of this row and context; never drawn here
 */

/**
 * Seals one patient's values for a committee, where the values are: nothing else ever leaves. Where the dictionary has an
 * encoding, the record has a tally, too: one commitment covers both.
 * @param {import("./dictionary.js").Dictionary} dictionary
 * @param {Object<string, import("./row.js").Value>} values
 * @param {Context} context
 * @param {CustodianKey[]} custodians the whole committee, 1..n in order
 * @param {number} epoch
 * @param {number} quorum so many of them together, and no fewer, can open it
 * @param {Drawn} [drawn]
 * @returns {Promise<SealedRecord>}
 * @throws {Refused} bad_parameter, out_of_dictionary
 */
export async function seal(dictionary, values, context, custodians, epoch, quorum, drawn = {}) {
  requireFitting(dictionary, context, custodians);
  requireTally(dictionary, drawn);
  requireNonce(drawn);
  const plaintext = encodeRow(dictionary, toRow(dictionary, values));
  const coefficients = drawn.coefficients ?? drawCoefficients(drawn.secret ?? randomScalar(), quorum);
  const { commitments, shares } = deal(coefficients, custodians.length);
  const box = await closeBox(coefficients[0], context, plaintext, drawn.nonce ?? randomBytes(NONCE_BYTES));
  const record = { context, epoch, box, keyCommitments: commitments, shares: [], tally: drawn.tally ?? null };
  const commitment = commitmentOf(record);
  const sealed = shares.map((share, i) =>
    sealShare(share, custodians[i].publicKey, context, commitment, epoch, drawn.ephemerals?.[i]),
  );
  return { ...record, shares: await Promise.all(sealed) };
}

/** @param {Context} context @returns {Uint8Array} the associated data of the box, and what a tally's proof is bound to, 32 bytes */
export function aadOf(context) {
  const types = ["uint256", "address", "bytes32", "address", "bytes32", "uint8", "uint32"];
  const where = [...placeOf(context), context.dictionaryHash, context.lane, context.recordVersion];
  return taggedHash("usufruct/record/1", types, where);
}

/** @param {SealedRecord} record @returns {Uint8Array} what the issuer attests and the chain keeps, 32 bytes */
export function commitmentOf({ tally = null, ...vault }) {
  return commitmentWith(vault, tally === null ? null : headerOf(tally));
}

/**
 * The same of a record whose columns and proof are not here.
 * @param {{context: Context, box: Uint8Array, keyCommitments: Uint8Array[]}} vault
 * @param {import("./tally/header.js").TallyHeader|null} header
 * @returns {Uint8Array} 32 bytes
 */
export function commitmentWith({ context, box, keyCommitments }, header) {
  const leaf = leafOf(context, box, keyCommitments);
  const leaves = header === null ? [leaf] : [leaf, leafOfHeader(header, context.dictionaryHash)];
  return commitmentOver(context.recordVersion, leaves);
}

/** @returns {Uint8Array} the leaf of the vault lane, 32 bytes */
export function leafOf(/** @type {Context} */ context, /** @type {Uint8Array} */ box, keyCommitments) {
  const values = [context.lane, context.dictionaryHash, keccak(box), keccak(concat(...keyCommitments))];
  return taggedHash("usufruct/leaf/1", ["uint8", "bytes32", "bytes32", "bytes32"], values);
}

/** @returns {Uint8Array} the root over the leaves, in ascending lane order, 32 bytes */
export function commitmentOver(/** @type {number} */ recordVersion, /** @type {Uint8Array[]} */ leaves) {
  return taggedHash("usufruct/commitment/1", ["uint32", "bytes32[]"], [recordVersion, leaves]);
}

/**
 * @param {bigint} secret
 * @param {Context} context
 * @param {Uint8Array} plaintext
 * @param {Uint8Array} nonce 12 bytes; never use a secret for two boxes
 * @returns {Promise<Uint8Array>} nonce || ciphertext || tag
 * @throws {Refused} bad_parameter
 */
export async function closeBox(secret, context, plaintext, nonce) {
  if (nonce.length !== NONCE_BYTES) return refuse("bad_parameter", "The nonce is not 12 bytes.", "Draw 12.", "nonce");
  const aad = aadOf(context);
  const cipher = { name: "AES-GCM", iv: nonce, additionalData: aad };
  return concat(nonce, new Uint8Array(await crypto.subtle.encrypt(cipher, await recordKey(secret, aad), plaintext)));
}

/**
 * @param {bigint} secret
 * @param {Context} context
 * @param {Uint8Array} box
 * @returns {Promise<Uint8Array>} the row's bytes
 * @throws {Refused} record_unreadable for another key, another context or changed bytes
 */
export async function openBox(secret, context, box) {
  const aad = aadOf(context);
  const cipher = { name: "AES-GCM", iv: box.slice(0, NONCE_BYTES), additionalData: aad };
  try {
    const key = await recordKey(secret, aad);
    return new Uint8Array(await crypto.subtle.decrypt(cipher, key, box.slice(NONCE_BYTES)));
  } catch {
    const message = "The record does not open for this patient, dataset and chain.";
    const remedy = "Count it as null; its patient can seal and attest it again.";
    return refuse("record_unreadable", message, remedy, "box");
  }
}

/** @returns {Uint8Array} the HPKE info of one share envelope, 32 bytes */
export function shareInfo(/** @type {Context} */ context, /** @type {Uint8Array} */ commitment, epoch, index) {
  const types = ["uint256", "address", "bytes32", "address", "bytes32", "uint32", "uint8"];
  return taggedHash("usufruct/share/1", types, [...placeOf(context), commitment, epoch, index]);
}

/**
 * Custodian `index`'s share, checked against the key commitments.
 * @param {SealedRecord} record
 * @param {number} index
 * @param {hpke.SecretKey} secret
 * @returns {Promise<import("./feldman.js").Share>}
 * @throws {Refused} envelope_unreadable, wrong_share
 */
export async function openShare(record, index, secret) {
  const sealed = record.shares.find((share) => share.index === index);
  if (sealed === undefined) {
    const message = `The record holds no share for custodian ${index}.`;
    return refuse("envelope_unreadable", message, "Ask the patient to seal it for the current committee.", "shares");
  }
  const info = shareInfo(record.context, commitmentOf(record), record.epoch, index);
  const share = { index, value: toBigInt(await hpke.open(sealed.envelope, secret, info)) };
  verifyShare(share, record.keyCommitments);
  return share;
}

async function sealShare(share, publicKey, context, commitment, epoch, ephemeral = hpke.SecretKey.generate()) {
  const info = shareInfo(context, commitment, epoch, share.index);
  const envelope = await hpke.sealWith(ephemeral, scalarBytes(share.value), publicKey, info);
  return { index: share.index, envelope };
}

async function recordKey(secret, aad) {
  const material = await crypto.subtle.importKey("raw", scalarBytes(secret), "HKDF", false, ["deriveKey"]);
  const info = concat(utf8("usufruct/record-key/1"), aad);
  const derivation = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info };
  const cipher = { name: "AES-GCM", length: 256 };
  return crypto.subtle.deriveKey(derivation, material, cipher, false, ["encrypt", "decrypt"]);
}

function placeOf({ chainId, registry, dataset, patient }) {
  return [chainId, registry, dataset, patient];
}

/** A secret is derived for one nonce; with another, its patient could not open the record again. */
function requireNonce({ secret, nonce }) {
  if (secret !== undefined && nonce === undefined) throw new TypeError("a secret without its nonce");
}

function requireTally({ encoding = null }, { tally = null }) {
  if (encoding === null && tally !== null) throw new TypeError("a tally of a dictionary without an encoding");
  if (encoding === null || tally !== null) return;
  const message = "This dictionary's records are tallied, and the committee has no joint key.";
  refuse("bad_parameter", message, "Seal once the custodians have generated it and the chain has it.", "joint_key");
}

function requireFitting(dictionary, context, custodians) {
  if (!equal(context.dictionaryHash, hashOf(dictionary))) {
    const message = "The record is to be bound to another dictionary than its values use.";
    refuse("bad_parameter", message, "Use the dictionary that the dataset published.", "dictionary_hash");
  }
  if (custodians.some(({ index }, i) => index !== i + 1)) {
    const message = "The custodians are not listed as 1..n in order.";
    refuse("bad_parameter", message, "List the whole committee of this epoch in ascending order.", "custodians");
  }
}

