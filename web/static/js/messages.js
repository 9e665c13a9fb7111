/**
 * What patients, their guardians and researchers sign: EIP-712 messages that anybody may carry to the chain.
 *
 * A signer is `{address, sign(name, values, domain) -> Promise<Uint8Array>}`: a key in this browser, or a wallet.
 */

import { ZERO_ADDRESS, address } from "./address.js";
import { randomBytes, toBigInt, toHex } from "./bytes.js";
import { KINDS } from "./calls.js";
import { VERSION, accountOf, sign } from "./eip712.js";
import { refuse } from "./refused.js";
import { toJson } from "./solidity.js";
import { STRUCTS } from "./structs.js";
import { datasetOf } from "./terms.js";

/** Seconds within which a signed message must be on chain. */
export const MESSAGE_LIFE = 3_600;
/** How far above the current sequence a revocation reaches at least: no grant held back outruns it. */
export const REVOCATION_REACH = 256;
/** By up to how much farther, at random: were the reach known, the next grant would be the one after it. */
export const REVOCATION_SPREAD = 1 << 20;
/** A guardian's reaches past one grant under way: anybody could repeat one that reaches farther. */
export const GUARDIANS_REACH = 1;
export const HIGHEST_SEQUENCE = 2 ** 32 - 1;
/** No honest sequence gets there. A revocation that is told a lower one never names a higher one. */
export const HIGHEST_TOLD = 2 ** 30;
/** Of what is signed for a sequence that somebody told, besides revocations: one lie about it ends nothing for ever. */
const HIGHEST_PLAUSIBLE = 2 ** 31;

/** @typedef {(name: string, values: object, domain: object) => Promise<Uint8Array>} Sign */
/** @typedef {{address: string, sign: Sign}} Signer */
/** @typedef {{chainId: number, contracts: Object<string, string>}} Deployment addresses by contract */
/** @typedef {{kind: string, message: object, signature: string, signer?: string, signature_to?: string}} Envelope */

/** @param {Uint8Array} key 32 bytes @returns {Signer} that signs with this key @throws {Refused} key_file */
export function localSigner(key) {
  const own = key.slice();
  return { address: accountOf(own), sign: async (name, values, domain) => sign(name, values, domain, own) };
}

/** @param {string} contract @param {Deployment} deployment @returns {import("./eip712.js").Domain} */
export function domainOf(contract, { chainId, contracts }) {
  return { name: `Usufruct ${contract}`, version: VERSION, chainId, verifyingContract: contracts[contract] };
}

/** Signs for the contracts of one deployment, as one account. All methods give an Envelope. */
export class Messages {
  #deployment;
  #signer;
  #options;

  /**
   * @param {Deployment} deployment
   * @param {Signer} signer
   * @param {{ownNode?: boolean, now?: () => number, random?: (length: number) => Uint8Array}} [options]
   *   `ownNode`: sequences were read through the patient's own node, so that any is believed;
   *   `now` (unix seconds) and `random` are for vectors
   */
  constructor(deployment, signer, { ownNode = false, now = unixTime, random = randomBytes } = {}) {
    this.#deployment = deployment;
    this.#signer = signer;
    this.#options = { ownNode, now, random };
  }

  /**
   * Consent to one class.
   * @param {{class: Uint8Array, definition: Uint8Array, cap: bigint, expiry: number, sequence: number,
   *   patient?: string}} given cap in nano-rho over a lifetime, expiry in unix seconds, sequence exactly one above
   *   the consent's current one; `patient` where a guardian signs
   * @throws {Refused} implausible_sequence
   */
  grant({ class: id, definition, cap, expiry, sequence, patient }) {
    this.#requirePlausible(sequence - 1);
    const what = { dataset: datasetOf(id), class: id, definition, cap, expiry, sequence };
    return this.#message("grant", { patient: this.#who(patient), ...what, deadline: this.#deadline() });
  }

  /**
   * Ends everything granted so far; a patient's own also what is not on chain yet. Any sequence is signed, since
   * nothing may keep somebody from revoking; beyond what is honest, no farther than it takes.
   * @throws {Refused} implausible_sequence for what is no sequence
   */
  revocation(/** @type {Uint8Array} */ dataset, /** @type {number} */ sequence, patient) {
    if (!Number.isInteger(sequence) || sequence < 0 || sequence > HIGHEST_SEQUENCE) implausible();
    const who = this.#who(patient);
    const reach = who === this.#signer.address ? this.#reach() : GUARDIANS_REACH;
    return this.#message("revocation", { patient: who, dataset, sequence: this.#named(sequence, reach) });
  }

