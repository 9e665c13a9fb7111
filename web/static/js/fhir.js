/**
 * Hostile FHIR R4 JSON -> the values of one dictionary for the bundle's one patient, the latest result of each.
 * Nothing here leaves the browser, and no refusal says a value.
 */

import { Decimal } from "./decimal.js";
import { OBJECT, TEXT, bad, codingsOf, get, hasCode, partsOf, readBundle } from "./fhirbundle.js";
import { fullDate, notBefore } from "./fhirdates.js";
import { Refused, refuse } from "./refused.js";
import { toRow } from "./row.js";

export { LARGEST_BUNDLE } from "./fhirbundle.js";

const LOINC = "http://loinc.org";
const UCUM = "http://unitsofmeasure.org";
const AGE = "30525-0";
const SEX = "46098-0";
/** A fixed day, so that the same bundle always gives the same values. */
const REFERENCE_DATE = { year: 2026, month: 1, day: 1 };

/** Why a variable has no value. */
export const MISSING = {
  NOT_IN_BUNDLE: "not_in_bundle", // no observation has its code
  NOT_FINAL: "not_final", // observations have, and none is a result by its status
  NO_VALUE: "no_value", // results have, without a quantity or a coded value
  NOT_STATED: "not_stated", // age or sex, of which the patient says nothing
};

/**
 * @typedef {object} Extracted
 * @property {Object<string, import("./row.js").Value>} values one a variable, null for those in `missing`
 * @property {Object<string, string>} missing why, by name
 * @property {string[]} rounded names of those that were rounded half to even
 */

/** @typedef {{path: string, at: string|null}} Source a place in the bundle, and when it was measured */
/**
 * @typedef {object} Finding of one variable
 * @property {string} name
 * @property {import("./row.js").Value} value null where it is missing or refused
 * @property {string} [missing] why there is none
 * @property {boolean} [rounded]
 * @property {Source} [from] the resource that has it
 * @property {Refused} [refused] why what is there is not taken: its unit, its bounds, its categories
 */

/**
 * @param {Uint8Array} bundle
 * @param {import("./dictionary.js").Dictionary} dictionary
 * @param {import("./fhirdates.js").Day} [reference] age counts completed years on this day
 * @returns {Finding[]} one a variable, in the dictionary's order: what `extract` gives, each judged alone
 * @throws {Refused} malformed_fhir (naming the JSON path)
 */
export function findings(bundle, dictionary, reference = REFERENCE_DATE) {
  const read = readBundle(bundle);
  return dictionary.variables.map((variable) => ({ name: variable.name, ...findingOf(variable, read, reference) }));
}

function findingOf(variable, read, reference) {
  try {
    const found = findOne(variable, read, reference);
    const value = found.value ?? null;
    toRow({ variables: [variable] }, { [variable.name]: value });
    return { ...found, value };
  } catch (fault) {
    if (fault instanceof Refused && fault.field === variable.name) return { value: null, refused: fault };
    throw fault;
  }
}

/**
 * @param {Uint8Array} bundle
 * @param {import("./dictionary.js").Dictionary} dictionary
 * @param {import("./fhirdates.js").Day} [reference] age counts completed years on this day
 * @returns {Extracted} of results with the same time the last listed wins
 * @throws {Refused} malformed_fhir (naming the JSON path), wrong_unit, out_of_dictionary
 */
export function extract(bundle, dictionary, reference = REFERENCE_DATE) {
  const read = readBundle(bundle);
  const found = dictionary.variables.map((variable) => [variable.name, findOne(variable, read, reference)]);
  const values = Object.fromEntries(found.map(([name, { value = null }]) => [name, value]));
  toRow(dictionary, values);
  const without = found.filter(([, each]) => each.missing !== undefined);
  const rounded = found.filter(([, each]) => each.rounded).map(([name]) => name);
  return { values, missing: Object.fromEntries(without.map(([name, { missing }]) => [name, missing])), rounded };
}

