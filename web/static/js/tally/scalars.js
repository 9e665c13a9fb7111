/** Arithmetic modulo the group's order. */

import { ORDER } from "../curve.js";

/** @param {bigint} value @returns {bigint} its rest, in 0..n - 1 */
export function modulo(value) {
  const rest = value % ORDER;
  return rest < 0n ? rest + ORDER : rest;
}

/** @param {bigint[]} values @param {bigint} base @returns {bigint} sum base^j values[j], modulo the order */
export function weighed(values, base) {
  return values.reduceRight((sum, value) => modulo(sum * base + value), 0n);
}