  #named(sequence, reach) {
    if (this.#options.ownNode) return Math.min(sequence + reach, HIGHEST_SEQUENCE);
    if (sequence < HIGHEST_TOLD) return Math.min(sequence + reach, HIGHEST_TOLD);
    return Math.min(sequence + GUARDIANS_REACH, HIGHEST_SEQUENCE);
  }

  /** Takes the consent out of cohorts until its patient wakes it. @throws {Refused} implausible_sequence */
  rest(/** @type {Uint8Array} */ dataset, /** @type {number} */ sequence, patient) {
    return this.#pause("rest", dataset, sequence, patient);
  }

  /** Brings a resting consent back. @throws {Refused} implausible_sequence */
  wake(/** @type {Uint8Array} */ dataset, /** @type {number} */ sequence, patient) {
    return this.#pause("wake", dataset, sequence, patient);
  }

  /** Appoints a guardian for one dataset until `expiry` (unix seconds), in place of any other. */
  guardianship(/** @type {Uint8Array} */ dataset, /** @type {string} */ guardian, expiry, mayGrant) {
    const appointed = { guardian: address(guardian, "guardian"), expiry, mayGrant };
    return this.#message("guardianship", { patient: this.#signer.address, dataset, ...appointed, ...this.#once() });
  }

  /** Dismisses the guardian of one dataset. */
  dismissal(/** @type {Uint8Array} */ dataset) {
    return this.guardianship(dataset, ZERO_ADDRESS, 0, false);
  }

  /** Revokes, and has custodians destroy their shares. `version` is the last one attested. */
  erasure(/** @type {Uint8Array} */ dataset, /** @type {number} */ version) {
    return this.#message("erasure", { patient: this.#signer.address, dataset, version });
  }

  /** Moves record, consent, earnings and lifetime spend to another address; both sign. */
  async rotation(/** @type {Signer} */ next, /** @type {Uint8Array} */ dataset) {
    const values = { dataset, from: this.#signer.address, to: next.address, deadline: this.#deadline() };
    const byNext = await next.sign("Rotation", values, domainOf("ConsentRegistry", this.#deployment));
    return { ...(await this.#message("rotation", values)), signature_to: toHex(byNext) };
  }

  /** Pays all of a patient's earnings of one dataset to an address. */
  withdrawal(/** @type {Uint8Array} */ dataset, /** @type {string} */ to) {
    const values = { patient: this.#signer.address, dataset, to: address(to, "to"), ...this.#once() };
    return this.#message("earnings_withdrawal", values);
  }

  /** Pays an account's whole credit (returned escrow, fees, bonds) to an address. */
  credit(/** @type {string} */ to) {
    const values = { account: this.#signer.address, to: address(to, "to"), ...this.#once() };
    return this.#message("credit_withdrawal", values);
  }

  #pause(kind, dataset, sequence, patient) {
    this.#requirePlausible(sequence);
    return this.#message(kind, { patient: this.#who(patient), dataset, sequence, ...this.#once() });
  }

  async #message(kind, values) {
    const { struct, contract, signedBy } = KINDS[kind];
    if (STRUCTS[struct].domain !== `Usufruct ${contract}`) throw new TypeError(`${kind} is read elsewhere`);
    const signature = await this.#signer.sign(struct, values, domainOf(contract, this.#deployment));
    const envelope = { kind, message: toJson(struct, values), signature: toHex(signature) };
    return signedBy === "anyone" ? { ...envelope, signer: this.#signer.address } : envelope;
  }

  #who(patient) {
    return patient === undefined ? this.#signer.address : address(patient, "patient");
  }

  #once() {
    return { nonce: toBigInt(this.#options.random(32)), deadline: this.#deadline() };
  }

  #deadline() {
    return this.#options.now() + MESSAGE_LIFE;
  }

  /** REVOCATION_SPREAD is a power of two, so that the low bits of three bytes are uniform below it. */
  #reach() {
    const [high, middle, low] = this.#options.random(3);
    return REVOCATION_REACH + (((high << 16) | (middle << 8) | low) & (REVOCATION_SPREAD - 1));
  }

  #requirePlausible(current) {
    if (this.#options.ownNode || (Number.isInteger(current) && current >= 0 && current <= HIGHEST_PLAUSIBLE)) return;
    implausible();
  }
}

function implausible() {
  const message = "This names a sequence that no consent reaches: signed, it could end all grants for ever.";
  const remedy =
    "Take no operator's word for it: read it from a node of your own (--node and --manifest), " +
    "which signs whatever the sequence is.";
  refuse("implausible_sequence", message, remedy, "sequence");
}

function unixTime() {
  return Math.floor(Date.now() / 1_000);
}
