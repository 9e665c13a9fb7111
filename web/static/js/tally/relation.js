/**
 * What a vector of scalars has to satisfy: columns that are linear in it, and products of linear forms.
 *
 * A relation says all that a validity proof shows (`validity.js`). `Builder` writes down the usual statements:
 * a bit, a whole number in a range, one of several, a product.
 */

import { sha256 } from "../../vendor/noble-hashes-2.4.0/sha2.js";
import { concat, fromBigInt, utf8 } from "../bytes.js";
import { scalarBytes } from "../curve.js";
import { modulo } from "./scalars.js";

/** The position that stands for the constant 1 in a form. */
export const ONE = -1;

/** @typedef {Map<number, bigint>} Form position in the vector (or ONE) -> coefficient, summed */
/** @typedef {{left: Form, right: Form, result: Form}} Product left(v) * right(v) = result(v) */
/**
 * @typedef {object} Relation
 * @property {number} size entries of the vector
 * @property {Form[]} columns are encrypted
 * @property {Product[]} products hold
 */

/** @param {Relation} relation @param {bigint[]} vector @returns {bigint[]} what each column holds */
export function valuesOf({ columns }, vector) {
  return columns.map((column) => evaluate(column, vector, 1n));
}

/** @param {Relation} relation @param {bigint[]} vector @returns {boolean} whether it satisfies all of it */
export function holds({ size, products }, vector) {
  const isTrue = ({ left, right, result }) =>
    modulo(evaluate(left, vector, 1n) * evaluate(right, vector, 1n)) === evaluate(result, vector, 1n);
  return vector.length === size && products.every(isTrue);
}

/**
 * @param {Relation} relation
 * @returns {Uint8Array} SHA-256 of size, columns and products, each form by its positions in ascending order
 */
export function digestOf({ size, columns, products }) {
  const hash = sha256.create().update(utf8("usufruct/relation/1"));
  for (const number of [size, columns.length, products.length]) hash.update(four(number));
  for (const column of columns) hash.update(formBytes(column));
  for (const { left, right, result } of products) {
    for (const form of [left, right, result]) hash.update(formBytes(form));
  }
  return hash.digest();
}

/**
 * @param {Form} form
 * @param {bigint[]} vector
 * @param {bigint} one what stands for the constant 1
 * @returns {bigint} sum coefficient * entry, modulo the order
 */
export function evaluate(form, vector, one) {
  let sum = 0n;
  for (const [at, coefficient] of form) sum += coefficient * (at === ONE ? one : vector[at]);
  return modulo(sum);
}

/** @param {...[bigint, Form]} parts @returns {Form} sum scale * form, without what cancels */
export function combined(...parts) {
  const sums = new Map();
  for (const [scale, form] of parts) {
    for (const [at, coefficient] of form) sums.set(at, (sums.get(at) ?? 0n) + scale * coefficient);
  }
  return new Map([...sums].filter(([, coefficient]) => modulo(coefficient) !== 0n));
}

/**
 * Weights of bits whose sums are exactly 0, 1, ..., `largest`: 1, 2, 4, ... and what is left.
 *
 * Every choice of bits stays in the range, so that a range needs no second proof (Lipmaa, Asokan and Niemi,
 * Financial Cryptography 2002, use the same idea).
 * @param {bigint} largest
 * @returns {bigint[]}
 */
export function weights(largest) {
  const found = [];
  for (let left = largest; left > 0n; left -= found.at(-1)) {
    const power = 1n << BigInt(found.length);
    found.push(power < left ? power : left);
  }
  return found;
}

/**
 * @param {bigint} value
 * @param {bigint} largest
 * @returns {bigint[]} one choice of bits with these `weights` that make `value`; from the largest weight down
 * @throws {RangeError} outside 0..largest
 */
export function bitsOf(value, largest) {
  if (value < 0n || value > largest) throw new RangeError("the value lies outside its range");
  const parts = weights(largest);
  const order = parts.map((_, at) => at).sort((one, other) => Number(parts[other] - parts[one]) || other - one);
  const chosen = parts.map(() => 0n);
  let left = value;
  for (const at of order) {
    if (parts[at] > left) continue;
    chosen[at] = 1n;
    left -= parts[at];
  }
  return chosen;
}

/**
 * Collects entries, columns and products in the order in which they are stated, and a vector beside them, so
 * that relation and vector cannot be written down differently.
 */
export class Builder {
  /** @type {bigint[]} the values given; secret where they are a record's */
  vector = [];
  #columns = [];
  #products = [];

  /** @returns {Relation} all of it */
  relation() {
    return { size: this.vector.length, columns: [...this.#columns], products: [...this.#products] };
  }

  /** @param {bigint} value @returns {Form} a further entry of the vector, of which nothing is said yet */
  entry(value) {
    this.vector.push(modulo(value));
    return new Map([[this.vector.length - 1, 1n]]);
  }

  /** @param {bigint} value @returns {Form} a further entry that is 0 or 1 */
  bit(value) {
    const entry = this.entry(value);
    this.requireBit(entry);
    return entry;
  }

  /** @returns {Form} a whole number in 0..largest, as further bits. @throws {RangeError} for one outside */
  number(/** @type {bigint} */ largest, /** @type {bigint} */ value) {
    const bits = bitsOf(value, largest);
    return combined(...weights(largest).map((weight, at) => [weight, this.bit(bits[at])]));
  }

  /** @param {Form} left @param {Form} right @returns {Form} a further entry that is their product */
  product(left, right) {
    const entry = this.entry(evaluate(left, this.vector, 1n) * evaluate(right, this.vector, 1n));
    this.requireProduct(left, right, entry);
    return entry;
  }

  /** form * form = form. */
  requireBit(/** @type {Form} */ form) {
    this.requireProduct(form, form, form);
  }

  /** left * right = result. */
  requireProduct(/** @type {Form} */ left, /** @type {Form} */ right, /** @type {Form} */ result) {
    this.#products.push({ left, right, result });
  }

  /** left = right, as a product with the constant 1. */
  requireEqual(/** @type {Form} */ left, /** @type {Form} */ right) {
    this.requireProduct(combined([1n, left], [-1n, right]), new Map([[ONE, 1n]]), new Map());
  }

  /** Further columns. */
  encrypt(/** @type {Form[]} */ forms) {
    this.#columns.push(...forms);
  }
}

function formBytes(form) {
  const positions = [...form.keys()].sort((one, other) => one - other);
  const parts = positions.flatMap((at) => [four(at + 1), scalarBytes(modulo(form.get(at)))]);
  return concat(four(positions.length), ...parts);
}

function four(number) {
  return fromBigInt(BigInt(number), 4);
}
