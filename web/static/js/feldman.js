/**
 * Verifiable secret sharing of record keys: P. Feldman, FOCS 1987, over secp256k1.
 *
 * The dealer picks f of degree k - 1 with f(0) = s, hands f(i) to custodian i and publishes A_j = a_j G, so
 * that everybody checks f(i) G = sum_j i^j A_j. Fewer than k shares leave a uniform s hidden computationally.
 */

import { ORDER, isPoint, randomScalar, sumOfProducts, timesGenerator } from "./curve.js";
import { equal } from "./bytes.js";
import { badParameter, refuse } from "./refused.js";

export const MOST_CUSTODIANS = 16;

/** @typedef {{index: number, value: bigint}} Share f(index), for custodian index = 1..n; a secret */

/**
 * @param {bigint} secret in [1, n - 1]
 * @param {number} quorum
 * @returns {bigint[]} a random polynomial of degree quorum - 1 through (0, secret), lowest first
 * @throws {Refused} bad_parameter for a quorum below 1
 */
export function drawCoefficients(secret, quorum) {
  if (!Number.isInteger(quorum) || quorum < 1) return impossible(quorum, "any");
  return [secret, ...Array.from({ length: quorum - 1 }, randomScalar)];
}

/**
 * @param {bigint[]} coefficients lowest first, each in [1, n - 1]
 * @param {number} custodians
 * @returns {{commitments: Uint8Array[], shares: Share[]}} k public commitments and n private shares
 * @throws {Refused} bad_parameter unless 1 <= k <= n <= 16
 */
export function deal(coefficients, custodians) {
  const quorum = coefficients.length;
  if (!(quorum >= 1 && quorum <= custodians && custodians <= MOST_CUSTODIANS)) {
    return impossible(quorum, custodians);
  }
  const places = Array.from({ length: custodians }, (_, i) => i + 1);
  return {
    commitments: coefficients.map(timesGenerator),
    shares: places.map((index) => ({ index, value: evaluate(coefficients, BigInt(index)) })),
  };
}

/**
 * Every commitment is a compressed point of the curve.
 * @param {Uint8Array[]} commitments
 * @throws {Refused} bad_parameter naming the first that is none
 */
export function requirePoints(commitments) {
  const wrong = commitments.findIndex((raw) => !isPoint(raw));
  if (wrong < 0) return;
  const message = `Key commitment ${wrong} is not a point of secp256k1.`;
  refuse("bad_parameter", message, "Give 33 bytes, compressed.", `key_commitments[${wrong}]`);
}

/**
 * f(i) G = sum_j i^j A_j.
 * @param {Share} share
 * @param {Uint8Array[]} commitments
 * @throws {Refused} wrong_share naming the custodian
 */
export function verifyShare(share, commitments) {
  if (isGood(share, commitments)) return;
  const message = `The share of custodian ${share.index} does not match the key commitments.`;
  const remedy = "Ask that custodian for the share it acknowledged, or use another custodian.";
  refuse("wrong_share", message, remedy, "share");
}

/**
 * @param {Share[]} shares
 * @param {Uint8Array[]} commitments k of them
 * @returns {{secret: bigint, wrong: number[]}} from any k good shares; the indices of wrong ones
 * @throws {Refused} too_few_shares
 */
export function combine(shares, commitments) {
  const good = new Map(shares.filter((share) => isGood(share, commitments)).map((share) => [share.index, share]));
  const bad = shares.filter((share) => !isGood(share, commitments)).map((share) => share.index);
  const wrong = [...new Set(bad)].sort((a, b) => a - b);
  if (good.size >= commitments.length) {
    return { secret: interpolate([...good.values()].slice(0, commitments.length)), wrong };
  }
  const message = `${good.size} good shares of ${commitments.length} needed; wrong: [${wrong.join(", ")}].`;
  const remedy = "Ask further custodians to turn; report those with wrong shares.";
  return refuse("too_few_shares", message, remedy, "shares");
}

/** @param {Share[]} shares of distinct indices @returns {bigint} f(0) mod n of the polynomial through them */
export function interpolate(shares) {
  let total = 0n;
  for (const { index, value } of shares) {
    let [numerator, denominator] = [1n, 1n];
    for (const other of shares) {
      if (other.index === index) continue;
      numerator = modulo(numerator * BigInt(other.index));
      denominator = modulo(denominator * BigInt(other.index - index));
    }
    total = modulo(total + value * numerator * inverse(denominator));
  }
  return total;
}

function isGood(share, commitments) {
  const placed = share.index >= 1 && share.index <= MOST_CUSTODIANS;
  if (!placed || share.value <= 0n || share.value >= ORDER) return false;
  const powers = commitments.map((_, j) => BigInt(share.index) ** BigInt(j));
  const committed = sumOfProducts(commitments, powers);
  return committed !== null && equal(timesGenerator(share.value), committed);
}

function evaluate(coefficients, at) {
  return coefficients.reduceRight((value, coefficient) => modulo(value * at + coefficient), 0n);
}

function modulo(value) {
  const rest = value % ORDER;
  return rest < 0n ? rest + ORDER : rest;
}

/** By Fermat: a^(n - 2), since n is prime. */
function inverse(value) {
  let [result, base, exponent] = [1n, value, ORDER - 2n];
  for (; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = modulo(result * base);
    base = modulo(base * base);
  }
  return result;
}

function impossible(quorum, custodians) {
  const problem = `of ${quorum} of ${custodians} custodians is impossible`;
  return badParameter("quorum", problem, `Choose 1 <= quorum <= custodians <= ${MOST_CUSTODIANS}.`);
}
