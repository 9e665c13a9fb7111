/** Numbers as people type them. A comma that somebody means as a decimal one is never taken for nothing. */

/** In digits alone, or with its thousands apart, as pages write it. */
const WHOLE = /^(?:0|[1-9][0-9]{0,15}|[1-9][0-9]{0,2}(?:[,\s][0-9]{3}){1,4})$/;

/** @param {string} typed @returns {string|null} a whole number in digits alone; null for anything else */
export function wholeIn(typed) {
  return WHOLE.test(typed.trim()) ? typed.trim().replaceAll(/[,\s]/g, "") : null;
}

/**
 * Where commas with a space stand between numbers, one without is within a number: 0,5 is then refused as none.
 * @param {string} typed numbers with commas between them
 * @returns {string[]}
 */
export function numbersIn(typed) {
  const parts = /,\s/.test(typed) ? typed.split(/,\s+/) : typed.split(",");
  return parts.map((each) => each.trim()).filter(Boolean);
}