function findOne(variable, bundle, reference) {
  const { system, code } = variable.code;
  if (system === LOINC && code === AGE) return stated(ageOf(bundle, reference), bundle);
  if (system === LOINC && code === SEX) return stated(sexOf(bundle), bundle);
  let latest = null;
  let empty = false;
  for (const { path, when, at, body } of bundle.observations) {
    for (const part of partsOf(path, body)) {
      const newer = latest === null || notBefore(when, latest.when);
      if (!newer || !hasCode(part.body, variable.code, part.path)) continue;
      if (hasValue(part.body)) latest = { ...part, when, from: { path, at } };
      else empty = true;
    }
  }
  if (latest !== null) return { ...readValue(variable, latest.body, latest.path), from: latest.from };
  return { missing: empty ? MISSING.NO_VALUE : whyNone(variable.code, bundle) };
}

function stated(value, { path }) {
  return value === null ? { missing: MISSING.NOT_STATED } : { value, from: { path, at: null } };
}

function whyNone(code, { unfinished }) {
  return unfinished.some((body) => mentions(body, code)) ? MISSING.NOT_FINAL : MISSING.NOT_IN_BUNDLE;
}

/** Whether an observation that is no result is about this: it need not be well formed. */
function mentions(body, code) {
  try {
    return partsOf("$", body).some((part) => hasCode(part.body, code, part.path));
  } catch (fault) {
    if (fault instanceof Refused) return false;
    throw fault;
  }
}

function hasValue(part) {
  return "valueQuantity" in part || "valueCodeableConcept" in part;
}

function readValue(variable, part, path) {
  if (variable.kind === "number") {
    return quantityOf(variable, get(part, "valueQuantity", OBJECT, path), `${path}.valueQuantity`);
  }
  const concept = get(part, "valueCodeableConcept", OBJECT, path);
  const codes = codingsOf(concept, `${path}.valueCodeableConcept`).map(({ code }) => code);
  const value = codes.find((code) => variable.categories.includes(code));
  if (value !== undefined) return { value };
  const remedy = `Code it as one of: ${variable.categories.join(", ")}.`;
  return refuse("out_of_dictionary", `${variable.name} is none of its categories.`, remedy, variable.name);
}

function quantityOf(variable, quantity, path) {
  requireUnit(variable, quantity, path);
  const raw = quantity.value;
  const isInteger = typeof raw === "number" || typeof raw === "bigint";
  if (!isInteger && !(raw instanceof Decimal)) {
    return bad(`${path}.value`, "is not a number", "Write it as a JSON number.");
  }
  const value = isInteger ? Decimal.of(raw) : raw;
  if ("comparator" in quantity) return bad(`${path}.comparator`, "makes it a bound", "Send a measured value.");
  const [lower, upper] = [variable.lower, variable.upper].map((bound) => Decimal.parse(bound));
  if (value.compare(lower) < 0 || value.compare(upper) > 0) return { value }; // refused by `toRow`
  const rounded = value.rounded(variable.decimals);
  return { value: rounded, rounded: rounded.compare(value) !== 0 };
}

function requireUnit({ name, unit: wanted }, quantity, path) {
  const unit = get(quantity, "code", TEXT, path);
  if (quantity.system === UCUM && unit === wanted) return;
  const shown = Array.from(unit).slice(0, 40).join("");
  const remedy = `Convert it to '${wanted}', coded in UCUM (${UCUM}).`;
  refuse("wrong_unit", `${name} is in '${shown}'; the dictionary has '${wanted}'.`, remedy, name);
}

function ageOf({ patient, path }, { year, month, day }) {
  if (!("birthDate" in patient)) return null;
  const born = fullDate(get(patient, "birthDate", TEXT, path));
  if (born === null) return bad(`${path}.birthDate`, "is not a full date", "Write it as 1970-01-31.");
  const before = month < born.month || (month === born.month && day < born.day);
  return Decimal.of(year - born.year - (before ? 1 : 0));
}

function sexOf({ patient, path }) {
  if (!("gender" in patient)) return null;
  const gender = get(patient, "gender", TEXT, path);
  return gender === "unknown" ? null : gender;
}
