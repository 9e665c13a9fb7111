/** Bytes and their two spellings, read strictly: hexadecimal behind 0x, and padded base64. */

import { badParameter } from "./refused.js";

// No groups that repeat: on megabytes those would fill the engine's stack.
const HEX = /^0x[0-9a-fA-F]*$/;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const CHUNK = 0x8000; // arguments of one call; engines bound them

/** @param {Uint8Array} bytes @returns {string} 0x and lower-case digits */
export function toHex(bytes) {
  return "0x" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {unknown} text 0x and pairs of hexadecimal digits
 * @param {string} field
 * @param {number} [most] bytes
 * @returns {Uint8Array}
 * @throws {Refused} bad_parameter
 */
export function fromHex(text, field, most = 1 << 20) {
  if (typeof text !== "string" || !text.startsWith("0x") || text.length > 2 + 2 * most) {
    return badParameter(field, `must be 0x and at most ${2 * most} hexadecimal digits`);
  }
  if (!HEX.test(text) || text.length % 2 !== 0) return badParameter(field, "is not hexadecimal");
  const bytes = new Uint8Array(text.length / 2 - 1);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.slice(2 + 2 * i, 4 + 2 * i), 16);
  return bytes;
}

/**
 * @param {unknown} value 32 bytes, or 0x and 64 hexadecimal digits
 * @param {string} field
 * @returns {Uint8Array}
 * @throws {Refused} bad_parameter
 */
export function bytes32(value, field) {
  const bytes = value instanceof Uint8Array ? value : fromHex(value, field);
  if (bytes.length === 32) return bytes;
  const remedy = "Give exactly 32 bytes, or 0x and 64 hexadecimal digits.";
  return badParameter(field, "is not 32 bytes", remedy);
}

/** @param {Uint8Array} bytes @returns {string} standard base64 with padding */
export function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  }
  return btoa(text);
}

/**
 * @param {unknown} text standard base64, padded, without white space, in its one spelling
 * @param {string} field
 * @param {number} [most] bytes
 * @returns {Uint8Array}
 * @throws {Refused} bad_parameter
 */
export function fromBase64(text, field, most = 1 << 23) {
  if (typeof text !== "string" || text.length > Math.ceil(most / 3) * 4) {
    return badParameter(field, `must be base64 text of at most ${most} bytes`);
  }
  if (!BASE64.test(text) || text.length % 4 !== 0) return badParameter(field, "is not base64");
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return toBase64(bytes) === text ? bytes : badParameter(field, "is not base64");
}

/** @param {...Uint8Array} parts @returns {Uint8Array} */
export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Whether two public byte strings are the same (not in constant time). */
export function equal(/** @type {Uint8Array} */ one, /** @type {Uint8Array} */ other) {
  return one.length === other.length && one.every((byte, i) => byte === other[i]);
}

/** @param {string} text @returns {Uint8Array} UTF-8 */
export function utf8(text) {
  return new TextEncoder().encode(text);
}

/**
 * @param {bigint} value not negative
 * @param {number} length bytes
 * @returns {Uint8Array} big-endian
 * @throws {RangeError} where it does not fit
 */
export function fromBigInt(value, length) {
  const digits = value.toString(16).padStart(2 * length, "0");
  if (value < 0n || digits.length > 2 * length) throw new RangeError("an integer out of range");
  return fromHex("0x" + digits, "integer");
}

/** @param {Uint8Array} bytes big-endian @returns {bigint} */
export function toBigInt(bytes) {
  return bytes.length === 0 ? 0n : BigInt(toHex(bytes));
}

/** @param {number} length @returns {Uint8Array} from the browser's own generator */
export function randomBytes(length) {
  return crypto.getRandomValues(new Uint8Array(length));
}
