/** secp256k1, from the one vendored place. Scalars are BigInt, points 33 compressed bytes. */

import { secp256k1 } from "../vendor/noble-curves-2.4.0/secp256k1.js";
import { concat, fromBigInt, randomBytes, toBigInt } from "./bytes.js";
import { badParameter } from "./refused.js";

/** SEC 2, secp256k1 n. */
export const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
export const SCALAR_BYTES = 32;
export const POINT_BYTES = 33;

/** @returns {bigint} uniform in [1, n - 1], from the browser's own generator */
export function randomScalar() {
  for (;;) {
    const drawn = toBigInt(randomBytes(SCALAR_BYTES));
    if (drawn > 0n && drawn < ORDER) return drawn;
  }
}

/**
 * @param {bigint} scalar in [1, n - 1]
 * @returns {Uint8Array} scalar * G
 * @throws {Refused} bad_parameter
 */
export function timesGenerator(scalar) {
  if (scalar <= 0n || scalar >= ORDER) {
    return badParameter("scalar", "lies outside [1, n - 1]", "Draw it with randomScalar().");
  }
  return secp256k1.Point.BASE.multiply(scalar).toBytes(true);
}

/** @param {Uint8Array} raw @returns {boolean} whether these bytes are a compressed point of the curve */
export function isPoint(raw) {
  return raw.length === POINT_BYTES && pointOf(raw) !== null;
}

/**
 * @param {Uint8Array[]} points public ones
 * @param {bigint[]} scalars public ones, as many, in [1, n - 1]
 * @returns {Uint8Array|null} their sum; null for what is no finite sum of points
 */
export function sumOfProducts(points, scalars) {
  let total = secp256k1.Point.ZERO;
  for (const [i, raw] of points.entries()) {
    const point = pointOf(raw);
    if (point === null) return null;
    total = total.add(point.multiplyUnsafe(scalars[i]));
  }
  return total.equals(secp256k1.Point.ZERO) ? null : total.toBytes(true);
}

/**
 * RFC 6979, s in the lower half.
 * @param {Uint8Array} digest 32 bytes
 * @param {Uint8Array} key 32 bytes
 * @returns {{r: Uint8Array, s: Uint8Array, parity: number}}
 */
export function signDigest(digest, key) {
  const signed = secp256k1.sign(digest, key, { prehash: false, format: "recovered" });
  return { r: signed.slice(1, 33), s: signed.slice(33), parity: signed[0] };
}

/**
 * @param {Uint8Array} digest 32 bytes
 * @param {Uint8Array} signature 64 bytes, r and s
 * @param {number} parity 0 or 1
 * @returns {Uint8Array|null} the signer's point, x and y, 64 bytes; null where there is none
 */
export function recoverPoint(digest, signature, parity) {
  try {
    const signed = concat(Uint8Array.of(parity), signature);
    const point = secp256k1.recoverPublicKey(signed, digest, { prehash: false });
    return secp256k1.Point.fromBytes(point).toBytes(false).slice(1);
  } catch {
    return null;
  }
}

/** @param {Uint8Array} key 32 bytes @returns {Uint8Array|null} x and y, 64 bytes; null for what is no key */
export function publicPoint(key) {
  return secp256k1.utils.isValidSecretKey(key) ? secp256k1.getPublicKey(key, false).slice(1) : null;
}

/** @param {bigint} scalar @returns {Uint8Array} 32 bytes */
export function scalarBytes(scalar) {
  return fromBigInt(scalar, SCALAR_BYTES);
}

function pointOf(raw) {
  try {
    return secp256k1.Point.fromBytes(raw);
  } catch {
    return null;
  }
}
