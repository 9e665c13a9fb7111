/** How noisy sums are, and where they can lie. The counterpart of `ml.homomorphic.noise.Shares` and of `analyses.tallied`. */

import { Rational, isqrt, nextUp, sqrtUp } from "../exact/rational.js";
import { refuse } from "../refused.js";

const NANO = 1_000_000_000n;
const LEAST_SCALE = 3; // of one contribution
const ROOM = 12n; // scales that one contribution may be away from 0
const LARGEST_RANGE = 1n << 40n; // values: `ml.homomorphic.logarithm.MOST_BITS`
const SLACK = new Rational((1n << 40n) + 1n, 1n << 40n); // dwarfs every later rounding of a float

/** @typedef {{cost: bigint, squaredSensitivity: bigint, quorum: number}} Shares cost in nano-rho; sensitivity of all sums, in L2 */
/** @typedef {{low: bigint, high: bigint}} Wanted one sum: what any record adds to it */
/** @typedef {[bigint, bigint]} Range */

/** @param {Shares} shares @param {number} contributors @returns {number} scale of the noise of one of them */
export function scaleOf({ cost, squaredSensitivity, quorum }, contributors) {
  const honest = contributors - quorum + 1;
  if (quorum < 1 || honest < 1) throw new RangeError("noise needs as many contributors as the quorum");
  const alone = Rational.ofFloat(alonesScale(cost, squaredSensitivity));
  return Math.max(LEAST_SCALE, nextUp(alone.over(rootDown(BigInt(honest))).toFloat()));
}

/** Of what one trusted party would add. */
function alonesScale(cost, squaredSensitivity) {
  const rho = new Rational(cost, NANO);
  return sqrtUp(new Rational(squaredSensitivity, 2n).over(rho)).times(SLACK).toFloat();
}

/** @param {Shares} shares @param {number} contributors @returns {Rational} of the whole noise of one sum, as the very float that answers count with */
export function sigmaOf(shares, contributors) {
  const sigma = Rational.ofFloat(scaleOf(shares, contributors)).times(sqrtUp(new Rational(BigInt(contributors))));
  const found = sigma.toFloat();
  return Rational.ofFloat(Rational.ofFloat(found).compare(sigma) >= 0 ? found : found * (1 + 2 ** -52));
}

/**
 * @param {Wanted[]} wanted
 * @param {Shares} shares
 * @param {{members: number, contributors: number}} of
 * @returns {Range[]} where each noised sum lies, whoever the members are and whatever noise was drawn
 * @throws {Refused} sums_too_large
 */
export function rangesOf(wanted, shares, { members, contributors }) {
  const bound = Rational.ofFloat(scaleOf(shares, contributors)).times(ROOM).ceil();
  const [room, counted] = [BigInt(contributors) * bound, BigInt(members)];
  const ranges = wanted.map(({ low, high }) => [counted * (low < 0n ? low : 0n) - room, counted * (high > 0n ? high : 0n) + room]);
  if (ranges.every(([low, high]) => high - low < LARGEST_RANGE)) return ranges;
  const message = "A sum of this answer could be too large to be opened.";
  return refuse("sums_too_large", message, "Keep the receipt and ask the operator: such a question should have been refused.");
}

/** A fraction at most the square root of a positive whole number, less than 2^-60 (relative) below it. */
function rootDown(whole) {
  return new Rational(isqrt(whole << 128n), 1n << 64n);
}
