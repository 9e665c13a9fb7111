/**
 * The ABI encoding of Solidity's values: static and dynamic types, tuples, lists.
 * Source: https://docs.soliditylang.org/en/latest/abi-spec.html
 *
 * Values: unsigned integers are BigInt or whole numbers, `bytesN` and `bytes` are Uint8Array, addresses
 * text, lists and tuples arrays. Decoding is strict: what has a second spelling is refused.
 */

import { concat, fromBigInt, fromHex, toBigInt, utf8 } from "./bytes.js";
import { checksummed, strictAddress } from "./address.js";
import { keccakText } from "./hash.js";
import { malformed } from "./refused.js";

const WORD = 32;
const UINT = /^uint([0-9]+)$/;
const FIXED = /^bytes([0-9]+)$/;
const parsed = new Map();

/** @param {string} signature `name(type,...)` @returns {Uint8Array} 4 bytes */
export function selector(signature) {
  return keccakText(signature).slice(0, 4);
}

/**
 * @param {string[]} types
 * @param {unknown[]} values as many
 * @returns {Uint8Array}
 * @throws {Refused} malformed_message for a value that its type does not hold
 */
export function encode(types, values) {
  return encodeAll(types.map(typeOf), values, "values");
}

/**
 * @param {string[]} types
 * @param {Uint8Array} data
 * @returns {unknown[]} integers as BigInt, addresses checksummed
 * @throws {Refused} malformed_message
 */
export function decode(types, data) {
  return decodeAll(types.map(typeOf), data, 0, "data");
}

/** @typedef {{name: string, item?: Type, parts?: Type[], dynamic: boolean, head: number}} Type */

/** @param {string} text @returns {Type} */
function typeOf(text) {
  if (!parsed.has(text)) parsed.set(text, parseType(text));
  return parsed.get(text);
}

function parseType(text) {
  if (text.endsWith("[]")) {
    return { name: "[]", item: typeOf(text.slice(0, -2)), dynamic: true, head: WORD };
  }
  if (text.startsWith("(") && text.endsWith(")")) {
    const parts = splitTuple(text.slice(1, -1)).map(typeOf);
    const dynamic = parts.some((part) => part.dynamic);
    return { name: "()", parts, dynamic, head: dynamic ? WORD : headOf(parts) };
  }
  const dynamic = text === "string" || text === "bytes";
  const known = dynamic || text === "bool" || text === "address" || isSized(text);
  if (!known) throw new TypeError(`no ABI type that is used here: ${text}`);
  return { name: text, dynamic, head: WORD };
}

function isSized(text) {
  const bits = Number(UINT.exec(text)?.[1] ?? 0);
  const size = Number(FIXED.exec(text)?.[1] ?? 0);
  return (bits > 0 && bits <= 256 && bits % 8 === 0) || (size > 0 && size <= 32);
}

function splitTuple(inside) {
  const parts = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < inside.length; at++) {
    if (inside[at] === "(") depth++;
    else if (inside[at] === ")") depth--;
    else if (inside[at] === "," && depth === 0) {
      parts.push(inside.slice(start, at));
      start = at + 1;
    }
  }
  return inside === "" ? [] : [...parts, inside.slice(start)];
}

function headOf(types) {
  return types.reduce((total, type) => total + type.head, 0);
}

function encodeAll(types, values, field) {
  if (!Array.isArray(values) || values.length !== types.length) {
    return malformed(field, `must be a list of ${types.length} values`);
  }
  const heads = [];
  const tails = [];
  let offset = headOf(types);
  types.forEach((type, i) => {
    const encoded = encodeOne(type, values[i], `${field}[${i}]`);
    heads.push(type.dynamic ? word(BigInt(offset)) : encoded);
    if (!type.dynamic) return;
    tails.push(encoded);
    offset += encoded.length;
  });
  return concat(...heads, ...tails);
}

