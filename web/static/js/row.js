/** Values as people write them -> the row of scaled integers that a record seals. */

import { byCodePoint } from "./canonical.js";
import { Decimal } from "./decimal.js";
import { badParameter, refuse } from "./refused.js";

/** @typedef {Decimal|string|null} Value a number, a category, or absent */

/**
 * @param {import("./dictionary.js").Dictionary} dictionary
 * @param {Object<string, Value>} values by name; one left out is absent
 * @returns {import("./dictionary.js").Row} one entry a variable, in dictionary order
 * @throws {Refused} bad_parameter (unknown name, wrong type, too many decimals), out_of_dictionary;
 *   neither says the value
 */
export function toRow({ variables }, values) {
  const names = new Set(variables.map((variable) => variable.name));
  const [unknown] = Object.keys(values).filter((name) => !names.has(name)).sort(byCodePoint);
  if (unknown !== undefined) return badParameter(unknown, "is not a variable of the dictionary", "Leave it out.");
  const valueOf = (name) => (Object.hasOwn(values, name) ? values[name] : null);
  return variables.map((variable) => scaled(variable, valueOf(variable.name)));
}

function scaled(variable, value) {
  if (value === null) return null;
  return variable.kind === "category" ? category(variable, value) : number(variable, value);
}

function category({ name, categories }, value) {
  if (typeof value !== "string") return badParameter(name, "is not text", "Give one of its categories.");
  const index = categories.indexOf(value);
  if (index >= 0) return index;
  const remedy = `Give one of: ${categories.join(", ")}.`;
  return refuse("out_of_dictionary", `${name} is none of its categories.`, remedy, name);
}

function number({ name, unit, lower, upper, decimals }, value) {
  if (!(value instanceof Decimal)) return badParameter(name, "is not a finite decimal", `Give a number in ${unit}.`);
  const within = value.compare(Decimal.parse(lower)) >= 0 && value.compare(Decimal.parse(upper)) <= 0;
  if (!within) {
    const remedy = "Check the measurement and its unit, or leave the variable out.";
    return refuse("out_of_dictionary", `${name} lies outside ${lower} to ${upper} ${unit}.`, remedy, name);
  }
  const whole = value.scaled(decimals);
  return whole === null ? badParameter(name, `has more than ${decimals} decimals`, "Round it.") : Number(whole);
}
