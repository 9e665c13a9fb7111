/** An answer as a table for other programs, and whom it is about. */

import { grouped } from "./figures.js";
import { axesOf } from "./result.js";
import { unitOf } from "./values.js";
import { askedIn } from "./writtenout.js";

/** @typedef {{name: string, label: string}} Variable of the dictionary */

/**
 * One head line and one line a cell, so that every program reads it: what was asked, of whom and under which condition
 * stands on each line. Unit, level and the rest are called as the Python client calls them; `unit` is UCUM's.
 * @param {any} document of an opened answer
 * @param {Variable[]} variables
 * @param {string} request its id
 * @returns {string[][]}
 */
export function tableOf(document, variables, request) {
  const { noised, analysis, parameters, cohort_size: cohort } = document;
  const { filters = [], ...asked } = parameters;
  const question = askedIn(asked, variables).map(([label, value]) => `${label}: ${value}`).join("; ");
  const about = [noised.unit, unitOf(noised), noised.confidence, analysis, question, conditionOf(filters, variables), cohort, request];
  const names = noised.estimates[0].label.map((_, i) => labelOf(axesOf(document)[i] ?? `cell ${i + 1}`, variables));
  const head = [...names, "estimate", "lower", "upper", "unit", "unit_as_written", "level", "analysis", "question", "condition", "cohort_size", "request"];
  return [head, ...noised.estimates.map(({ label, value, low, high }) => [...label, value, low, high, ...about])];
}

/**
 * @param {any} document of an opened answer
 * @param {Variable[]} variables
 * @returns {string} who was counted; beside a filter, that the number is not of those who pass it
 */
export function groupOf({ parameters, cohort_size: members }, variables) {
  const { filters = [], clip } = parameters;
  if (filters.length === 0) return `Counted: ${patients(members)}.`;
  const about = `The group had ${patients(members)}; the answer is about those of them with ${conditionOf(filters, variables)}.`;
  return clip === undefined ? about : `${about} How many these are is not part of it.`;
}

function patients(members) {
  return members === 1 ? "1 patient" : `${grouped(members)} patients`;
}

/** Empty where there is none. */
function conditionOf(filters, variables) {
  return filters.map((each) => askedIn({ filters: [each] }, variables)[0][1]).join(" and ");
}

/** @param {string} name @param {Variable[]} variables @returns {string} what the dictionary calls it; else the name */
export function labelOf(name, variables) {
  return variables.find((each) => each.name === name)?.label ?? name;
}
