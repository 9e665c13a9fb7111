/**
 * Exponential ElGamal: values add up under encryption (R. Cramer, R. Gennaro, B. Schoenmakers, EUROCRYPT 1997).
 *
 * A column is (A, B) = (r G, r Y + v G), 66 bytes. Whoever knows y with Y = y G learns v G, and v if it is
 * small. Semantically secure under the decisional Diffie-Hellman assumption; anybody can change what is
 * encrypted by a known amount, which is why uploads carry proofs.
 */

import { concat } from "../bytes.js";
import { POINT_BYTES, randomScalar } from "../curve.js";
import { Point, bytesOf, timesSecret } from "./points.js";

export const COLUMN_BYTES = 2 * POINT_BYTES;

/** @param {number} columns @returns {bigint[]} one uniform scalar a column; secret, and never used twice */
export function drawRandomness(columns) {
  return Array.from({ length: columns }, randomScalar);
}

/**
 * @param {bigint[]} values whole numbers, negative ones too
 * @param {bigint[]} randomness in [1, n - 1], as many
 * @param {Point} publicKey finite
 * @param {(fraction: number) => void} [told] how far it is
 * @returns {Uint8Array} 66 bytes a column
 * @throws {RangeError} for lists of different lengths, and a scalar that cannot be used
 */
export function encrypt(values, randomness, publicKey, told = () => {}) {
  if (values.length !== randomness.length) throw new RangeError("one random scalar for each value");
  const columns = values.map((value, i) => {
    told(i / values.length);
    return columnOf(value, randomness[i], publicKey);
  });
  return concat(...columns);
}

function columnOf(value, scalar, publicKey) {
  const key = Point.BASE.multiply(scalar);
  // v G as (v + r) G - r G: many values are 0, and products with them would show it.
  const valued = timesSecret(Point.BASE, value + scalar).subtract(key);
  const hidden = publicKey.multiply(scalar).add(valued);
  // r Y = -v G: who draws that has found the key
  if (hidden.is0()) throw new RangeError("the random scalar cannot be used; draw another");
  return concat(bytesOf(key), bytesOf(hidden));
}
