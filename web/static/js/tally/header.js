/**
 * What stands for a record's encrypted columns in its commitment: their key, the root of a tree over them, and the
 * hash of their proof. The tree is that of RFC 9162, section 2.1, with keccak256.
 */

import { concat } from "../bytes.js";
import { keccak } from "../hash.js";
import { taggedHash } from "../tagged.js";
import { COLUMN_BYTES } from "./elgamal.js";

/** The lane that adds up encrypted columns. */
export const HOMOMORPHIC = 2;
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/**
 * @typedef {object} SealedTally a record's part in this lane; all of it is public
 * @property {Uint8Array} publicKey the custodians' joint key, 33 bytes
 * @property {Uint8Array} columns 66 bytes each, in the encoding's order
 * @property {Uint8Array} proof of their validity
 */
/**
 * @typedef {object} TallyHeader
 * @property {Uint8Array} publicKey 33 bytes
 * @property {Uint8Array} columnRoot 32 bytes
 * @property {Uint8Array} proofHash 32 bytes
 */

/** @param {SealedTally} tally @returns {TallyHeader} */
export function headerOf({ publicKey, columns, proof }) {
  return { publicKey, columnRoot: columnRoot(columns), proofHash: keccak(proof) };
}

/** @param {TallyHeader} header @param {Uint8Array} dictionaryHash @returns {Uint8Array} the leaf of this lane, 32 bytes */
export function leafOfHeader({ publicKey, columnRoot: root, proofHash }, dictionaryHash) {
  const types = ["uint8", "bytes32", "bytes32", "bytes32", "bytes32"];
  const values = [HOMOMORPHIC, dictionaryHash, keccak(publicKey), root, proofHash];
  return taggedHash("usufruct/tally-leaf/1", types, values);
}

/**
 * @param {Uint8Array} columns
 * @returns {Uint8Array} the root over them, 32 bytes
 * @throws {RangeError} unless they are whole columns, at least one
 */
export function columnRoot(columns) {
  const count = columns.length / COLUMN_BYTES;
  if (!Number.isInteger(count) || count === 0) throw new RangeError(`columns are ${COLUMN_BYTES} bytes each`);
  const column = (at) => columns.subarray(COLUMN_BYTES * at, COLUMN_BYTES * (at + 1));
  return rootOf(Array.from({ length: count }, (_, at) => keccak(concat(LEAF, column(at)))));
}

function rootOf(leaves) {
  if (leaves.length === 1) return leaves[0];
  const middle = 2 ** Math.floor(Math.log2(leaves.length - 1)); // the largest power of two below their number
  return keccak(concat(NODE, rootOf(leaves.slice(0, middle)), rootOf(leaves.slice(middle))));
}
