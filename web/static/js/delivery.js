/** Results on their way to the researcher: sealed delivery, salted hash. */

import { concat, equal, toHex, bytes32 } from "./bytes.js";
import { parseCanonical } from "./canonical.js";
import { keccak } from "./hash.js";
import * as hpke from "./hpke.js";
import { refuse } from "./refused.js";
import { taggedHash } from "./tagged.js";

export const SCHEMA = "usufruct-result/1";
const SALT_BYTES = 32;

/** @typedef {{chainId: number|bigint, market: string, request: Uint8Array}} Context what a result is bound to */
/** @typedef {{salt: Uint8Array, result: Uint8Array, document: Object<string, unknown>}} Opened */

/** @param {Context} context @returns {Uint8Array} the HPKE info of this delivery, 32 bytes */
export function infoOf({ chainId, market, request }) {
  return taggedHash("usufruct/result/1", ["uint256", "address", "bytes32"], [chainId, market, request]);
}

/** @returns {Uint8Array} keccak256(salt || result): what custodians sign and the chain keeps */
export function resultHash(/** @type {Uint8Array} */ salt, /** @type {Uint8Array} */ result) {
  return keccak(concat(bytes32(salt, "salt"), result));
}

/** @param {Uint8Array} sealed @returns {Uint8Array} keccak256 of the sealed result */
export function deliveryHash(sealed) {
  return keccak(sealed);
}

/** @param {Uint8Array[]} commitments in cohort order @returns {Uint8Array} the root over them, 32 bytes */
export function ciphertextRoot(commitments) {
  return taggedHash("usufruct/ciphertexts/1", ["bytes32[]"], [commitments]);
}

/**
 * @param {Uint8Array} sealed
 * @param {hpke.SecretKey} secret the researcher's
 * @param {Context} context
 * @returns {Promise<Opened>} the delivered result
 * @throws {Refused} envelope_unreadable; malformed_json for a foreign document
 */
export async function openResult(sealed, secret, context) {
  const plaintext = await hpke.open(sealed, secret, infoOf(context));
  const [salt, result] = [plaintext.slice(0, SALT_BYTES), plaintext.slice(SALT_BYTES)];
  const document = parseCanonical(result);
  const expected = toHex(context.request);
  if (document?.schema === SCHEMA && document.request === expected) return { salt, result, document };
  const remedy = `Ask the gate for the ${SCHEMA} document of request ${expected}.`;
  return refuse("envelope_unreadable", "The sealed result is not the answer to this request.", remedy, "request");
}

/** @throws {Refused} result_mismatch unless it is what custodians signed the hash of */
export function requireSignedResult(/** @type {Opened} */ opened, /** @type {Uint8Array} */ signedHash) {
  if (equal(resultHash(opened.salt, opened.result), signedHash)) return;
  const message = "The delivered result is not the one that custodians signed.";
  const remedy = "Do not use it; keep the receipt and ask the operator and the custodians.";
  refuse("result_mismatch", message, remedy);
}
