/**
 * What a patient's browser leaves for the issuer's desk beside a sealed record (usufruct-opening/1), and the
 * codes of invitations. The counterpart of `wire.opening`, where the layout stands.
 */

import { concat, equal, fromBigInt, fromHex, randomBytes, toBigInt, toHex, utf8 } from "./bytes.js";
import { canonical, parseCanonical } from "./canonical.js";
import { ORDER, scalarBytes, timesGenerator } from "./curve.js";
import { keccak } from "./hash.js";
import * as hpke from "./hpke.js";
import { hasExactly } from "./json.js";
import { commitmentOf } from "./record.js";
import { Refused, refuse } from "./refused.js";
import { taggedHash } from "./tagged.js";

export const CODE_BYTES = 16;
export const OPENING_BYTES = hpke.OVERHEAD + '{"code":"0x","secret":"0x"}'.length + 2 * (CODE_BYTES + 32);
/** Crockford's base32: without I, L, O and U. I and L are read as 1, O as 0. */
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const READ_AS = { I: "1", L: "1", O: "0" };
const GROUP = 7;
const CHECK_BITS = 12n;
const CHARACTERS = 28;

/** @typedef {{code: Uint8Array, secret: bigint}} Opening an invitation's code, and the secret of one box */

/** @param {import("./record.js").SealedRecord} record @returns {Uint8Array} the HPKE info, 32 bytes */
export function infoOf(record) {
  const { chainId, registry, dataset, patient } = record.context;
  const types = ["uint256", "address", "bytes32", "address", "bytes32"];
  return taggedHash("usufruct/opening/1", types, [chainId, registry, dataset, patient, commitmentOf(record)]);
}

/**
 * @param {Opening} opening
 * @param {Uint8Array} deskKey 32 bytes
 * @param {import("./record.js").SealedRecord} record that it opens
 * @param {hpke.SecretKey} [ephemeral] for vectors
 * @returns {Promise<Uint8Array>} the envelope, 171 bytes
 * @throws {Refused} bad_parameter
 */
export function sealOpening({ code, secret }, deskKey, record, ephemeral = hpke.SecretKey.generate()) {
  requireCode(code);
  timesGenerator(secret);
  const text = canonical({ code: toHex(code), secret: toHex(scalarBytes(secret)) });
  return hpke.sealWith(ephemeral, text, deskKey, infoOf(record));
}

/**
 * @param {Uint8Array} envelope
 * @param {hpke.SecretKey} desk
 * @param {import("./record.js").SealedRecord} record
 * @returns {Promise<Opening>} whose secret belongs to this record's key commitments
 * @throws {Refused} envelope_unreadable
 */
export async function openOpening(envelope, desk, record) {
  if (envelope.length !== OPENING_BYTES) return unreadable(`An opening has ${OPENING_BYTES} bytes.`);
  const text = await hpke.open(envelope, desk, infoOf(record));
  try {
    return read(text);
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    return unreadable("The opening holds no code and secret in their one form.");
  }
}

/** Whether a secret is the one that a record was dealt from: s G = A_0. */
export function isSecretOf(/** @type {bigint} */ secret, /** @type {import("./record.js").SealedRecord} */ record) {
  return equal(timesGenerator(secret), record.keyCommitments[0]);
}

/** @returns {Uint8Array} a fresh code, 16 bytes */
export function newCode() {
  return randomBytes(CODE_BYTES);
}

/** @param {Uint8Array} code @returns {Uint8Array} what the operator keeps of it, 32 bytes */
export function codeHash(code) {
  requireCode(code);
  return keccak(concat(utf8("usufruct/invitation/1"), code));
}

/** @param {Uint8Array} code @returns {string} as it is printed: XXXXXXX-XXXXXXX-XXXXXXX-XXXXXXX */
export function codeText(code) {
  requireCode(code);
  const bits = (toBigInt(code) << CHECK_BITS) | checkOf(code);
  const places = Array.from({ length: CHARACTERS }, (_, i) => BigInt(5 * (CHARACTERS - 1 - i)));
  const digits = places.map((place) => ALPHABET[Number((bits >> place) & 31n)]).join("");
  return digits.match(new RegExp(`.{${GROUP}}`, "g")).join("-");
}

/**
 * @param {string} text as somebody typed it: in capitals or not, with hyphens and spaces or without
 * @returns {Uint8Array} the code
 * @throws {Refused} bad_parameter, which does not repeat it
 */
export function readCode(text) {
  const digits = text.replace(/[ -]/g, "").replace(/[a-z]/g, (letter) => letter.toUpperCase());
  const values = Array.from(digits, (digit) => ALPHABET.indexOf(READ_AS[digit] ?? digit));
  if (values.length !== CHARACTERS || values.includes(-1)) {
    return mistyped(`An invitation has ${CHARACTERS} letters and digits.`);
  }
  const bits = values.reduce((whole, value) => (whole << 5n) | BigInt(value), 0n);
  const code = fromBigInt(bits >> CHECK_BITS, CODE_BYTES);
  const isRight = (bits & ((1n << CHECK_BITS) - 1n)) === checkOf(code);
  return isRight ? code : mistyped("One of the letters or digits was mistyped.");
}

function read(text) {
  const document = parseCanonical(text, { limit: OPENING_BYTES });
  if (!hasExactly(document, ["code", "secret"])) return unreadable("The opening has other keys.");
  const code = fromHex(document.code, "code", CODE_BYTES);
  const raw = fromHex(document.secret, "secret", 32);
  const secret = toBigInt(raw);
  const isOneForm = toHex(code) === document.code && toHex(raw) === document.secret;
  const isWhole = code.length === CODE_BYTES && raw.length === 32 && secret > 0n && secret < ORDER;
  return isOneForm && isWhole ? { code, secret } : unreadable("The opening holds something else.");
}

function checkOf(code) {
  const digest = keccak(concat(utf8("usufruct/invitation-check/1"), code));
  return toBigInt(digest.slice(0, 2)) >> (16n - CHECK_BITS);
}

/** @throws {Refused} bad_parameter unless it has 16 bytes */
export function requireCode(code) {
  if (code.length !== CODE_BYTES) mistyped(`An invitation is ${CODE_BYTES} bytes.`);
}

function mistyped(message) {
  return refuse("bad_parameter", message, "Copy it as the clinic printed it.", "code");
}

function unreadable(message) {
  const remedy = "Decline the draft; its patient can seal the record again, for the current desk.";
  return refuse("envelope_unreadable", message, remedy, "opening");
}
