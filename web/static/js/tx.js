/** Transactions of a key in this browser: RLP and EIP-1559 (type 2). Wallets make their own. */

import { address } from "./address.js";
import { concat, fromBigInt, fromHex, toBigInt } from "./bytes.js";
import { accountOf, signed } from "./eip712.js";
import { keccak } from "./hash.js";
import { refuse } from "./refused.js";
import { unsigned } from "./abi.js";

const TYPE = Uint8Array.of(2);
/** Gas of the largest transaction that a chain takes (EIP-7825). */
const MOST_GAS = 16_777_216n;
/** Wei that a page signs away at most in fees, without being asked: a twentieth of the chain's own coin. */
const MOST_FEE = 5n * 10n ** 16n;
const COIN = 10n ** 18n; // wei

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
 * Of what an operator proposes for a call: number, gas and two fees, each within bounds. Never a value, never another
 * chain: these are not its to choose.
 * @param {object} way as `POST /transactions/ways` answers
 * @param {number|null} chainId of the market that this browser knows
 * @returns {{chainId: bigint, nonce: bigint, gas: bigint, maxFeePerGas: bigint, maxPriorityFeePerGas: bigint, value: bigint}}
 * @throws {Refused} malformed_message, wrong_chain, too_much_gas, fee_too_high
 */
export function proposed(way, chainId) {
  const names = ["chainId", "nonce", "gas", "maxFeePerGas", "maxPriorityFeePerGas"];
  const read = Object.fromEntries(names.map((name) => [name, unsigned(way[name], 256, name)]));
  if (chainId === null || read.chainId !== BigInt(chainId)) {
    const message = `This site asks for a transaction on chain ${read.chainId}; this market is on ${chainId ?? "no chain"}.`;
    refuse("wrong_chain", message, "Nothing was signed. Do not go on here: tell the operator.");
  }
  if (read.gas > MOST_GAS) {
    const message = `This site proposes ${read.gas} gas; no transaction takes more than ${MOST_GAS}.`;
    refuse("too_much_gas", message, "Nothing was signed. Try again, or send it with a wallet.");
  }
  unsigned(read.maxFeePerGas - read.maxPriorityFeePerGas, 256, "maxPriorityFeePerGas");
  requireCheap(read.gas * read.maxFeePerGas);
  return { ...read, value: 0n };
}

function requireCheap(fee) {
  if (fee <= MOST_FEE) return;
  const message = `By this site's word the chain's fee can reach ${coins(fee)} of the chain's own coin; this page signs for ${coins(MOST_FEE)} at most.`;
  refuse("fee_too_high", message, "Nothing was signed. Wait until fees fall, or send it with a wallet, which shows the fee.");
}

function coins(wei) {
  const fraction = String(wei % COIN).padStart(18, "0").replace(/0+$/, "");
  return fraction === "" ? String(wei / COIN) : `${wei / COIN}.${fraction}`;
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
