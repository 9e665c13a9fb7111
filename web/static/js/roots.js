/** Cohort roots: who was counted, as 32 bytes. The counterpart of `wire.roots`, and of what the contracts do. */

import { concat } from "./bytes.js";
import { keccak } from "./hash.js";
import { refuse } from "./refused.js";
import { taggedHash } from "./tagged.js";

const WORD_BYTES = 20; // 160 seats, bit i is seat i
const CHUNK_BYTES = 256 * WORD_BYTES;
export const MOST_BITMAPS = 4_096 * WORD_BYTES; // bytes of one shard
export const MOST_SHARDS = 64; // of one request

/** @param {Uint8Array} bitmaps @returns {number} how many seats are live */
export function members(bitmaps) {
  let count = 0;
  for (let byte of bitmaps) for (; byte !== 0; byte &= byte - 1) count++;
  return count;
}

/**
 * @param {{classId: Uint8Array, shard: number, bitmaps: Uint8Array}} sealed
 * @returns {Uint8Array} the root that `ShardSealed` carries
 * @throws {Refused} root_mismatch unless the bitmaps are whole words
 */
export function shardRoot({ classId, shard, bitmaps }) {
  if (bitmaps.length % WORD_BYTES !== 0 || bitmaps.length > MOST_BITMAPS) {
    const message = "The bitmaps are not whole words of 20 bytes, at most 4,096.";
    return refuse("root_mismatch", message, "Take them from the receipt as it was issued.", "bitmaps");
  }
  const starts = Array.from({ length: Math.ceil(bitmaps.length / CHUNK_BYTES) }, (_, i) => i * CHUNK_BYTES);
  const chunks = starts.map((start) => keccak(bitmaps.slice(start, start + CHUNK_BYTES)));
  const types = ["bytes32", "uint16", "uint32", "bytes32[]"];
  return taggedHash("usufruct/shard/1", types, [classId, shard, members(bitmaps), chunks]);
}

/**
 * @param {number} chainId
 * @param {string} market
 * @param {Uint8Array} request
 * @param {Uint8Array[]} shardRoots in the request's order
 * @returns {Uint8Array} the root of a sealed request
 */
export function cohortRoot(chainId, market, request, shardRoots) {
  const types = ["uint256", "address", "bytes32", "uint16"];
  const first = taggedHash("usufruct/cohort/1", types, [chainId, market, request, shardRoots.length]);
  return shardRoots.reduce((root, each) => keccak(concat(root, each)), first);
}
