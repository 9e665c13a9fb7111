/** Datasets, classes and requests: what their ids and definitions are hashes of. */

import { encode } from "./abi.js";
import { bytes32, concat, equal } from "./bytes.js";
import { keccak } from "./hash.js";
import { malformed } from "./refused.js";
import { abiTuple, abiType, checked } from "./solidity.js";

const MOST_INDEX = 0xffff;

/**
 * @param {number|bigint} chainId
 * @param {string} registry
 * @param {string} steward
 * @param {Uint8Array} dictionary its hash
 * @param {Uint8Array} salt 32 bytes
 * @returns {Uint8Array} the id that `publishDataset` gives: the low 16 bits are left to its classes
 */
export function datasetId(chainId, registry, steward, dictionary, salt) {
  const types = ["string", "uint256", "address", "address", "bytes32", "bytes32"];
  const values = ["usufruct/dataset/1", chainId, registry, steward, dictionary, salt];
  return datasetOf(keccak(encode(types, values)));
}

/** @param {Uint8Array} id of a class @returns {Uint8Array} that of its dataset */
export function datasetOf(id) {
  return concat(bytes32(id, "class").slice(0, 30), new Uint8Array(2));
}

/** @param {Uint8Array} id of a class @returns {number} its index in its dataset */
export function indexOf(id) {
  return (id[30] << 8) | id[31];
}

/**
 * @param {Uint8Array} dataset
 * @param {number} index 1, 2, ..., 65535
 * @returns {Uint8Array}
 * @throws {Refused} malformed_message
 */
export function classId(dataset, index) {
  if (dataset.length !== 32 || !equal(datasetOf(dataset), dataset)) {
    return malformed("dataset", "must be a dataset id (32 bytes, the last two zero)");
  }
  const fits = Number.isInteger(index) && index > 0 && index <= MOST_INDEX;
  if (!fits) return malformed("class", "must be a class index from 1 to 65535");
  return concat(dataset.slice(0, 30), Uint8Array.of(index >> 8, index & 0xff));
}

/**
 * @param {Object<string, unknown>} classTerms a ClassTerms
 * @param {Uint8Array} id of the class
 * @returns {Uint8Array} what the registry stores for the class, and what a grant names
 */
export function definitionHash(classTerms, id) {
  return keccak(encode(["bytes32", abiType("ClassTerms")], [id, abiTuple("ClassTerms", classTerms)]));
}

/**
 * @param {number|bigint} chainId
 * @param {string} market
 * @param {string} researcher
 * @param {Object<string, unknown>} terms a RequestTerms
 * @returns {Uint8Array} the id under which the market keeps this request of this researcher
 */
export function requestId(chainId, market, researcher, terms) {
  const types = ["string", "uint256", "address", "address", abiType("RequestTerms")];
  const values = ["usufruct/request/1", chainId, market, researcher, abiTuple("RequestTerms", terms)];
  return keccak(encode(types, values));
}

/** @param {Object<string, unknown>} terms a RequestTerms @returns {bigint} token units that `open` takes in */
export function escrowOf(terms) {
  const { maxPatients, price, fee } = checked("RequestTerms", terms);
  return maxPatients * price + fee;
}
