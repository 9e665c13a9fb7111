/** What a request is for, in terms of the Data Use Ontology, and which classes permit it. */

import { fromHex } from "./bytes.js";
import { element } from "./dom.js";
import { badge, grouped } from "./figures.js";
import { keccakText } from "./hash.js";
import { badParameter } from "./refused.js";
import { toJson } from "./solidity.js";

const HASH = /^0x[0-9a-fA-F]{64}$/;
const DISEASE = /^(?:MONDO:)?([0-9]{1,7})$/i;
const MONTHS = /^[0-9]{1,4}$/;

/**
 * @param {Object<string, string>} given the form's values
 * @returns {object} a Purpose, as JSON
 * @throws {Refused} bad_parameter, at its field
 */
export function purposeOf(given) {
  const ends = (given.ends ?? "").split(",");
  return toJson("Purpose", {
    uses: mask(given.uses),
    diseases: diseasesOf(given.diseases.trim()),
    commercial: ends.includes("commercial"),
    clinicalCare: ends.includes("care"),
    months: monthsOf(given.months.trim()),
    project: hashOf(given.project.trim(), "project", keccakText),
    ethicsApproval: hashOf(given.ethics.trim(), "ethics", notAHash),
    duties: mask(given.duties),
  });
}

/**
 * @param {Object<string, string>} given the form's values
 * @returns {object} `kind` and `country` of a credential that somebody thinks of getting; neither where both are empty
 * @throws {Refused} bad_parameter, where only one is there: by half a credential nothing can be judged
 */
export function imagined({ kind = "", country = "" }) {
  if (kind === "" && country === "") return {};
  if (kind === "") return badParameter("kind", "is missing", "Choose a kind of organisation, too.");
  if (country === "") return badParameter("country", "is missing", "Choose the country, too.");
  return { kind: Number(kind), country };
}

/** @returns {boolean} whether it can be judged who permits it: for the account's credential, or for one thought of */
export function isForSomebody({ account }, given) {
  return account !== null || "kind" in imagined(given);
}

function mask(bits = "") {
  return bits.split(",").filter(Boolean).reduce((sum, bit) => sum + 2 ** Number(bit), 0);
}

function diseasesOf(text) {
  return text.split(",").map((each) => each.trim()).filter(Boolean).map((each) => {
    const found = DISEASE.exec(each);
    if (found) return Number(found[1]);
    return badParameter("diseases", "has something that is no number of MONDO", "Write such as MONDO:0005015.");
  });
}

function monthsOf(text) {
  if (text === "") return 0;
  if (MONTHS.test(text)) return Number(text);
  return badParameter("months", "is no number of months", "Write it in digits, or leave it empty.");
}

function hashOf(text, field, otherwise) {
  if (text === "") return new Uint8Array(32);
  return HASH.test(text) ? fromHex(text.toLowerCase(), field) : otherwise(text);
}

function notAHash() {
  return badParameter("ethics", "is no hash of 32 bytes", "Write 0x and 64 hexadecimal digits, or leave it empty.");
}

/**
 * @param {{purpose: string, live: number, decisions: object[]}} found
 * @returns {HTMLElement[]} the decision panel: every class with its consents and every reason against it
 */
export function decisionPanel({ purpose, live, decisions }) {
  const total = `For ${purpose}: ${grouped(live)} live consents permit it.`;
  return [element("p", {}, total), element("ul", { class: "decisions" }, ...decisions.map(decision))];
}

function decision({ index, live, permitted, reasons }) {
  const head = [`Class ${index} `, badge(permitted ? "Permitted" : "Not permitted", permitted ? "good" : "bad")];
  const said = element("p", {}, ...head, ` ${grouped(live)} live consents`);
  if (permitted) return element("li", {}, said);
  return element("li", {}, said, element("ul", {}, ...reasons.map(reason)));
}

function reason({ sentence, remedy }) {
  return element("li", {}, `${sentence} `, element("span", { class: "note" }, remedy));
}
