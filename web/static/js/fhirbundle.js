/**
 * Hostile FHIR R4 JSON -> the one patient and the usable observations of a bundle. The counterpart of
 * `fhir.bundle`.
 */

import { parse } from "./canonical.js";
import { Decimal } from "./decimal.js";
import { dateTime, instant } from "./fhirdates.js";
import { refuse } from "./refused.js";

export const LARGEST_BUNDLE = 5 * 1024 * 1024;
/** Status values that stand for a result (FHIR R4 ObservationStatus); the others are left out. */
const RESULT_STATUS = ["final", "amended", "corrected"];
export const [TEXT, LIST, OBJECT] = ["text", "a list", "an object"];
const STRUCTURE = "Follow the FHIR R4 structure.";

/** @typedef {{path: string, body: Object<string, unknown>}} Part of a bundle, and where it stands */
/** @typedef {Part & {when: import("./fhirdates.js").Moment, at: string}} Observation when it was taken, as written */

/**
 * @param {Uint8Array} data
 * @returns {{path: string, patient: object, observations: Observation[], unfinished: object[]}} what the bundle
 *   says about its one patient; `unfinished` are observations that are no result, unread
 * @throws {Refused} malformed_fhir, naming the JSON path
 */
export function readBundle(data) {
  const document = parse(data, { limit: LARGEST_BUNDLE, code: "malformed_fhir", decimals: true });
  if (!isObject(document) || document.resourceType !== "Bundle") {
    return bad("$.resourceType", "is not Bundle", "Send a FHIR R4 Bundle of one patient.");
  }
  const resources = get(document, "entry", LIST, "$").map(resourceOf);
  const patients = resources.filter(({ body }) => body.resourceType === "Patient");
  if (patients.length !== 1) return bad("$.entry", `holds ${patients.length} patients`, "Send one patient per bundle.");
  const [{ path, fullUrl, body: patient }] = patients;
  const names = [fullUrl, typeof patient.id === "string" ? `Patient/${patient.id}` : null];
  const observed = resources.filter(({ body }) => body.resourceType === "Observation");
  const isResult = observed.map((each) => RESULT_STATUS.includes(get(each.body, "status", TEXT, each.path)));
  const observations = observed.filter((_, i) => isResult[i]).map((each) => observationOf(each, names));
  const unfinished = observed.filter((_, i) => !isResult[i]).map(({ body }) => body);
  return { path, patient, observations, unfinished };
}

function resourceOf(entry, i) {
  const at = `$.entry[${i}]`;
  if (!isObject(entry)) return bad(at, "is not an object", STRUCTURE);
  const body = get(entry, "resource", OBJECT, at);
  get(body, "resourceType", TEXT, `${at}.resource`);
  const fullUrl = "fullUrl" in entry ? get(entry, "fullUrl", TEXT, at) : null;
  return { path: `${at}.resource`, fullUrl, body };
}

function observationOf({ path, body }, names) {
  const subject = get(body, "subject", OBJECT, path);
  if (!names.includes(get(subject, "reference", TEXT, `${path}.subject`))) {
    return bad(`${path}.subject`, "is another patient", "Send one patient per bundle.");
  }
  return { path, when: whenOf(body, path), at: body.effectiveDateTime ?? body.effectiveInstant, body };
}

function whenOf(body, path) {
  const isInstant = "effectiveInstant" in body && !("effectiveDateTime" in body);
  const name = isInstant ? "effectiveInstant" : "effectiveDateTime";
  const text = get(body, name, TEXT, path);
  const when = isInstant ? instant(text) : dateTime(text);
  const problem = isInstant ? "is not an instant" : "is not a dateTime";
  return when ?? bad(`${path}.${name}`, problem, "Write it as 2026-01-31T09:00:00Z.");
}

/** The observation itself and its components (a blood pressure has two). @returns {Part[]} */
export function partsOf(path, body) {
  const listed = "component" in body ? get(body, "component", LIST, path) : [];
  const components = listed.map((part, i) => {
    const at = `${path}.component[${i}]`;
    return isObject(part) ? { path: at, body: part } : bad(at, "is not an object", "Follow FHIR R4.");
  });
  return [{ path, body }, ...components];
}

/** Whether a part is about this. @returns {boolean} @throws {Refused} malformed_fhir */
export function hasCode(part, { system, code }, path) {
  const concept = get(part, "code", OBJECT, path);
  return codingsOf(concept, `${path}.code`).some((each) => each.system === system && each.code === code);
}

/** The codings of a CodeableConcept (none, when it has text only). @throws {Refused} malformed_fhir */
export function codingsOf(concept, path) {
  const listed = "coding" in concept ? get(concept, "coding", LIST, path) : [];
  const wrong = listed.findIndex((item) => !isObject(item));
  return wrong < 0 ? listed : bad(`${path}.coding[${wrong}]`, "is not an object", STRUCTURE);
}

/** `body[key]`, which must be there and of this kind: TEXT, LIST or OBJECT. @throws {Refused} malformed_fhir */
export function get(body, key, kind, path) {
  const value = Object.hasOwn(body, key) ? body[key] : undefined;
  const is = { [TEXT]: typeof value === "string", [LIST]: Array.isArray(value), [OBJECT]: isObject(value) };
  return is[kind] ? value : bad(`${path}.${key}`, `is not ${kind}`, STRUCTURE);
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Decimal);
}

/** @param {string} path @param {string} problem @param {string} remedy @returns {never} */
export function bad(path, problem, remedy) {
  return refuse("malformed_fhir", `${path} ${problem}.`, remedy, path);
}
