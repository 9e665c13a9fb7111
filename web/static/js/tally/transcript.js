/**
 * Fiat-Shamir: what a verifier would have asked at random is a hash of everything that was said before.
 *
 * A. Fiat and A. Shamir, CRYPTO 1986; statement and context always go in (the strong form: D. Bernhard, O.
 * Pereira, B. Warinschi, ASIACRYPT 2012). Everything absorbed has a label and a length, so no two
 * conversations look alike.
 */

import { sha512 } from "../../vendor/noble-hashes-2.4.0/sha2.js";
import { fromBigInt, toBigInt, utf8 } from "../bytes.js";
import { modulo } from "./scalars.js";

/** One conversation: `absorb` what is said, `challenge` for what is asked. */
export class Transcript {
  #hash = sha512.create();

  /**
   * @param {string} protocol names the proof and its version
   * @param {Uint8Array} context what the conversation is about, 32 bytes
   */
  constructor(protocol, context) {
    this.absorb("protocol", utf8(protocol));
    this.absorb("context", context);
  }

  /**
   * Four bytes of the label's length, the label, eight of the data's length, the data.
   * @param {string} label
   * @param {Uint8Array} data
   */
  absorb(label, data) {
    const name = utf8(label);
    this.#hash.update(fromBigInt(BigInt(name.length), 4)).update(name);
    this.#hash.update(fromBigInt(BigInt(data.length), 8)).update(data);
  }

  /**
   * @param {string} label
   * @returns {bigint} a scalar below the group's order: 64 bytes of SHA-512 reduced, so 2^-256 from uniform
   */
  challenge(label) {
    this.absorb("challenge", utf8(label));
    const drawn = this.#hash.clone().digest();
    this.absorb("drawn", drawn);
    return modulo(toBigInt(drawn));
  }
}
