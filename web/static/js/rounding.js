/** To what the numbers behind an answer of sums were rounded: columns hold whole steps of the encoding, not the values themselves. */

import { unitOf } from "./values.js";

/**
 * @param {any} parameters of an answer, canonical
 * @param {{variables: any[], encoding?: {variables: {name: string, step?: string}[]}}} dictionary as it is written
 * @returns {string} for every number that the question looks at; empty where it looks at none
 */
export function roundingOf({ variable, axes = [], filters = [] }, { variables, encoding }) {
  const names = [variable, ...[...axes, ...filters].map((each) => each.variable)].filter((name) => name !== undefined);
  const told = [...new Set(names)].flatMap((name) => {
    const step = encoding?.variables.find((each) => each.name === name)?.step;
    const found = variables.find((each) => each.name === name);
    return step === undefined || found === undefined ? [] : [`${found.label} ${roundedTo(step, unitOf(found))}`];
  });
  if (told.length === 0) return "";
  const what = "The answer, its cells and its conditions are of the rounded values; the interval does not cover rounding.";
  return `Rounded before they were encrypted, by the dataset's encoding: ${told.join("; ")}. ${what}`;
}

/** @returns {string} `to the nearest 5 years`, of single ones `to whole years` */
function roundedTo(/** @type {string} */ step, /** @type {string} */ unit) {
  return step === "1" ? `to whole ${unit || "numbers"}` : `to the nearest ${step} ${unit}`.trimEnd();
}
