/** A row of scaled integers in words: what was sealed, as people write it. */

import { Decimal } from "./decimal.js";

/** Units of UCUM whose code is not how people write them. */
const UNITS = { a: "years", "mm[Hg]": "mmHg", "kg/m2": "kg/m²" };

const SQUARE = /^\((.+)\)\^2$/; // that of a variance

/** @typedef {{name: string, label: string, value: string|null, unit: string}} Shown */

/**
 * @param {import("./dictionary.js").Dictionary} dictionary
 * @param {import("./dictionary.js").Row} row
 * @returns {Shown[]} one a variable; null where it has no value
 */
export function shownRow({ variables }, row) {
  return variables.map((variable, i) => ({
    name: variable.name,
    label: variable.label,
    value: textOf(variable, row[i]),
    unit: unitOf(variable),
  }));
}

/** @returns {string|null} the value that a scaled integer, or the index of a category, stands for */
export function textOf(/** @type {import("./dictionary.js").Variable} */ variable, /** @type {number|null} */ scaled) {
  if (scaled === null) return null;
  if (variable.kind === "category") return variable.categories[scaled];
  return new Decimal(BigInt(scaled), -Number(variable.decimals)).toText();
}

/** @returns {string} of a number its unit as people write it, else nothing */
export function unitOf(/** @type {import("./dictionary.js").Variable} */ { unit = "" }) {
  const squared = SQUARE.exec(unit);
  if (squared !== null) return `(${unitOf({ unit: squared[1] })})²`;
  return Object.hasOwn(UNITS, unit) ? UNITS[unit] : unit;
}