function encodeOne(type, value, field) {
  if (type.parts) return encodeAll(type.parts, value, field);
  if (type.item) {
    if (!Array.isArray(value)) return malformed(field, "must be a list");
    const items = encodeAll(value.map(() => type.item), value, field);
    return concat(word(BigInt(value.length)), items);
  }
  if (type.dynamic) return encodeBytes(type.name === "string" ? textOf(value, field) : value, field);
  if (type.name === "bool") return word(flag(value, field));
  if (type.name === "address") return padLeft(fromHex(strictAddress(field, value), field));
  const fixed = FIXED.exec(type.name);
  if (fixed) return encodeFixed(Number(fixed[1]), value, field);
  return word(unsigned(value, Number(type.name.slice(4)), field));
}

function flag(value, field) {
  return typeof value === "boolean" ? BigInt(value) : malformed(field, "must be true or false");
}

function textOf(value, field) {
  return typeof value === "string" ? utf8(value) : malformed(field, "must be text");
}

function encodeBytes(value, field) {
  if (!(value instanceof Uint8Array)) return malformed(field, "must be bytes");
  return concat(word(BigInt(value.length)), padRight(value));
}

function encodeFixed(size, value, field) {
  if (!(value instanceof Uint8Array)) return malformed(field, "must be bytes");
  return value.length === size ? padRight(value) : malformed(field, `must be ${size} bytes long`);
}

/**
 * @param {unknown} value whole number or BigInt
 * @param {number} bits
 * @param {string} field
 * @returns {bigint}
 * @throws {Refused} malformed_message
 */
export function unsigned(value, bits, field) {
  const whole = typeof value === "bigint" || Number.isSafeInteger(value);
  if (whole && value >= 0 && BigInt(value) >> BigInt(bits) === 0n) return BigInt(value);
  return malformed(field, `must be an integer of ${bits} bits, not negative`);
}

function word(/** @type {bigint} */ value) {
  return fromBigInt(value, WORD);
}

function padLeft(bytes) {
  return concat(new Uint8Array(WORD - bytes.length), bytes);
}

function padRight(bytes) {
  return concat(bytes, new Uint8Array((WORD - (bytes.length % WORD)) % WORD));
}

function decodeAll(types, data, start, field) {
  let at = start;
  return types.map((type, i) => {
    const where = type.dynamic ? start + count(data, at, field) : at;
    at += type.head;
    return decodeOne(type, data, where, `${field}[${i}]`);
  });
}

function decodeOne(type, data, at, field) {
  if (type.parts) return decodeAll(type.parts, data, at, field);
  if (type.item) {
    const length = count(data, at, field);
    if (length * type.item.head > data.length - at) return malformed(field, "is longer than the data");
    return decodeAll(Array(length).fill(type.item), data, at + WORD, field);
  }
  if (type.dynamic) return decodeBytes(type, data, at, field);
  return decodeWord(type.name, slice(data, at, WORD, field), field);
}

function decodeBytes(type, data, at, field) {
  const length = count(data, at, field);
  const padded = slice(data, at + WORD, Math.ceil(length / WORD) * WORD, field);
  requireZero(padded.subarray(length), field);
  const bytes = padded.slice(0, length);
  if (type.name === "bytes") return bytes;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return malformed(field, "is not text");
  }
}

function decodeWord(name, bytes, field) {
  const fixed = FIXED.exec(name);
  if (fixed) {
    requireZero(bytes.subarray(Number(fixed[1])), field);
    return bytes.slice(0, Number(fixed[1]));
  }
  const used = name === "address" ? 20 : name === "bool" ? 1 : Number(name.slice(4)) / 8;
  requireZero(bytes.subarray(0, WORD - used), field);
  if (name === "address") return checksummed(bytes.subarray(WORD - used));
  if (name !== "bool") return toBigInt(bytes);
  return bytes[WORD - 1] < 2 ? bytes[WORD - 1] === 1 : malformed(field, "must be true or false");
}

/** An offset or a length: no data of ours is longer than a word of 32 bits can say. */
function count(data, at, field) {
  const value = toBigInt(slice(data, at, WORD, field));
  return value < 1n << 32n ? Number(value) : malformed(field, "points outside the data");
}

function slice(data, at, length, field) {
  if (at + length > data.length) return malformed(field, "points outside the data");
  return data.subarray(at, at + length);
}

function requireZero(bytes, field) {
  if (bytes.some((byte) => byte !== 0)) malformed(field, "is not padded with zeros");
}
