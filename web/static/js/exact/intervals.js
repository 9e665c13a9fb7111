/** Intervals that cover the noise, and numbers as answers write them. The counterpart of `ml.dp.interval` and `ml.dp.noised`. */

import { Rational, least, most, sqrtUp } from "./rational.js";

export const CONFIDENCE = "0.95";
export const Z_95 = new Rational(196n, 100n);
export const RADIUS_95_OF_THREE = new Rational(27_955n, 10_000n);
const SCALE_DIGITS = 6;
const [ZERO, TEN] = [new Rational(0n), new Rational(10n)];

/** @typedef {[Rational, Rational]} Bounds */
/** @typedef {{label: string[], value: string, low: string, high: string}} Estimate */

/** @param {Rational} sigma @returns {bigint} whole units around a noised integer that hold the true one 95 times in 100 */
export function halfWidth(sigma) {
  return Z_95.times(sigma).ceil();
}

/** @param {Rational} sigma @param {Rational} z @param {bigint} coordinates @returns {Rational} per unit of length */
export function reach(sigma, z, coordinates) {
  return z.times(sigma).plus(sqrtUp(new Rational(coordinates)));
}

/**
 * Fieller's set: every v with |numerator - v denominator| <= reach sqrt(K + J v^2).
 * @param {Rational} numerator
 * @param {Rational} denominator
 * @param {Bounds} weights K and J
 * @param {Rational} reached
 * @returns {Bounds|null} null where the denominator is not clearly positive
 */
export function ratioBounds(numerator, denominator, [k, j], reached) {
  const square = reached.squared();
  const lead = denominator.squared().minus(square.times(j));
  if (denominator.compare(0n) <= 0 || lead.compare(0n) <= 0) return null;
  const inside = k.times(denominator.squared()).plus(j.times(numerator.squared())).minus(square.times(j).times(k));
  const [centre, root] = [numerator.times(denominator), sqrtUp(most(ZERO, square.times(inside)))];
  return [centre.minus(root).over(lead), centre.plus(root).over(lead)];
}

/** @param {Rational} value @param {Rational} low @param {Rational} high @returns {Rational} it, or the nearer end */
export function clamp(value, low, high) {
  return least(most(value, low), high);
}

/** @param {Bounds|null} bounds @param {Rational} estimate @param {Rational} low @param {Rational} high @returns {Bounds} cut to what is possible */
export function within(bounds, estimate, low, high) {
  if (bounds === null) return [low, high];
  const [first, last] = bounds.map((end) => clamp(end, low, high));
  return [least(first, estimate), most(last, estimate)];
}

/** @param {Rational} value @param {number} digits behind the point @param {"round"|"floor"|"ceil"} [how] @returns {string} never "-0" */
export function decimalText(value, digits, how = "round") {
  const whole = value.times(10n ** BigInt(digits))[how]();
  const [sign, size] = whole < 0n ? ["-", -whole] : ["", whole];
  if (digits === 0) return `${sign}${size}`;
  const text = String(size).padStart(digits + 1, "0");
  return `${sign}${text.slice(0, -digits)}.${text.slice(-digits)}`;
}

/** @param {Rational} value @param {Bounds} bounds rounded outwards @param {number} digits @param {string[]} [label] @returns {Estimate} */
export function estimateOf(value, [low, high], digits, label = []) {
  return { label, value: decimalText(value, digits), low: decimalText(low, digits, "floor"), high: decimalText(high, digits, "ceil") };
}

/** @param {Rational} scale positive @returns {string} with six significant digits, rounded up; fewer where these say it exactly */
export function scaleText(scale) {
  let exponent = 0;
  let kept = scale;
  for (; kept.compare(10n ** BigInt(SCALE_DIGITS)) >= 0; exponent++) kept = kept.over(TEN);
  for (; kept.compare(10n ** BigInt(SCALE_DIGITS - 1)) < 0; exponent--) kept = kept.times(TEN);
  const isExact = kept.denominator === 1n;
  const whole = new Rational(kept.ceil());
  if (exponent >= 0) return decimalText(whole.times(10n ** BigInt(exponent)), 0);
  const text = decimalText(whole.over(10n ** BigInt(-exponent)), -exponent);
  if (isExact) return text.replace(/\.?0+$/, "");
  // Rounded up to the next power of ten, it has a digit too many.
  return whole.compare(10n ** BigInt(SCALE_DIGITS)) < 0 ? text : text.replace(/\.?0$/, "");
}
