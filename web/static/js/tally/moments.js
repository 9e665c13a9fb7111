/**
 * Means and variances from noised sums of whole numbers 0..R, R the steps of a grid: u = 2 q - R, S its noised sum, N the
 * noised number of values, Q that of 2 u^2 - R^2. The counterpart of `ml.dp.means` and `ml.dp.variances`.
 */

import { RADIUS_95_OF_THREE, Z_95, clamp, ratioBounds, reach, within } from "../exact/intervals.js";
import { Rational, isqrt, most } from "../exact/rational.js";

/** @typedef {import("../exact/intervals.js").Bounds} Bounds */

const ONE = new Rational(1n);

/** @param {bigint} width R @returns {bigint} by which a mean's sum of N is weighed: the greatest w with w^2 <= 3 R^2 */
export function countWeight(width) {
  return isqrt(3n * width ** 2n);
}

/** @param {bigint} width R @returns {{linear: bigint, count: bigint}} by which a variance's sums of u and of N are weighed */
export function varianceWeights(width) {
  const linear = isqrt(2n * width ** 2n - 1n) + 1n;
  return { linear, count: isqrt(3n * (linear * width) ** 2n - width ** 4n) };
}

/** @param {bigint[]} noised S and w N @param {bigint} width @param {bigint} members @returns {Rational} in 0..R */
export function meanOf([total, weighted], width, members) {
  return middleOf(width).plus(deviation(new Rational(total), weighted, countWeight(width), width, members).over(2n));
}

/** @param {bigint[]} noised @param {bigint} width @param {Rational} sigma @returns {Bounds|null} of the mean, 95% */
export function meanInterval([total, weighted], width, sigma) {
  const weight = countWeight(width);
  const weights = [ONE, new Rational(1n, weight ** 2n)];
  const bounds = ratioBounds(new Rational(total), new Rational(weighted, weight), weights, reach(sigma, Z_95, 2n));
  return bounds === null ? null : bounds.map((end) => middleOf(width).plus(end.over(2n)));
}

/**
 * @param {bigint[]} noised a S, w N and Q
 * @param {bigint} width
 * @param {Rational} sigma
 * @param {bigint} members
 * @returns {{value: Rational, bounds: Bounds}} over the cohort, in squared steps, in 0..R^2 / 4
 */
export function varianceAnswer(noised, width, sigma, members) {
  const { linear, count } = varianceWeights(width);
  const centre = deviation(new Rational(noised[0], linear), noised[1], count, width, members);
  const square = new Rational(noised[2]).over(clampedCount(noised[1], count, members)).plus(width ** 2n).over(2n);
  const largest = new Rational(width ** 2n);
  const value = clamp(square.minus(centre.squared()), new Rational(0n), largest).over(4n);
  const found = varianceInterval(noised, { linear, count, width, centre, radius: reach(sigma, RADIUS_95_OF_THREE, 3n) });
  return { value, bounds: within(found, value, new Rational(0n), largest.over(4n)) };
}

/** Conservative: all three noises in one ball, so that a weighing that depends on them is covered (Scheffe 1953). */
function varianceInterval(noised, own) {
  const [mean, spread] = [meanBounds(noised, own), spreadAbout(noised, own)];
  if (mean === null || spread === null) return null;
  const [first, last] = mean.map((end) => end.minus(own.centre).squared());
  return [spread[0].minus(most(first, last)).over(4n), spread[1].over(4n)];
}

function meanBounds([total, weighted], { linear, count, width, radius }) {
  const weights = [new Rational(1n, linear ** 2n), new Rational(1n, count ** 2n)];
  const bounds = ratioBounds(new Rational(total, linear), new Rational(weighted, count), weights, radius);
  const edge = new Rational(width);
  return bounds === null ? null : bounds.map((end) => clamp(end, edge.negated(), edge));
}

/** Bounds of E (u - c)^2 = (Q / 2 - 2 c S) / N + R^2 / 2 + c^2. */
function spreadAbout([total, weighted, squares], { linear, count, width, centre, radius }) {
  const slope = centre.times(2n).over(linear);
  const numerator = new Rational(squares, 2n).minus(slope.times(total));
  const weights = [new Rational(1n, 4n).plus(slope.squared()), new Rational(1n, count ** 2n)];
  const bounds = ratioBounds(numerator, new Rational(weighted, count), weights, radius);
  const fixed = new Rational(width ** 2n, 2n).plus(centre.squared());
  return bounds === null ? null : bounds.map((end) => end.plus(fixed));
}

/** The noised mean of u, in -R..R. */
function deviation(total, weighted, weight, width, members) {
  const edge = new Rational(width);
  return clamp(total.over(clampedCount(weighted, weight, members)), edge.negated(), edge);
}

/** The noised count as it may be divided by: in 1..members. */
function clampedCount(weighted, weight, members) {
  return clamp(new Rational(weighted, weight), ONE, new Rational(members));
}

function middleOf(width) {
  return new Rational(width, 2n);
}
