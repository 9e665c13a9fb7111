/** Transactions of a key in this browser: RLP and EIP-1559 (type 2). Wallets make their own. */

import { address } from "./address.js";
import { concat, fromBigInt, fromHex, toBigInt } from "./bytes.js";
import { accountOf, signed } from "./eip712.js";
import { keccak } from "./hash.js";
import { unsigned } from "./abi.js";

const TYPE = Uint8Array.of(2);

/**
 * @typedef {object} Transaction amounts in wei
 * @property {number|bigint} chainId
 * @property {number|bigint} nonce
 * @property {number|bigint} maxPriorityFeePerGas
 * @property {number|bigint} maxFeePerGas
 * @property {number|bigint} gas
 * @property {string} to
 * @property {number|bigint} [value]
 * @property {Uint8Array} [data]
 */

/**
 * @param {Transaction} transaction
 * @param {Uint8Array} key 32 bytes
 * @returns {{raw: Uint8Array, hash: Uint8Array, from: string}} what a node takes, its hash, and who pays
 * @throws {Refused} malformed_message, bad_parameter, key_file
 */
export function signTransaction(transaction, key) {
  const fields = fieldsOf(transaction);
  const signature = signed(keccak(concat(TYPE, rlp(fields))), key);
  const parity = BigInt(signature[64] - 27);
  const [r, s] = [signature.slice(0, 32), signature.slice(32, 64)].map(toBigInt);
  const raw = concat(TYPE, rlp([...fields, ...[parity, r, s].map(integer)]));
  return { raw, hash: keccak(raw), from: accountOf(key) };
}

/**
 * Recursive length prefix: https://ethereum.org/developers/docs/data-structures-and-encoding/rlp
 * @param {Uint8Array|Array} item bytes, or a list of items
 * @returns {Uint8Array}
 */
export function rlp(item) {
  if (Array.isArray(item)) {
    const content = concat(...item.map(rlp));
    return concat(prefix(content.length, 0xc0), content);
  }
  if (item.length === 1 && item[0] < 0x80) return item;
  return concat(prefix(item.length, 0x80), item);
}

/** @param {number|bigint} value @returns {Uint8Array} big-endian without leading zeros; nothing for 0 */
export function integer(value) {
  const whole = unsigned(value, 256, "integer");
  return whole === 0n ? new Uint8Array(0) : fromBigInt(whole, Math.ceil(whole.toString(16).length / 2));
}

function fieldsOf(transaction) {
  const { to, value = 0n, data = new Uint8Array(0) } = transaction;
  const listed = ["chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas"];
  const numbers = listed.map((name) => integer(transaction[name]));
  return [...numbers, fromHex(address(to, "to"), "to"), integer(value), data, []];
}

function prefix(length, offset) {
  if (length < 56) return Uint8Array.of(offset + length);
  const size = integer(length);
  return concat(Uint8Array.of(offset + 55 + size.length), size);
}
