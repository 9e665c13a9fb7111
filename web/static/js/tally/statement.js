/** What a validity proof shows of one row, and the vector behind it, which is the record's and secret. */

import { columnsOf, indicatorsOf, productName } from "./encoding.js";
import { Builder, ONE, combined } from "./relation.js";

const PRESENT = new Map([[ONE, 1n]]);
const NOTHING = new Map();

/** @typedef {import("./encoding.js").Encoding} Encoding */
/** @typedef {import("./relation.js").Form} Form */

/**
 * @param {Encoding} encoding
 * @param {import("../dictionary.js").Row} row within the dictionary's domains
 * @returns {Builder} relation and vector; the relation is the same for every row
 */
export function stated(encoding, row) {
  const builder = new Builder();
  const forms = new Map();
  for (const each of encoding.variables) {
    for (const [name, form] of state(builder, each, storedOf(row[each.position]))) forms.set(name, form);
  }
  for (const [left, right] of encoding.products) {
    forms.set(productName(left, right), builder.product(forms.get(left), forms.get(right)));
  }
  builder.encrypt(columnsOf(encoding).map(({ name }) => forms.get(name)));
  return builder;
}

/** @param {Encoding} encoding @returns {import("./relation.js").Relation} what every record's proof shows */
export function relationOf(encoding) {
  return stated(encoding, []).relation();
}

function storedOf(value) {
  return value === null || value === undefined ? null : BigInt(value);
}

/** What one variable adds to the statement: the forms of its atoms, `name?` always among them. */
function state(builder, variable, stored) {
  if (variable.categories) return oneOf(builder, variable, stored === null ? null : Number(stored));
  const q = stored === null ? null : quantised(variable, stored);
  if (variable.starts.length > 0) return inIntervals(builder, variable, q);
  const { name, steps } = variable;
  const present = builder.bit(q === null ? 0n : 1n);
  const value = builder.number(steps, q ?? 0n);
  builder.requireProduct(combined([1n, PRESENT], [-1n, present]), value, NOTHING);
  return [[`${name}?`, present], [name, value]];
}

/** One of the indicators is 1, or none. */
function oneOf(builder, variable, chosen) {
  const each = Array.from({ length: indicatorsOf(variable) }, (_, i) => builder.bit(i === chosen ? 1n : 0n));
  const present = combined(...each.map((form) => [1n, form]));
  builder.requireBit(present);
  return [[`${variable.name}?`, present], ...each.map((form, i) => [`${variable.name}=${i}`, form])];
}

/**
 * q is the start of its interval and a rest; rest and what is missing to the end make up the interval's width
 * less 1. Both are at least 0, so the rest stays in the interval; where no interval is chosen, it is 0.
 */
function inIntervals(builder, variable, q) {
  const { name, starts } = variable;
  const widths = widthsOf(variable);
  const chosen = q === null ? null : starts.findLastIndex((start) => start <= q);
  const forms = oneOf(builder, variable, chosen);
  const widest = widths.reduce((most, width) => (width > most ? width : most)) - 1n;
  const [rest, room] = chosen === null ? [0n, 0n] : [q - starts[chosen], widths[chosen] - 1n];
  const above = builder.number(widest, rest);
  const below = builder.number(widest, room - rest);
  const indicators = forms.slice(1).map(([, form]) => form);
  const allowed = combined(...widths.map((width, i) => [width - 1n, indicators[i]]));
  builder.requireEqual(combined([1n, above], [1n, below]), allowed);
  const value = combined(...starts.map((start, i) => [start, indicators[i]]), [1n, above]);
  return [...forms, [name, value]];
}

/** q of a stored integer of the variable's domain. */
function quantised({ lower, step }, stored) {
  return (2n * (stored - lower) + step) / (2n * step);
}

/** Values of q in each interval. */
function widthsOf({ starts, steps }) {
  return starts.map((start, i) => (starts[i + 1] ?? steps + 1n) - start);
}
