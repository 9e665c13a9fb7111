/** Text of somebody else made fit for people: the counterpart of `wire.plain`. */

const NOT_SHOWN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/** @param {string} text @returns {string} on one line, with U+FFFD for what moves, hides, turns or breaks text */
export function plain(text) {
  return text.replace(NOT_SHOWN, "\ufffd");
}

/** @param {string} text @returns {string} the same of each of its lines: for what stands in an element */
export function plainLines(text) {
  return text.split("\n").map(plain).join("\n");
}
