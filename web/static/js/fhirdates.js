/**
 * FHIR R4's date, dateTime and instant, by the regular expressions of the specification and no others.
 * Source: https://hl7.org/fhir/R4/datatypes.html (primitive types).
 */

const YEAR = "([0-9](?:[0-9](?:[0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)";
const MONTH = "(0[1-9]|1[0-2])";
const DAY = "(0[1-9]|[1-2][0-9]|3[0-1])";
const CLOCK = "([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)";
const ZONE = "(Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))";
const TIME = `T${CLOCK}(?:\\.([0-9]+))?${ZONE}`;
const DATE = new RegExp(`^${YEAR}(?:-${MONTH}(?:-${DAY})?)?$`);
const DATE_TIME = new RegExp(`^${YEAR}(?:-${MONTH}(?:-${DAY}(?:${TIME})?)?)?$`);
const INSTANT = new RegExp(`^${YEAR}-${MONTH}-${DAY}${TIME}$`);

/** @typedef {{seconds: number, fraction: string}} Moment whole seconds (UTC), digits without zeros at their end */
/** @typedef {{year: number, month: number, day: number}} Day */

/** @param {string} text @returns {Day|null} of a FHIR date that names its day, which exists */
export function fullDate(text) {
  const found = DATE.exec(text);
  return found === null || found[3] === undefined ? null : dayOf(found);
}

/** @param {string} text a FHIR dateTime @returns {Moment|null} what it leaves out counts from its first moment */
export function dateTime(text) {
  return momentOf(DATE_TIME.exec(text));
}

/** @param {string} text a FHIR instant @returns {Moment|null} */
export function instant(text) {
  return momentOf(INSTANT.exec(text));
}

/** @param {Moment} one @param {Moment} other @returns {boolean} whether it is not before the other */
export function notBefore(one, other) {
  if (one.seconds !== other.seconds) return one.seconds > other.seconds;
  return one.fraction >= other.fraction;
}

function momentOf(found) {
  const day = found === null ? null : dayOf(found);
  if (day === null) return null;
  const [hour, minute, second] = found.slice(4, 7).map((part) => Number(part ?? 0));
  // A leap second (60) counts as the first of the next minute.
  const seconds = secondsOf(day) + hour * 3_600 + minute * 60 + second - offsetOf(found[8] ?? "Z");
  return { seconds, fraction: (found[7] ?? "").replace(/0+$/, "") };
}

/** Seconds east of UTC. */
function offsetOf(zone) {
  if (zone === "Z") return 0;
  const ahead = Number(zone.slice(1, 3)) * 3_600 + Number(zone.slice(4, 6)) * 60;
  return zone[0] === "+" ? ahead : -ahead;
}

/** Of the expressions' year, month and day; null for 30 February, which they let pass. */
function dayOf([, year, month = "1", day = "1"]) {
  const named = { year: Number(year), month: Number(month), day: Number(day) };
  return new Date(1_000 * secondsOf(named)).getUTCDate() === named.day ? named : null;
}

/** `Date.UTC` takes years below 100 for those of the last century. */
function secondsOf({ year, month, day }) {
  return new Date(0).setUTCFullYear(year, month - 1, day) / 1_000;
}
