/** Numbers as people type them. A comma that somebody means as a decimal one is never taken for nothing. */

/** In digits alone, or with its thousands apart, as pages write it. */
const WHOLE = /^(?:0|[1-9][0-9]{0,15}|[1-9][0-9]{0,2}(?:[,\s][0-9]{3}){1,4})$/;

/** @param {string} typed @returns {string|null} a whole number in digits alone; null for anything else */
export function wholeIn(typed) {
  return WHOLE.test(typed.trim()) ? typed.trim().replaceAll(/[,\s]/g, "") : null;
}

/** One with something right behind it: 1,000 is a thousand or two numbers, 0,5 a half or two; it depends on who writes. */
const DOUBTFUL = /,(?=[^\s,])/;

export const SPACED = "Write a space after each comma between numbers, and no comma within one: 0.5, 80, 1000.";

/** @param {string} typed @returns {boolean} whether a comma in it may stand within a number or between two */
export function isDoubtful(typed) {
  return DOUBTFUL.test(typed.trim());
}

/**
 * Splits at a comma before a space alone: what is doubtful stays whole, and is then refused as no number.
 * @param {string} typed numbers with a comma and a space between them
 * @returns {string[]}
 */
export function numbersIn(typed) {
  return typed
    .split(/,(?=\s|$)/)
    .map((each) => each.trim())
    .filter(Boolean);
}
