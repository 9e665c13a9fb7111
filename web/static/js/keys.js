/**
 * What a browser derives from one root of 32 bytes. The counterpart of `wire.browser_keys`, where the layout
 * of every `info` stands: fixed widths, numbers big-endian, the tag as ASCII.
 */

import { address } from "./address.js";
import { bytes32, concat, fromBigInt, fromHex, randomBytes, toBigInt, utf8 } from "./bytes.js";
import { ORDER, scalarBytes } from "./curve.js";
import { SecretKey } from "./hpke.js";
import { badParameter } from "./refused.js";

export const ROOT_BYTES = 32;
const SCALAR_SOURCE = 48; // bytes: 128 bits more than a scalar has, so that the remainder shows no bias
const MOST_NUMBER = 64; // characters of an issuer's patient number
const NUMBER = /^[a-z0-9._/-]+$/;

/** @typedef {{chainId: number, registry: string, dataset: Uint8Array}} Place one dataset of one deployment */

/** What everything of one browser is derived from. It does not print. */
export class Root {
  #raw;

  /** @param {Uint8Array} raw 32 bytes @throws {Refused} bad_parameter */
  constructor(raw) {
    if (raw.length !== ROOT_BYTES) badParameter("root", `is not ${ROOT_BYTES} bytes`, "Take the root of a key file.");
    this.#raw = raw.slice();
  }

  /** @returns {Root} a fresh one, from the browser's own generator */
  static generate() {
    return new Root(randomBytes(ROOT_BYTES));
  }

  /** @returns {Uint8Array} the secret itself, for the key file alone */
  raw() {
    return this.#raw.slice();
  }

  /**
   * @param {Place} place
   * @param {number} [index] counts a patient's addresses there: one more at each rotation
   * @returns {Promise<Uint8Array>} the secp256k1 key of this person's address, 32 bytes
   * @throws {Refused} bad_parameter
   */
  async patientKey(place, index = 0) {
    const info = concat(packed(place), number(index, 32, "index"));
    return scalarBytes(await this.#scalar("usufruct/patient-key/1", info));
  }

  /**
   * @param {import("./record.js").Context} context
   * @param {Uint8Array} nonce the box's own, 12 bytes: another sealing has another secret
   * @returns {Promise<bigint>} the secret under which that box is closed, in [1, n - 1]
   * @throws {Refused} bad_parameter
   */
  recordSecret(context, nonce) {
    if (nonce.length !== 12) badParameter("nonce", "is not 12 bytes", "Give the first bytes of the box.");
    const version = number(context.recordVersion, 32, "record_version");
    const info = concat(packed(context), raw(context.patient, "patient"), version, nonce);
    return this.#scalar("usufruct/record-secret/1", info);
  }

  /** @returns {Promise<SecretKey>} to which the answer to the request with this salt is sealed */
  async deliveryKey(/** @type {number} */ chainId, /** @type {string} */ market, /** @type {Uint8Array} */ salt) {
    const info = concat(deployed(chainId, market, "market"), bytes32(salt, "salt"));
    return new SecretKey(await this.#derived("usufruct/delivery-key/1", info, 32));
  }

  /** @returns {Promise<SecretKey>} of an issuer's desk for one dataset */
  async deskKey(/** @type {Place} */ place) {
    return new SecretKey(await this.#derived("usufruct/desk-key/1", packed(place), 32));
  }

  /**
   * @param {Place} place
   * @param {string} patientNumber the issuer's own
   * @returns {Promise<Uint8Array>} the issuer's pseudonym of that patient, 32 bytes: the same in whatever case
   * @throws {Refused} bad_parameter, which does not repeat the number
   */
  async person(place, patientNumber) {
    const text = utf8("usufruct/person/1" + plainNumber(patientNumber));
    const secret = await this.#derived("usufruct/person-key/1", packed(place), 32);
    const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    return new Uint8Array(await crypto.subtle.sign("HMAC", key, text));
  }

  async #derived(tag, info, length) {
    const material = await crypto.subtle.importKey("raw", this.#raw, "HKDF", false, ["deriveBits"]);
    const way = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: concat(utf8(tag), info) };
    return new Uint8Array(await crypto.subtle.deriveBits(way, material, 8 * length));
  }

  async #scalar(tag, info) {
    return (toBigInt(await this.#derived(tag, info, SCALAR_SOURCE)) % (ORDER - 1n)) + 1n;
  }
}

/**
 * @param {string} text a patient number, as it was typed
 * @returns {string} in its one spelling
 * @throws {Refused} bad_parameter, which does not repeat it
 */
export function plainNumber(text) {
  const plain = text.normalize("NFKC").replaceAll(" ", "").toLowerCase();
  if (plain.length <= MOST_NUMBER && NUMBER.test(plain)) return plain;
  const remedy = `Give at most ${MOST_NUMBER} letters (A to Z), digits and . _ / -, as your files do.`;
  return badParameter("number", "is empty, too long, or has characters that no patient number has", remedy);
}

/** chain (32) || registry (20) || dataset (32). */
function packed({ chainId, registry, dataset }) {
  return concat(deployed(chainId, registry, "registry"), bytes32(dataset, "dataset"));
}

function deployed(chainId, contract, field) {
  return concat(new Uint8Array(24), number(chainId, 64, "chain_id"), raw(contract, field));
}

function raw(account, field) {
  return fromHex(address(account, field), field);
}

function number(value, bits, field) {
  const fits = Number.isSafeInteger(value) && value >= 0 && value < 2 ** bits;
  if (!fits) badParameter(field, "is not a whole number in its range", `Give ${field} as an integer.`);
  return fromBigInt(BigInt(value), bits / 8);
}
