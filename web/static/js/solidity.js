/**
 * The market's structs as checked values: what every signed message, and every call, is made of.
 *
 * Checked: integers are BigInt, `bytesN` Uint8Array, addresses checksummed text, lists arrays, structs objects
 * under the Solidity names. In JSON: integers of at most 48 bits are numbers, wider ones decimal text; bytes are
 * lower-case hexadecimal behind 0x.
 */

import { unsigned } from "./abi.js";
import { strictAddress } from "./address.js";
import { fromHex, toHex } from "./bytes.js";
import { malformed } from "./refused.js";
import { STRUCTS } from "./structs.js";

const WIDEST_JSON_NUMBER = 48; // bits
const DECIMAL = /^(?:0|[1-9][0-9]{0,77})$/; // 78 digits hold 256 bits
const HEX = /^0x(?:[0-9a-f]{2})*$/;

/**
 * @param {string} name of a struct
 * @param {Object<string, unknown>} values under the Solidity names; bytes may be given in hexadecimal too
 * @param {string} [path] for refusals
 * @returns {Object<string, unknown>} the same, each in its one form
 * @throws {Refused} malformed_message, naming the field
 */
export function checked(name, values, path = "") {
  return eachField(name, values, path, check);
}

/**
 * @param {string} name of a struct
 * @param {unknown} json what `toJson` writes
 * @param {string} [path]
 * @returns {Object<string, unknown>} checked
 * @throws {Refused} malformed_message, naming the field: unknown, missing, wrong type or range
 */
export function fromJson(name, json, path = "") {
  return eachField(name, json, path, read);
}

/** @param {string} name @param {Object<string, unknown>} values @returns {Object<string, unknown>} */
export function toJson(name, values) {
  const known = checked(name, values);
  return Object.fromEntries(STRUCTS[name].fields.map(([field, type]) => [field, write(type, known[field])]));
}

/** @param {string} name of a struct @returns {string} its tuple type, as selectors write it */
export function abiType(name) {
  return `(${STRUCTS[name].fields.map(([, type]) => abiOf(type)).join(",")})`;
}

/** @param {string} name @param {Object<string, unknown>} values @returns {unknown[]} as `encode` takes them */
export function abiTuple(name, values) {
  const known = checked(name, values);
  return STRUCTS[name].fields.map(([field, type]) => abiValue(type, known[field]));
}

function eachField(name, values, path, one) {
  const isObject = typeof values === "object" && values !== null && !Array.isArray(values);
  if (!isObject) return malformed(path.replace(/\.$/, "") || name, "must be an object");
  const { fields } = STRUCTS[name];
  const known = new Set(fields.map(([field]) => field));
  for (const given of Object.keys(values)) {
    if (!known.has(given)) malformed(`${path}${given.slice(0, 40)}`, "is unknown");
  }
  for (const [field] of fields) if (!Object.hasOwn(values, field)) malformed(path + field, "is missing");
  return Object.fromEntries(fields.map(([field, type]) => [field, one(type, path + field, values[field])]));
}

function check(type, field, value) {
  if (type.endsWith("[]")) {
    if (!Array.isArray(value)) return malformed(field, "must be a list");
    return value.map((item, i) => check(type.slice(0, -2), `${field}[${i}]`, item));
  }
  if (type in STRUCTS) return eachField(type, value, `${field}.`, check);
  if (type.startsWith("uint")) return unsigned(value, bitsOf(type), field);
  if (type === "address") return strictAddress(field, value);
  if (type === "bool") return typeof value === "boolean" ? value : malformed(field, "must be true or false");
  if (type === "string") return typeof value === "string" ? value : malformed(field, "must be text");
  return checkBytes(Number(type.slice(5)), field, value);
}

function checkBytes(size, field, value) {
  const bytes = typeof value === "string" ? readHex(field, value) : value;
  if (!(bytes instanceof Uint8Array)) return malformed(field, "must be bytes");
  return size === 0 || bytes.length === size ? bytes : malformed(field, `must be ${size} bytes long`);
}

function read(type, field, value) {
  if (type.endsWith("[]")) {
    if (!Array.isArray(value)) return malformed(field, "must be a list");
    return value.map((item, i) => read(type.slice(0, -2), `${field}[${i}]`, item));
  }
  if (type in STRUCTS) return eachField(type, value, `${field}.`, read);
  if (type.startsWith("bytes")) return check(type, field, readHex(field, value));
  if (!type.startsWith("uint") || bitsOf(type) <= WIDEST_JSON_NUMBER) return check(type, field, value);
  if (typeof value === "string" && DECIMAL.test(value)) return check(type, field, BigInt(value));
  return malformed(field, "must be a decimal number written as a string");
}

function readHex(field, value) {
  if (typeof value === "string" && HEX.test(value)) return fromHex(value, field);
  return malformed(field, "must be 0x and lower-case hex digits");
}

function write(type, value) {
  if (type.endsWith("[]")) return value.map((item) => write(type.slice(0, -2), item));
  if (type in STRUCTS) return toJson(type, value);
  if (type.startsWith("uint")) return bitsOf(type) <= WIDEST_JSON_NUMBER ? Number(value) : String(value);
  return type.startsWith("bytes") ? toHex(value) : value;
}

function abiOf(type) {
  if (type.endsWith("[]")) return `${abiOf(type.slice(0, -2))}[]`;
  return type in STRUCTS ? abiType(type) : type;
}

function abiValue(type, value) {
  if (type.endsWith("[]")) return value.map((item) => abiValue(type.slice(0, -2), item));
  return type in STRUCTS ? abiTuple(type, value) : value;
}

function bitsOf(type) {
  return Number(type.slice(4));
}
