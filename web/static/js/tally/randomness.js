/**
 * Columns whose randomness comes from the record's own secret, so that whoever is handed that secret, as a clinic is with
 * a draft, sees for itself that they encrypt the row in the box, and no other. The counterpart of `sealing.columns`.
 */

import { concat, equal, fromBigInt, toBigInt, utf8 } from "../bytes.js";
import { ORDER, scalarBytes } from "../curve.js";
import { aadOf } from "../record.js";
import { encrypt } from "./elgamal.js";
import { columnsOf } from "./encoding.js";
import { HOMOMORPHIC } from "./header.js";
import { pointOf } from "./points.js";
import { valuesOf } from "./relation.js";
import { stated } from "./statement.js";

const INFO = utf8("usufruct/column-randomness/1");
const DRAWN_BITS = 512; // for each scalar: 2^-256 from uniform

/**
 * HKDF-SHA512 (RFC 5869) of a record's secret.
 * @param {bigint} secret of one box; never use it for two rows
 * @param {Uint8Array} context what the proof of these columns is bound to, 32 bytes
 * @param {Uint8Array} publicKey that they are encrypted under, 33 bytes
 * @param {number} columns
 * @returns {Promise<bigint[]>} one scalar in [1, n - 1] for each
 */
export async function columnRandomness(secret, context, publicKey, columns) {
  const key = await crypto.subtle.importKey("raw", scalarBytes(secret), "HKDF", false, ["deriveBits"]);
  const derived = (at) => {
    const info = concat(INFO, context, publicKey, fromBigInt(BigInt(at), 4));
    return crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-512", salt: new Uint8Array(0), info }, key, DRAWN_BITS);
  };
  const drawn = await Promise.all(Array.from({ length: columns }, (_, at) => derived(at)));
  return drawn.map((bits) => (toBigInt(new Uint8Array(bits)) % (ORDER - 1n)) + 1n);
}

/**
 * What sealing a row for this lane takes, besides time.
 * @param {import("../dictionary.js").Dictionary} dictionary with an encoding
 * @param {import("../dictionary.js").Row} row
 * @param {import("../record.js").Context} context of the record
 * @param {Uint8Array} publicKey
 * @param {bigint} secret of its box
 * @returns {Promise<import("./encrypted.js").ToEncrypt>}
 */
export async function toEncrypt(dictionary, row, context, publicKey, secret) {
  const about = aadOf({ ...context, lane: HOMOMORPHIC });
  const randomness = await columnRandomness(secret, about, publicKey, columnsOf(dictionary.encoding).length);
  return { dictionary, row, context: about, publicKey, randomness };
}

/**
 * @param {import("../record.js").SealedRecord} record with a tally
 * @param {bigint} secret of its box
 * @param {import("../dictionary.js").Dictionary} dictionary
 * @param {import("../dictionary.js").Row} row that its box holds
 * @returns {Promise<boolean>} whether its columns are those of this row
 */
export async function isOfRow({ context, tally }, secret, dictionary, row) {
  const key = pointOf(tally.publicKey);
  if (key === null || (dictionary.encoding ?? null) === null) return false;
  const { randomness } = await toEncrypt(dictionary, row, context, tally.publicKey, secret);
  const builder = stated(dictionary.encoding, row);
  return equal(encrypt(valuesOf(builder.relation(), builder.vector), randomness, key), tally.columns);
}
