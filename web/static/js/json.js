/**
 * Reads JSON from hostile bytes. Our own reader, since `JSON.parse` rounds decimals and takes a key that
 * stands twice. It gives objects without a prototype, so that `__proto__` is a key like any other.
 */

import { Decimal } from "./decimal.js";
import { refuse } from "./refused.js";

export const DEEPEST = 64; // levels
export const LARGEST_INTEGER = 2n ** 53n; // every whole number up to it is exact as a JavaScript number
const MOST_DIGITS = 4_300; // of a whole number, as the servers read it
const NUMBER = /-?((?:0|[1-9][0-9]*))((?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const SPACE = /[ \t\n\r]*/y;
const FOUR_DIGITS = /[0-9a-fA-F]{4}/y;
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const WORDS = { t: ["true", true], f: ["false", false], n: ["null", null] };

/**
 * JSON from hostile bytes: bounded, no key twice, no NaN. Whole numbers beyond 2^53 become BigInt.
 * @param {Uint8Array} data
 * @param {{limit: number, code?: string, decimals?: boolean}} options `decimals` reads fractions as
 *   `Decimal`, otherwise they are refused; `code` is that of the refusal
 * @returns {unknown}
 * @throws {Refused}
 */
export function parse(data, { limit, code = "malformed_json", decimals = false }) {
  if (data.length > limit) {
    const message = `The JSON has ${data.length} bytes; the limit is ${limit}.`;
    return refuse(code, message, "Send a smaller document.", "$");
  }
  if (!isShallow(data)) {
    const message = `The JSON is nested more than ${DEEPEST} levels deep.`;
    return refuse(code, message, "Send a flatter document.", "$");
  }
  return new Reader(decoded(data, code), code, decimals).whole();
}

/**
 * @param {Uint8Array} data
 * @param {number} [deepest]
 * @returns {boolean} whether no bracket is nested deeper; to be asked before parsing
 */
export function isShallow(data, deepest = DEEPEST) {
  let depth = 0;
  let inText = false;
  for (let at = 0; at < data.length; at++) {
    const byte = data[at];
    if (inText) {
      if (byte === 0x5c) at++; // a backslash: whatever follows is text
      else if (byte === 0x22) inText = false;
    } else if (byte === 0x22) inText = true;
    else if (byte === 0x5b || byte === 0x7b) depth++;
    else if (byte === 0x5d || byte === 0x7d) depth--;
    if (depth > deepest) return false;
  }
  return true;
}

function decoded(data, code) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return unreadable(code, "");
  }
}

function unreadable(code, place) {
  const remedy = "Send UTF-8 JSON without NaN, Infinity or excessive nesting.";
  return refuse(code, `The bytes are not JSON that this format allows${place}.`, remedy, "$");
}

/** @param {unknown} value @param {string[]} keys @returns {boolean} whether it is an object of exactly these */
export function hasExactly(value, keys) {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject && Object.keys(value).length === keys.length && keys.every((key) => Object.hasOwn(value, key));
}

class Reader {
  constructor(text, code, decimals) {
    this.text = text;
    this.code = code;
    this.decimals = decimals;
    this.at = 0;
  }

  whole() {
    const value = this.value();
    this.take(SPACE);
    return this.at === this.text.length ? value : this.fail();
  }

  value() {
    this.take(SPACE);
    const first = this.text[this.at];
    if (first === "{") return this.object();
    if (first === "[") return this.list();
    if (first === '"') return this.string();
    if (first in WORDS) return this.word(...WORDS[first]);
    return this.number();
  }

  word(text, value) {
    if (!this.text.startsWith(text, this.at)) this.fail();
    this.at += text.length;
    return value;
  }

  object() {
    const found = Object.create(null);
    this.items("}", () => {
      if (this.text[this.at] !== '"') this.fail();
      const key = this.string();
      this.take(SPACE);
      if (this.text[this.at++] !== ":") this.fail();
      const value = this.value();
      if (key in found) this.twice();
      found[key] = value;
    });
    return found;
  }

  list() {
    const found = [];
    this.items("]", () => found.push(this.value()));
    return found;
  }

  /** Between brackets, separated by commas: none, or one and more. */
  items(end, readOne) {
    this.at++;
    this.take(SPACE);
    if (this.text[this.at] === end) {
      this.at++;
      return;
    }
    for (;;) {
      this.take(SPACE);
      readOne();
      this.take(SPACE);
      const next = this.text[this.at++];
      if (next === end) return;
      if (next !== ",") this.fail();
    }
  }

  string() {
    this.at++;
    let text = "";
    for (;;) {
      text += this.take(PLAIN);
      const next = this.text[this.at++];
      if (next === '"') return text;
      if (next !== "\\") this.fail();
      text += this.escape();
    }
  }

  escape() {
    const letter = this.text[this.at++];
    if (letter === "u") return String.fromCharCode(parseInt(this.take(FOUR_DIGITS) || this.fail(), 16));
    return Object.hasOwn(ESCAPES, letter ?? "") ? ESCAPES[letter] : this.fail();
  }

  number() {
    NUMBER.lastIndex = this.at;
    const found = NUMBER.exec(this.text) ?? this.fail();
    this.at = NUMBER.lastIndex;
    if (found[2] !== "") return (this.decimals && Decimal.parse(found[0])) || this.fail();
    if (found[1].length > MOST_DIGITS) this.fail();
    const integer = BigInt(found[0]);
    const exact = integer >= -LARGEST_INTEGER && integer <= LARGEST_INTEGER;
    return exact ? Number(integer) : integer;
  }

  /** What this sticky expression matches here; it may be nothing. */
  take(expression) {
    expression.lastIndex = this.at;
    const found = expression.exec(this.text)?.[0] ?? "";
    this.at += found.length;
    return found;
  }

  twice() {
    const remedy = "Name every key once: readers disagree about which value wins.";
    return refuse(this.code, "A JSON object names the same key twice.", remedy, "$");
  }

  /** Says where, never what stands there: it may be a record's value. */
  fail() {
    const before = this.text.slice(0, Math.min(this.at, this.text.length)).split("\n");
    const column = Array.from(before.at(-1)).length + 1;
    return unreadable(this.code, ` (line ${before.length}, column ${column})`);
  }
}

