/**
 * A question with every default written out, as the operator sends it back: it must be the one that was asked, since
 * its hash is what is signed. And what it asks for, in words.
 */

import { Decimal } from "./decimal.js";
import { refuse } from "./refused.js";

/** Parameters in the order in which they are read, and what a page calls them. */
const LABELS = {
  variable: "Variable",
  level: "Quantile",
  clip: "Values clipped to",
  edges: "Edges of the cells",
  axes: "Axes",
  variables: "Variables",
  outcome: "Outcome",
  predictors: "Explained by",
  penalty: "Penalty",
  model: "Model",
  time: "Time",
  event: "Event",
  group: "Groups of",
  compare: "Compared",
  cases: "Patients with missing values",
  filters: "Only patients with",
};
/** The name of a variable, or a list of some. */
const NAMED = ["group", "time", "variable", "variables"];
const IN_ORDER = ["variable", "op", "value", "edges"];

/** @typedef {{name: string, kind: "number"|"category", lower?: string, upper?: string}} Variable */

/**
 * @param {Object<string, any>} parameters as they were asked
 * @param {Object<string, any>} canonical as the operator writes them out
 * @param {Variable[]} variables of the dictionary
 * @throws {Refused} quote_differs
 */
export function requireWrittenOut(parameters, canonical, variables) {
  const wanted = { filters: [], ...defaultClip(parameters, canonical, variables), ...parameters };
  const names = new Set([...Object.keys(wanted), ...Object.keys(canonical)]);
  for (const name of names) {
    if (plain(name, wanted, variables) !== plain(name, canonical, variables)) differs(name);
  }
}

/** The only default besides no filters: the dictionary's own bounds. */
function defaultClip({ variable }, canonical, variables) {
  const { lower, upper } = variables.find(({ name }) => name === variable) ?? {};
  return Object.hasOwn(canonical, "clip") && lower !== undefined ? { clip: [lower, upper] } : {};
}

function differs(name) {
  const message = `The operator's quote is for another question than yours: its ${LABELS[name] ?? name} is not what you asked.`;
  refuse("quote_differs", message, "Pay nothing on it. Load this page again, or ask another operator.");
}

/** One text for all spellings of the same; undefined where it is missing. */
function plain(name, given, variables) {
  if (!Object.hasOwn(given, name)) return undefined;
  const value = given[name];
  const number = ["level", "clip", "edges"].includes(name);
  if (name === "filters") return JSON.stringify([...new Set(value.map((each) => plainFilter(each, variables)))].sort());
  if (name === "axes") return JSON.stringify(value.map(({ variable, edges }) => [variable, (edges ?? []).map(plainNumber)]));
  return JSON.stringify(number ? [value].flat().map(plainNumber) : value);
}

function plainFilter({ variable, op, value }, variables) {
  const isNumber = variables.find(({ name }) => name === variable)?.kind === "number";
  const values = [value].flat().map((each) => (isNumber ? plainNumber(each) : each));
  return JSON.stringify([variable, op, [...new Set(values)].sort()]);
}

function plainNumber(text) {
  const read = Decimal.parse(String(text));
  if (read === null) return String(text);
  const digits = read.toText();
  const short = digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits;
  return short === "-0" ? "0" : short;
}

/**
 * @param {Object<string, any>} canonical
 * @param {Array<{name: string, label: string}>} variables of the dictionary: each is called by its label
 * @returns {Array<[string, string]>} label and value of each, in reading order
 */
export function askedIn(canonical, variables) {
  const shown = labelled(canonical, new Map(variables.map(({ name, label }) => [name, label])));
  const known = Object.keys(LABELS).filter((name) => Object.hasOwn(canonical, name));
  const others = Object.keys(canonical).filter((name) => !Object.hasOwn(LABELS, name)).sort();
  return [...known, ...others].map((name) => [LABELS[name] ?? name, inWords(shown[name])]);
}

function labelled(value, labels) {
  if (Array.isArray(value)) return value.map((each) => labelled(each, labels));
  if (typeof value !== "object" || value === null) return value;
  const told = Object.entries(value).map(([key, each]) => [key, NAMED.includes(key) ? called(each, labels) : labelled(each, labels)]);
  return Object.fromEntries(told);
}

function called(value, labels) {
  return Array.isArray(value) ? value.map((each) => labels.get(each) ?? each) : (labels.get(value) ?? value);
}

function inWords(value) {
  if (Array.isArray(value)) {
    const apart = value.some((each) => typeof each === "object") ? "; " : ", ";
    return value.map(inWords).join(apart) || "none";
  }
  if (typeof value !== "object" || value === null) return String(value);
  const others = Object.keys(value).filter((key) => !IN_ORDER.includes(key)).sort();
  const known = IN_ORDER.filter((key) => Object.hasOwn(value, key));
  return [...known, ...others].map((key) => inWords(value[key])).join(" ");
}
