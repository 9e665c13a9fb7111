/**
 * Data dictionaries (usufruct-dictionary/1; /2 with an encoding) and the fixed-length row that a record seals:
 * one format byte, then 9 bytes a variable in dictionary order, presence and the fixed-point value (or category
 * index) as a big-endian int64. Its length says nothing about the patient.
 */

import { JSON_LIMIT, canonical, parse } from "./canonical.js";
import { Decimal } from "./decimal.js";
import { isObject, require, requireKeys, scaled } from "./dictionarychecks.js";
import { keccak } from "./hash.js";
import { refuse } from "./refused.js";
import { read as readEncoding } from "./tally/encoding.js";

export const SCHEMA = "usufruct-dictionary/1";
/** With an encoding: for the homomorphic lane, too. */
export const ENCODED = "usufruct-dictionary/2";
const MOST_VARIABLES = 64;
const LARGEST_SCALED = 2n ** 40n;
const MOST_DECIMALS = 9;
const MOST_CATEGORIES = 64;
const MOST_TEXT = 200;
const ROW_FORMAT = 1;
const CELL_BYTES = 9;
const NAME = /^[a-z][a-z0-9_]{0,39}$/;
const KEYS = ["schema", "name", "version", "variables"];
const SHARED_KEYS = ["name", "kind", "label", "code"];
const NUMBER_KEYS = [...SHARED_KEYS, "unit", "lower", "upper", "decimals"];
const CATEGORY_KEYS = [...SHARED_KEYS, "categories"];

/**
 * @typedef {object} Variable
 * @property {string} name
 * @property {"number"|"category"} kind
 * @property {string} label
 * @property {{system: string, code: string}} code of a coding system (LOINC, SNOMED CT)
 * @property {string} [unit] UCUM, of a number
 * @property {string} [lower] decimal, of a number
 * @property {string} [upper]
 * @property {number} [decimals]
 * @property {string[]} [categories]
 */
/**
 * @typedef {object} Dictionary
 * @property {string} name
 * @property {number} version
 * @property {Variable[]} variables
 * @property {import("./tally/encoding.js").Encoding|null} [encoding] without one: vault lane only
 */
/** @typedef {(number|null)[]} Row scaled values and category indices; null is absent */

/** @param {Uint8Array} data JSON @returns {Dictionary} @throws {Refused} malformed_json, bad_dictionary */
export function load(data) {
  return fromJson(parse(data, { limit: JSON_LIMIT }));
}

/** @param {unknown} document as `parse` gives it @returns {Dictionary} @throws {Refused} bad_dictionary */
export function fromJson(document) {
  const isEncoded = isObject(document) && document.schema === ENCODED;
  requireKeys(document, isEncoded ? [...KEYS, "encoding"] : KEYS, "dictionary");
  require(isEncoded || document.schema === SCHEMA, "schema", "is another", `Set it to ${SCHEMA}.`);
  requireName(document.name, "name");
  require(isInteger(document.version) && document.version >= 1, "version", "is not a positive integer", "Count up.");
  const listed = document.variables;
  const sized = Array.isArray(listed) && listed.length >= 1 && listed.length <= MOST_VARIABLES;
  require(sized, "variables", "has a wrong length", `List 1 to ${MOST_VARIABLES} variables.`);
  const variables = listed.map((entry, i) => variableOf(entry, `variables[${i}]`));
  const names = new Set(variables.map((variable) => variable.name));
  require(names.size === variables.length, "variables", "repeats a name", "Name each once.");
  const encoding = isEncoded ? readEncoding(document.encoding, variables.map(described)) : null;
  return { name: document.name, version: document.version, variables, encoding };
}

/** @param {Dictionary} dictionary @returns {Uint8Array} canonical JSON */
export function toBytes({ name, version, variables, encoding = null }) {
  if (encoding === null) return canonical({ schema: SCHEMA, name, version, variables });
  return canonical({ schema: ENCODED, name, version, variables, encoding: encoding.document });
}

/** @param {Dictionary} dictionary @returns {Uint8Array} what the chain keeps, 32 bytes */
export function hashOf(dictionary) {
  return keccak(toBytes(dictionary));
}

/** @param {Variable} variable @returns {[number, number]} least and greatest scaled value, both allowed */
export function domainOf({ kind, categories, lower, upper, decimals }) {
  if (kind === "category") return [0, categories.length - 1];
  return [lower, upper].map((bound) => Number(Decimal.parse(bound).scaled(decimals)));
}

/**
 * @param {Dictionary} dictionary
 * @param {Row} row
 * @returns {Uint8Array}
 * @throws {Refused} record_unreadable
 */
