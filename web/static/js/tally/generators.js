/**
 * Points whose discrete logarithms nobody knows: bases of vector commitments.
 *
 * The first of SHA-256(tag, number, 0), SHA-256(tag, number, 1), ... that is the x coordinate of a point; of
 * its two points, the one with even y. There is nothing to choose, and so nothing to hide.
 */

import { sha256 } from "../../vendor/noble-hashes-2.4.0/sha2.js";
import { concat, fromBigInt, utf8 } from "../bytes.js";
import { pointOf } from "./points.js";

const TAG = utf8("usufruct/generator/1");
const EVEN = 2;
const BLINDING = 0;
const SINGLE = 1;
const FIRST = 2;
const found = new Map();

/** @returns {Point} H: what hides a commitment */
export function blinding() {
  return generator(BLINDING);
}

/** @returns {Point} K: what a commitment to one scalar is to */
export function single() {
  return generator(SINGLE);
}

/** @param {number} size @returns {Point[]} G_0, ..., G_(size-1): one for each entry of a vector */
export function vector(size) {
  return Array.from({ length: size }, (_, i) => generator(FIRST + i));
}

function generator(number) {
  if (!found.has(number)) found.set(number, derived(number));
  return found.get(number);
}

/** Half of all x are good: that none of 256 is happens with probability 2^-256. */
function derived(number) {
  for (let counter = 0; counter < 256; counter++) {
    const hashed = concat(TAG, fromBigInt(BigInt(number), 4), Uint8Array.of(counter));
    const point = pointOf(concat(Uint8Array.of(EVEN), sha256(hashed)));
    if (point !== null) return point;
  }
  throw new Error("no generator was found");
}
