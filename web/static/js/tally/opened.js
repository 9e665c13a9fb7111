/** Sums that only the researcher's key decrypts, and what they are. The counterpart of `ml.homomorphic.threshold.open_sums`. */

import { POINT_BYTES } from "../curve.js";
import { Refused, refuse } from "../refused.js";
import { Table, stepsFor, tableBits } from "./logarithms.js";
import { Point, pointOf, timesSecret } from "./points.js";

const RESULT_VERSION = 1;
const HEAD_BYTES = 3;
const PAIR_BYTES = 2 * POINT_BYTES;
const MOST_SUMS = 1024;

/** @typedef {import("./shares.js").Range} Range */
/** @typedef {{sealed: Uint8Array, secret: bigint, ranges: Range[]}} ToOpen `secret`: p with P = p G; each sum lies in its range */

/**
 * Takes seconds, in which nothing else runs: a page asks `opener.js`.
 * @param {ToOpen} of
 * @param {(fraction: number) => void} [told] how far it is, of the longest that it can take
 * @returns {bigint[]} the noised sums
 * @throws {Refused} envelope_unreadable, sum_out_of_range
 */
export function openedSums({ sealed, secret, ranges }, told = () => {}) {
  const points = decoded(sealed, ranges.length).map(({ key, value }) => value.add(opened(key, secret)));
  const [whole, steps] = [stepsFor(ranges), { done: 0 }];
  const step = (count) => told(Math.min(1, (steps.done += count) / whole));
  const table = new Table(tableBits(ranges), step);
  return points.map((point, i) => table.find(point, ranges[i], step) ?? outOfRange(i, ranges[i]));
}

/** p E, of which a sum's other half lacks just that: (E, B - F) with F = y A + p E. */
function opened(key, secret) {
  return key.is0() ? key : timesSecret(key, secret);
}

/**
 * @param {Uint8Array} sealed version, number, 66 bytes each
 * @param {number} wanted how many sums the question has
 * @returns {{key: Point, value: Point}[]}
 * @throws {Refused} envelope_unreadable
 */
function decoded(sealed, wanted) {
  const count = (sealed[1] << 8) | sealed[2];
  const isKnown = sealed.length >= HEAD_BYTES && sealed[0] === RESULT_VERSION && count >= 1 && count <= MOST_SUMS;
  if (!isKnown) unreadable("The sealed result has no head that is known here.");
  if (sealed.length !== HEAD_BYTES + PAIR_BYTES * count) unreadable(`The sealed result is not of ${count} sums.`);
  if (count !== wanted) unreadable(`The sealed result is of ${count} sums; this question has ${wanted}.`);
  const part = (at) => sumPoint(sealed.subarray(at, at + POINT_BYTES));
  const places = Array.from({ length: count }, (_, i) => HEAD_BYTES + PAIR_BYTES * i);
  return places.map((at) => ({ key: part(at), value: part(at + POINT_BYTES) }));
}

/** Of sums: zeros stand for the point at infinity. */
function sumPoint(raw) {
  if (raw.every((byte) => byte === 0)) return Point.ZERO;
  return pointOf(raw) ?? unreadable("The sealed result is damaged.");
}

function outOfRange(position, [low, high]) {
  const message = `Sum ${position + 1} of the answer is not between ${low} and ${high}, where every true sum of this group with all its noise lies.`;
  const remedy =
    "Do not use the answer; keep its receipt. `usufruct verify-receipt` tells whether another sum was delivered than was " +
    "settled, and names the custodians that signed.";
  throw new Refused({ code: "sum_out_of_range", message, remedy, field: "sealed_result" });
}

function unreadable(message) {
  const remedy = "Take the sealed result from the settlement on chain, and the delivery key of the request.";
  return refuse("envelope_unreadable", message, remedy, "sealed_result");
}
