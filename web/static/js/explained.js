/** What an analysis asks and tells, and what its parameters mean in a lane, as the catalogue says it. */

import { element } from "./dom.js";
import { factList } from "./figures.js";
import { laneOf, parametersOf } from "./question.js";

/**
 * @param {Object<string, string>} given the form's values
 * @param {{analyses: any[], means: Object<string, Object<string, string>>, names: Object<string, string>}} own `means`:
 *   of parameters, by lane and name; `names`: what pages call them
 * @returns {HTMLElement[]} nothing where no analysis is chosen
 */
export function explained(given, own) {
  const found = own.analyses.find(({ id }) => id === given.analysis);
  if (found === undefined) return [];
  const means = own.means[laneOf(given)];
  const rows = parametersOf(given, own).map((name) => [own.names[name] ?? name, means[name]]);
  const more = element("details", {}, element("summary", {}, "What can be said of it"), factList(rows));
  return [element("p", { class: "note" }, `${found.asks} ${found.tells}`), more];
}
