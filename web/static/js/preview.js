/** What a bundle holds for a dictionary, value by value, with a choice to leave each out. */

import { element } from "./dom.js";
import { MISSING } from "./fhir.js";
import { plain } from "./plain.js";
import { toRow } from "./row.js";
import { table } from "./tables.js";
import { textOf, unitOf } from "./values.js";

const WHY = {
  [MISSING.NOT_IN_BUNDLE]: "Not in your file",
  [MISSING.NOT_FINAL]: "Not a final result yet",
  [MISSING.NO_VALUE]: "In your file, without a value",
  [MISSING.NOT_STATED]: "Your file does not say",
};
const COLUMNS = ["Variable", "Value", "From", "Leave out"];

/**
 * @param {import("./dictionary.js").Dictionary} dictionary
 * @param {import("./fhir.js").Finding[]} findings
 * @returns {HTMLElement} a table; boxes named `leave` hold the names of what is left out
 */
export function previewOf(dictionary, findings) {
  return table("What will be sealed", COLUMNS, findings.map((found, i) => rowOf(dictionary.variables[i], found)));
}

function rowOf(variable, found) {
  const choice = found.value === null ? "–" : choiceOf(variable);
  return [plain(variable.label), valueOf(variable, found), sourceOf(found), choice];
}

function valueOf(variable, found) {
  if (found.refused) {
    const said = plain(`${found.refused.message} ${found.refused.remedy}`);
    const why = element("p", { class: "error", "data-variable": variable.name }, said);
    return element("div", {}, element("strong", {}, "Not sealed"), why);
  }
  if (found.missing) {
    return element("span", { class: "note", "data-missing": variable.name }, `Missing. ${WHY[found.missing]}.`);
  }
  const text = plain(`${scaledText(variable, found)} ${unitOf(variable)}`.trim());
  const shown = element("div", {}, element("strong", { "data-value": variable.name }, text));
  if (found.rounded) shown.append(element("div", { class: "note" }, `Rounded to ${placesOf(variable)}.`));
  return shown;
}

function scaledText(variable, { value }) {
  const [scaled] = toRow({ variables: [variable] }, { [variable.name]: value });
  return textOf(variable, scaled);
}

function placesOf({ decimals }) {
  if (Number(decimals) === 0) return "a whole number";
  return Number(decimals) === 1 ? "1 decimal" : `${decimals} decimals`;
}

function sourceOf({ from }) {
  if (from === undefined) return "–";
  const entry = /^\$\.entry\[([0-9]+)\]/.exec(from.path)?.[1];
  const place = `entry ${Number(entry) + 1} of your file`;
  if (from.at === null) return element("span", {}, `Patient, ${place}`);
  const day = from.at.slice(0, 10);
  return element("span", {}, "Observation of ", element("time", { datetime: day }, day), `, ${place}`);
}

function choiceOf({ name, label }) {
  const id = `leave-${name}`;
  return element(
    "label",
    { class: "leave", for: id },
    element("input", { type: "checkbox", id, name: "leave", value: name }),
    element("span", { class: "visually-hidden" }, `Leave out ${plain(label)}`),
  );
}

/** @param {string} caption @param {import("./values.js").Shown[]} shown @returns {HTMLElement} what was sealed */
export function tableOfValues(caption, shown) {
  const rows = shown.map(({ name, label, value, unit }) => [
    plain(label),
    value === null
      ? element("span", { class: "note", "data-missing": name }, "Missing")
      : element("strong", { "data-value": name }, plain(`${value} ${unit}`.trim())),
  ]);
  return table(caption, ["Variable", "Value"], rows);
}

/**
 * @param {import("./fhir.js").Finding[]} findings
 * @param {string[]} left names of what is left out
 * @returns {Object<string, import("./row.js").Value>} what is to be sealed
 */
export function chosenValues(findings, left) {
  const chosen = findings.filter(({ name, value }) => value !== null && !left.includes(name));
  return Object.fromEntries(chosen.map(({ name, value }) => [name, value]));
}

/** @returns {string} how many values will be sealed, and what becomes of the others */
export function countedIn(/** @type {import("./fhir.js").Finding[]} */ findings, /** @type {string[]} */ left) {
  const sealed = Object.keys(chosenValues(findings, left)).length;
  const missing = findings.filter(({ missing: why }) => why !== undefined).length;
  const refused = findings.filter(({ refused: why }) => why !== undefined).length;
  const parts = [`${sealed} of ${findings.length} values will be sealed`];
  if (left.length > 0) parts.push(`${left.length} left out by you`);
  if (missing > 0) parts.push(`${missing} missing`);
  if (refused > 0) parts.push(`${refused} refused`);
  return `${parts.join(", ")}.`;
}