export function encodeRow({ variables }, row) {
  if (row.length !== variables.length) {
    return unreadable("row", "The row has another number of values than the dictionary.");
  }
  const bytes = new Uint8Array(1 + CELL_BYTES * variables.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = ROW_FORMAT;
  variables.forEach((variable, i) => {
    if (row[i] === null) return;
    if (!isWithin(variable, row[i])) unreadable(variable.name, `${variable.name} is outside its domain.`);
    bytes[1 + CELL_BYTES * i] = 1;
    view.setBigInt64(2 + CELL_BYTES * i, BigInt(row[i]));
  });
  return bytes;
}

/**
 * Strict inverse of `encodeRow`.
 * @param {Dictionary} dictionary
 * @param {Uint8Array} plaintext
 * @returns {Row}
 * @throws {Refused} record_unreadable: such a record counts as null
 */
export function decodeRow({ variables }, plaintext) {
  if (plaintext.length !== 1 + CELL_BYTES * variables.length || plaintext[0] !== ROW_FORMAT) {
    return unreadable("row", "The row has a wrong length or format.");
  }
  return variables.map((variable, i) => {
    const start = 1 + CELL_BYTES * i;
    return valueOf(variable, plaintext.slice(start, start + CELL_BYTES));
  });
}

function valueOf(variable, cell) {
  if (cell.every((byte) => byte === 0)) return null;
  const value = Number(new DataView(cell.buffer).getBigInt64(1));
  if (cell[0] === 1 && isWithin(variable, value)) return value;
  return unreadable(variable.name, `${variable.name} is malformed or outside its domain.`);
}

function isWithin(variable, value) {
  const [least, greatest] = domainOf(variable);
  return Number.isSafeInteger(value) && value >= least && value <= greatest;
}

/** As far as an encoding needs it. */
function described(variable) {
  const { name, decimals, categories } = variable;
  return { name, decimals, categories, domain: domainOf(variable) };
}

function variableOf(entry, path) {
  require(isObject(entry), path, "is not an object", "Describe one variable.");
  const known = entry.kind === "number" || entry.kind === "category";
  require(known, `${path}.kind`, "is unknown", "Use number or category.");
  const isNumber = entry.kind === "number";
  requireKeys(entry, isNumber ? NUMBER_KEYS : CATEGORY_KEYS, path);
  requireName(entry.name, `${path}.name`);
  requireText(entry.label, `${path}.label`);
  requireKeys(entry.code, ["system", "code"], `${path}.code`);
  requireText(entry.code.system, `${path}.code.system`);
  requireText(entry.code.code, `${path}.code.code`);
  if (isNumber) requireBounds(entry, path);
  else requireCategories(entry.categories, `${path}.categories`);
  return entry;
}

function requireBounds({ decimals, unit, lower, upper }, path) {
  const fits = isInteger(decimals) && decimals >= 0 && decimals <= MOST_DECIMALS;
  require(fits, `${path}.decimals`, "is out of range", `Use 0 to ${MOST_DECIMALS}.`);
  requireText(unit, `${path}.unit`);
  const [least, greatest] = [bound(lower, decimals, `${path}.lower`), bound(upper, decimals, `${path}.upper`)];
  require(least < greatest, `${path}.lower`, "is not below upper", "Swap or widen the bounds.");
}

function bound(text, decimals, path) {
  const integer = scaled(text, decimals, path);
  const fits = integer <= LARGEST_SCALED && integer >= -LARGEST_SCALED;
  require(fits, path, "is too large", "Keep it within 2^40 units.");
  return integer;
}

function requireCategories(listed, path) {
  const sized = Array.isArray(listed) && listed.length >= 2 && listed.length <= MOST_CATEGORIES;
  require(sized, path, "has a wrong length", "List 2 to 64 categories.");
  listed.forEach((category, i) => requireText(category, `${path}[${i}]`));
  require(new Set(listed).size === listed.length, path, "repeats a category", "List each once.");
}

function requireName(value, path) {
  const matches = typeof value === "string" && NAME.test(value);
  require(matches, path, "is not a name", "Use a-z, 0-9 and _, a letter first, at most 40.");
}

function requireText(value, path) {
  const length = typeof value === "string" ? Array.from(value).length : 0;
  require(length >= 1 && length <= MOST_TEXT, path, "is not text of 1 to 200 characters", "Give a short text.");
}

function isInteger(value) {
  return typeof value === "bigint" || Number.isInteger(value);
}

function unreadable(field, message) {
  return refuse("record_unreadable", message, "Seal the record again with this dictionary.", field);
}
