/** Calls to the contracts as bytes: what a transaction carries, and what a wallet is asked to send. */

import { encode } from "./abi.js";
import { address } from "./address.js";
import { concat, fromHex } from "./bytes.js";
import { CALLS, KINDS } from "./calls.js";
import { malformed } from "./refused.js";
import { abiTuple, fromJson } from "./solidity.js";

const MOST_SIGNATURE = 4_096; // bytes: a contract wallet's may be longer than a key's 65

/**
 * @param {string} name `Contract.function`, one of CALLS
 * @param {unknown[]} values as `encode` takes them
 * @returns {Uint8Array} selector and arguments
 * @throws {Refused} malformed_message
 */
export function callData(name, values) {
  const [selector, types] = CALLS[name];
  return concat(fromHex(selector, "selector"), encode(types, values));
}

/**
 * Opens a request and pays for it: with a permit by `openWithPermit`, without one by `open`.
 * @param {Object<string, unknown>} terms a RequestTerms
 * @param {Object<string, unknown>[]} classes the ClassTerms of its classes, in order
 * @param {unknown[]} [permit] as `permitOf` gives it
 * @returns {Uint8Array}
 */
export function openingData(terms, classes, permit) {
  const opening = [abiTuple("RequestTerms", terms), classes.map((each) => abiTuple("ClassTerms", each))];
  if (permit === undefined) return callData("ResearchMarket.open", opening);
  return callData("ResearchMarket.openWithPermit", [...opening, permit]);
}

/**
 * @param {{kind: string, message: object, signature: string, signer?: string, signature_to?: string}} envelope
 * @returns {{contract: string, data: Uint8Array}} the call that puts a signed message on chain
 * @throws {Refused} malformed_message
 */
export function messageCall(envelope) {
  const kind = Object.hasOwn(KINDS, envelope.kind) ? KINDS[envelope.kind] : null;
  if (kind === null) return malformed("kind", `must be one of ${Object.keys(KINDS).join(", ")}`);
  const struct = abiTuple(kind.struct, fromJson(kind.struct, envelope.message, "message."));
  const signature = signatureOf(envelope, "signature");
  const rest = {
    anyone: () => [signerOf(envelope), signature],
    subject: () => [signature],
    both: () => [signature, signatureOf(envelope, "signature_to")],
  };
  const data = callData(`${kind.contract}.${kind.call}`, [struct, ...rest[kind.signedBy]()]);
  return { contract: kind.contract, data };
}

function signerOf({ signer }) {
  return typeof signer === "string" ? address(signer, "signer") : malformed("signer", "is missing");
}

function signatureOf(envelope, name) {
  const text = envelope[name];
  if (typeof text !== "string" || !/^0x(?:[0-9a-f]{2})*$/.test(text)) {
    return malformed(name, "must be 0x and lower-case hex digits");
  }
  if (text.length > 2 + 2 * MOST_SIGNATURE) return malformed(name, `has more than ${MOST_SIGNATURE} bytes`);
  return fromHex(text, name);
}
