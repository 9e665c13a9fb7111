/** Points of secp256k1 as the proofs use them: products with secret scalars, one by one and in sums. */

import { secp256k1 } from "../../vendor/noble-curves-2.4.0/secp256k1.js";
import { POINT_BYTES } from "../curve.js";
import { modulo } from "./scalars.js";

export const { Point } = secp256k1;

/**
 * @param {Uint8Array} raw
 * @returns {Point|null} of 33 compressed bytes; null for what is no point
 */
export function pointOf(raw) {
  try {
    return raw.length === POINT_BYTES ? Point.fromBytes(raw) : null;
  } catch {
    return null;
  }
}

/** @param {Point} point @returns {Uint8Array} 33 bytes: compressed, or zeros for the point at infinity */
export function bytesOf(point) {
  return point.is0() ? new Uint8Array(POINT_BYTES) : point.toBytes(true);
}

/**
 * @param {Point} point a finite one
 * @param {bigint} scalar secret; that one is 0 modulo the order would show, so give none that may well be
 * @returns {Point} scalar * point, by the library's product in constant time
 */
export function timesSecret(point, scalar) {
  const reduced = modulo(scalar);
  return reduced === 0n ? Point.ZERO : point.multiply(reduced);
}

/**
 * sum_i scalars[i] bases[i] for several lists of secret scalars. One product after the other: sums that share
 * their work between scalars take a sixth of the time, and look up by what they should not show.
 * @param {Point[]} bases finite ones
 * @param {bigint[][]} lists each one scalar a base
 * @param {(fraction: number) => void} [told] how far it is
 * @returns {Point[]} one sum a list
 */
export function secretSums(bases, lists, told = () => {}) {
  let sums = lists.map(() => Point.ZERO);
  for (const [i, base] of bases.entries()) {
    sums = sums.map((sum, which) => sum.add(timesSecret(base, lists[which][i])));
    told((i + 1) / bases.length);
  }
  return sums;
}
