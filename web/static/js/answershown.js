/** An opened answer on its page: the picture, the numbers, whom they are about, what was checked, and the files to keep. */

import { groupOf, labelOf, tableOf } from "./answertable.js";
import { element, fill, one } from "./dom.js";
import { badge, notice } from "./figures.js";
import { numbersTable, plotted } from "./plot.js";
import { axesOf, empty } from "./result.js";
import { roundingOf } from "./rounding.js";
import { csv, save } from "./save.js";
import { unitOf } from "./values.js";

/** @typedef {{request: string, dictionary: any}} Own `dictionary` was held against the dataset's id; null where nobody has it */

/**
 * @param {import("./result.js").Answer} answer
 * @param {Own} given
 */
export function showAnswer(answer, given) {
  const own = { ...given, variables: given.dictionary?.variables ?? [] }; // those that were checked, and no others
  draw(answer, own);
  fill(one("#checks"), ...answer.checks.map(checked));
  offerFiles(answer, own);
}

function draw({ document, isOfSums }, { variables, dictionary }) {
  const { noised, parameters } = document;
  const shown = { estimates: noised.estimates, unit: unitOf(noised), names: axesOf(document).map((name) => labelOf(name, variables)) };
  fill(one("#plot"), ...plotted(shown));
  fill(one("#numbers"), numbersTable(shown));
  const nothing = empty(document);
  const cells = noised.estimates.length;
  const which = cells === 1 ? "The" : `In ${nothing} of ${cells} cells the`;
  const warning = notice("This tells nothing", `${which} interval spans everything possible.`, "warning");
  const rounding = isOfSums ? roundingOf(parameters, dictionary) : "";
  fill(
    one("#answer"),
    element("p", {}, groupOf(document, variables)),
    ...(rounding === "" ? [] : [element("p", { class: "note" }, rounding)]),
    ...(nothing > 0 ? [warning] : []),
  );
}

function checked({ means, why }) {
  const sign = why === null ? badge("Holds", "good") : badge("Not checked here", "care");
  return element("li", {}, sign, ` ${means} ${why ?? ""}`);
}

function offerFiles({ bytes, document, result }, { request, variables }) {
  const short = request.slice(2, 10);
  const files = {
    csv: () => save(`result-${short}.csv`, csv(tableOf(document, variables, request)), "text/csv"),
    json: () => save(`result-${short}.json`, result, "application/json"),
    receipt: () => save(`receipt-${short}.json`, bytes, "application/json"),
  };
  for (const [id, keep] of Object.entries(files)) one(`#${id}`).addEventListener("click", keep);
}
