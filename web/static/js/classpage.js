/**
 * The page that a patient reads before consenting (usufruct-class-page/1), whose keccak256 is the class's
 * `termsHash`. The counterpart of `wire.class_page`.
 */

import { canonical, parseCanonical } from "./canonical.js";
import { keccak } from "./hash.js";
import { Refused, refuse } from "./refused.js";

export const SCHEMA = "usufruct-class-page/1";
/** In the order in which they are read: pay comes after the risks. */
export const PARAGRAPHS = ["what", "who", "why", "how_long", "how_protected", "how_to_stop", "pay"];
const KEYS = ["language", "title", ...PARAGRAPHS];
const LONGEST_TITLE = 200; // characters
const LONGEST_PARAGRAPH = 2_000;
const MOST_BYTES = 1 << 16;
const LANGUAGE = /^[a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-[A-Z]{2})?$/;
/** What moves, hides, turns or breaks text, and what is no character (see `wire.plain`). */
const NOT_SHOWN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u;
const SPACE_AT_AN_END = /^\p{Zs}|\p{Zs}$/u;

/** @typedef {Object<string, string>} ClassPage language, title and the seven paragraphs, each one line */

/** @param {Uint8Array} data canonical JSON @returns {ClassPage} @throws {Refused} bad_class_page, naming the key */
export function load(data) {
  return fromJson(parsed(data));
}

/** @param {unknown} document @returns {ClassPage} @throws {Refused} bad_class_page */
export function fromJson(document) {
  requireKeys(document);
  if (document.schema !== SCHEMA) return bad("schema", "is another", `Set it to ${SCHEMA}.`);
  const isTag = typeof document.language === "string" && LANGUAGE.test(document.language);
  if (!isTag) return bad("language", "is no language tag", 'Write it like "en" or "pt-BR".');
  requireText(document, "title", LONGEST_TITLE);
  for (const name of PARAGRAPHS) requireText(document, name, LONGEST_PARAGRAPH);
  return Object.fromEntries(KEYS.map((name) => [name, document[name]]));
}

/** @param {ClassPage} page @returns {Uint8Array} canonical JSON */
export function toBytes(page) {
  return canonical({ schema: SCHEMA, ...page });
}

/** @param {ClassPage} page @returns {Uint8Array} what the class's terms carry as `termsHash`, 32 bytes */
export function hashOf(page) {
  return keccak(toBytes(page));
}

function parsed(data) {
  try {
    return parseCanonical(data, { limit: MOST_BYTES });
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    return refuse("bad_class_page", fault.message, fault.remedy, "page");
  }
}

function requireKeys(document) {
  const isObject = typeof document === "object" && document !== null && !Array.isArray(document);
  if (!isObject) bad("page", "is not an object", `Give ${["schema", ...KEYS].join(", ")}.`);
  const missing = ["schema", ...KEYS].find((name) => !Object.hasOwn(document, name));
  if (missing !== undefined) bad(missing, "is missing", "Write it: a page has all of its parts.");
  const more = Object.keys(document).length > KEYS.length + 1;
  if (more) bad("page", "has a key that no page has", `Give exactly ${KEYS.join(", ")}.`);
}

function requireText(document, name, longest) {
  const text = document[name];
  const length = typeof text === "string" ? Array.from(text).length : 0;
  if (length < 1 || length > longest) {
    bad(name, `is not text of 1 to ${longest.toLocaleString("en")} characters`, "Shorten or write it.");
  }
  if (NOT_SHOWN.test(text)) {
    const remedy = "Write one line: no line breaks, controls or marks of direction.";
    bad(name, "has a character that is not shown as itself", remedy);
  }
  if (SPACE_AT_AN_END.test(text)) bad(name, "begins or ends with a space", "Leave out the space.");
}

function bad(field, problem, remedy) {
  return refuse("bad_class_page", `${field} ${problem}.`, remedy, field);
}
