/** What an analysis asks and tells, and what its parameters mean in a lane, as the catalogue says it. */

import { element, fill } from "./dom.js";
import { factList } from "./figures.js";
import { HOMOMORPHIC } from "./lanes.js";
import { laneOf, parametersOf } from "./question.js";

/**
 * @typedef {{analyses: any[], means: Object<string, Object<string, string>>, names: Object<string, string>}} Explained
 *   `means`: of parameters, by lane and name; `names`: what pages call them
 */

/**
 * Says it anew only where it is another: what is read aloud, or unfolded, stays while somebody types.
 * @param {HTMLElement} place
 * @param {Object<string, string>} given the form's values
 * @param {Explained} own
 */
export function explain(place, given, own) {
  const of = `${given.analysis} ${laneOf(given)}`;
  if (place.dataset.of === of) return;
  place.dataset.of = of;
  fill(place, ...explained(given, own));
}

/**
 * Which conditions the chosen variable can have in the homomorphic lane; nothing where any can stand, or none is asked for.
 * @param {HTMLElement} place
 * @param {Object<string, string>} given the form's values
 * @param {{together: Object<string, Object<string, string>>}} own sentences, by analysis and variable
 */
export function tellTogether(place, given, { together }) {
  const isAsked = laneOf(given) === HOMOMORPHIC && Object.hasOwn(together, given.analysis);
  const text = isAsked ? together[given.analysis][given.variable] ?? "" : "";
  if (place.textContent !== text) place.textContent = text;
  place.hidden = text === "";
}

/** Nothing where no analysis is chosen. @returns {HTMLElement[]} */
function explained(given, own) {
  const found = own.analyses.find(({ id }) => id === given.analysis);
  if (found === undefined) return [];
  const means = own.means[laneOf(given)];
  const rows = parametersOf(given, own).map((name) => [own.names[name] ?? name, means[name]]);
  const more = element("details", {}, element("summary", {}, "What can be said of it"), factList(rows));
  return [element("p", { class: "note" }, `${found.asks} ${found.tells}`), more];
}
