/**
 * The key that sums of the homomorphic lane are opened with, from the same 32 secret bytes as any other delivery key. The
 * counterpart of `wire.tally_delivery`, where the derivation stands.
 */

import { toBigInt, utf8 } from "../bytes.js";
import { ORDER, timesGenerator } from "../curve.js";
import { HOMOMORPHIC } from "../lanes.js";

const INFO = utf8("usufruct/tally-delivery/1");
const SCALAR_SOURCE = 48; // bytes: 128 bits more than a scalar has, so that the remainder shows no bias
const EVEN = 2; // first byte of a compressed point whose y is even

/** @typedef {import("../hpke.js").SecretKey} SecretKey */

/**
 * @param {SecretKey} delivery
 * @returns {Promise<{secret: bigint, publicKey: Uint8Array}>} p in [1, n - 1] whose point has the even y, and that
 *   point's x coordinate, 32 bytes (BIP 340)
 */
export async function tallyKeyOf(delivery) {
  const source = toBigInt(await delivery.derived(INFO, SCALAR_SOURCE));
  const scalar = (source % (ORDER - 1n)) + 1n;
  const point = timesGenerator(scalar);
  return { secret: point[0] === EVEN ? scalar : ORDER - scalar, publicKey: point.slice(1) };
}

/** @returns {Promise<Uint8Array>} what a request of this lane names as its `deliveryKey`, 32 bytes */
export async function deliveryKeyOf(/** @type {number} */ lane, /** @type {SecretKey} */ delivery) {
  return lane === HOMOMORPHIC ? (await tallyKeyOf(delivery)).publicKey : delivery.publicKey();
}
