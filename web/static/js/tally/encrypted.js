/** One row's part in the homomorphic lane: its columns under the committee's joint key, and their proof. */

import { bytes32 } from "../bytes.js";
import { encodeRow } from "../dictionary.js";
import { refuse } from "../refused.js";
import { drawRandomness, encrypt } from "./elgamal.js";
import { pointOf } from "./points.js";
import { valuesOf } from "./relation.js";
import { stated } from "./statement.js";
import { prove } from "./validity.js";

const OF_COLUMNS = 0.1; // of the whole time, as measured

/**
 * @typedef {object} ToEncrypt
 * @property {import("../dictionary.js").Dictionary} dictionary with an encoding
 * @property {import("../dictionary.js").Row} row
 * @property {Uint8Array} context what the proof is bound to, 32 bytes
 * @property {Uint8Array} publicKey the committee's joint key, 33 bytes
 * @property {bigint[]} [randomness] a secret scalar for each column (`randomness.js`); never used twice; else drawn here
 */
/**
 * @typedef {object} Encrypted all of it is public
 * @property {Uint8Array} columns 66 bytes each
 * @property {Uint8Array} proof that they are a row's
 */

/**
 * Takes seconds, in which nothing else runs: a page asks `sealing.js`.
 * @param {ToEncrypt} of
 * @param {(fraction: number) => void} [told] how far it is
 * @returns {Encrypted} whose proof is fresh each time
 * @throws {Refused} bad_parameter, bad_dictionary, record_unreadable for a row outside its dictionary
 */
export function encryptedRow({ dictionary, row, context, publicKey, randomness: given }, told = () => {}) {
  const { encoding, key } = requireFitting({ dictionary, row, context, publicKey });
  const builder = stated(encoding, row);
  const relation = builder.relation();
  const randomness = given ?? drawRandomness(relation.columns.length);
  const values = valuesOf(relation, builder.vector);
  const columns = encrypt(values, randomness, key, (fraction) => told(OF_COLUMNS * fraction));
  const statement = { context, publicKey: key, relation, columns };
  const ofProof = (fraction) => told(OF_COLUMNS + (1 - OF_COLUMNS) * fraction);
  return { columns, proof: prove(statement, builder.vector, randomness, ofProof) };
}

function requireFitting({ dictionary, row, context, publicKey }) {
  const { encoding = null } = dictionary;
  if (encoding === null) {
    const remedy = "Encrypt only for a dataset whose dictionary has one.";
    refuse("bad_dictionary", "The dictionary has no encoding.", remedy, "encoding");
  }
  encodeRow(dictionary, row);
  bytes32(context, "context");
  const key = pointOf(publicKey);
  if (key === null) {
    const message = "The committee's joint key is not a point of secp256k1.";
    refuse("bad_parameter", message, "Take it from the chain.", "joint_key");
  }
  return { encoding, key: key.precompute() };
}
