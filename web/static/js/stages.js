/** Where something is on its way, as the template part `stages` draws it. */

import { element } from "./dom.js";

const SAID = { done: "done", now: "now", ahead: "still to come", ended: "ended here" };

/** @typedef {{label: string, means?: string, state: "done"|"now"|"ahead"|"ended", when?: When|null}} Step */
/** @typedef {{iso: string, text: string}} When */

/** @param {Step[]} steps @param {string} label of the list @returns {HTMLElement} */
export function stages(steps, label) {
  return element("ol", { class: "stages", "aria-label": label }, ...steps.map(drawnStep));
}

function drawnStep({ label, means, state, when = null }) {
  const step = element(
    "li",
    { "data-state": state, "aria-current": state === "now" ? "step" : null },
    element("span", { class: "stage-name" }, label),
    " ",
    element("span", { class: "visually-hidden" }, SAID[state]),
  );
  if (when !== null) {
    step.append(element("span", { class: "stage-when" }, element("time", { datetime: when.iso }, when.text)));
  }
  if (means) step.append(element("div", { class: "stage-means" }, means));
  return step;
}
