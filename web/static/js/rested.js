/** For which study somebody rests: kept in this browser until it is over or somebody signs out, and told to nobody. */

const RESTED = "rested for ";

function nameOf({ dataset, account }) {
  return `${RESTED}${dataset} ${account}`;
}

/** @param {import("./acts.js").Own} own @param {number} end unix seconds after which the study counts nobody any more */
export function keepStudy(own, end) {
  localStorage.setItem(nameOf(own), String(end));
}

/** @param {import("./acts.js").Own} own @returns {number|null} when the study ends, in unix seconds */
export function studyEnd(own) {
  const end = Number(localStorage.getItem(nameOf(own)));
  return end > 0 ? end : null;
}

/** @param {import("./acts.js").Own} own woken, or resting for nothing any more */
export function forgetStudy(own) {
  localStorage.removeItem(nameOf(own));
}

/** Of everybody who used this browser. */
export function forgetStudies() {
  const names = Array.from({ length: localStorage.length }, (_, place) => localStorage.key(place));
  for (const name of names.filter((each) => each.startsWith(RESTED))) localStorage.removeItem(name);
}
