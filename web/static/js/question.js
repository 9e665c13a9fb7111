/** The question that a form asks: its analysis and parameters, and which control a refused field is. */

import { one } from "./dom.js";
import { HOMOMORPHIC, VAULT } from "./lanes.js";
import { Refused, refuse } from "./refused.js";
import { SPACED, isDoubtful, numbersIn, wholeIn } from "./typed.js";

export const FILTERS = 8;
export const AXES = 3;
/** Encrypted values are clipped nowhere but at the dictionary's bounds, so there nobody is asked where. */
const NOT_ENCRYPTED = ["clip"];

const NO_COLUMNS = "The homomorphic lane cannot look at this variable: the dataset's encoding does not have it.";
const ANOTHER = "Choose another one, or leave it empty; or ask in the vault lane.";

/** @typedef {{filters: number[], axes: number[]}} Rows which rows of the form the lists were read from */
/** @typedef {{dataset: string, classes: number[], analysis: string, parameters: object, lane: number}} Question */
/** @typedef {{id: string, lanes: number[], parameters: string[]}} Asked `lanes`: those in which this page asks it */
/** @typedef {[string, string]|[string, string, string]} Missing a control, what to do there, and what is wrong if it is not just empty */

/**
 * @param {Object<string, string>} given the form's values
 * @param {{dataset: string, analyses: Asked[], variables: object[], encoded: string[]}} own `encoded`: names of variables
 * @returns {{question: Question, rows: Rows, missing: Missing|null}}
 */
export function questionOf(given, own) {
  const wanted = parametersOf(given, own);
  const rows = { filters: filled(FILTERS, "filter", "_variable", given), axes: filled(AXES, "axis", "", given) };
  const read = {
    variable: () => given.variable,
    level: () => text(given.level),
    clip: () => [text(given.clip_lower), text(given.clip_upper)],
    edges: () => numbersIn(given.edges),
    axes: () => rows.axes.map((row) => axisOf(given, row, own)),
    filters: () => rows.filters.map((row) => filterOf(given, row, own)),
  };
  const asked = wanted.filter((name) => isAsked(name, given, rows, own));
  const parameters = Object.fromEntries(asked.map((name) => [name, read[name]()]));
  const classes = list(given.classes ?? "").map(Number);
  const question = { dataset: own.dataset, classes, analysis: given.analysis, parameters, lane: laneOf(given) };
  return { question, rows, missing: missingOf(given, wanted, rows, own) };
}

/** @returns {number} the lane of a form's question: the vault lane where nobody chose */
export function laneOf(/** @type {Object<string, string>} */ { lane }) {
  return lane === String(HOMOMORPHIC) ? HOMOMORPHIC : VAULT;
}

/** @returns {string[]} names of the parameters that a form's analysis has in its lane; none where it is not asked there */
export function parametersOf(given, { analyses }) {
  const lane = laneOf(given);
  const asked = analyses.find(({ id, lanes }) => id === given.analysis && lanes.includes(lane))?.parameters ?? [];
  return lane === HOMOMORPHIC ? asked.filter((name) => !NOT_ENCRYPTED.includes(name)) : asked;
}

/** Cost or error, as it is sent: a cost in digits is a number, so that the server may refuse all else. */
export function goalOf(driver, given) {
  const typed = text(given[driver]);
  if (driver === "target_error") return { target_error: typed };
  const whole = wholeIn(typed);
  return { cost: whole === null ? typed : Number(whole) };
}

function isAsked(name, given, rows, own) {
  if (name === "clip") return Boolean(text(given.clip_lower) || text(given.clip_upper));
  if (name === "filters") return rows.filters.length > 0 || given.analysis.startsWith("count");
  return name !== "edges" || isNumber(given.variable, own);
}

/** @returns {boolean} whether this variable has cells only by edges */
export function isNumber(name, { variables }) {
  return variables.find((each) => each.name === name)?.kind === "number";
}

function axisOf(given, row, own) {
  const variable = given[`axis${row}`];
  return isNumber(variable, own) ? { variable, edges: numbersIn(given[`axis${row}_edges`]) } : { variable };
}

function filterOf(given, row, own) {
  const [variable, op, value] = ["variable", "op", "value"].map((part) => given[`filter${row}_${part}`]);
  const several = isNumber(variable, own) ? numbersIn : list;
  return { variable, op, value: op === "in" ? several(value) : text(value) };
}

function filled(most, name, end, given) {
  return Array.from({ length: most }, (_, i) => i + 1).filter((row) => given[`${name}${row}${end}`]);
}

function missingOf(given, wanted, rows, own) {
  const unencoded = unencodedIn(given, wanted, rows, own);
  if (unencoded) return [unencoded, ANOTHER, NO_COLUMNS];
  if (!given.analysis) return ["analysis", "Choose an analysis."];
  if (wanted.includes("variable") && !given.variable) return ["variable", "Choose a variable."];
  if (wanted.includes("level") && !text(given.level)) return ["level", "Write a quantile."];
  const edges = wanted.includes("edges") && isNumber(given.variable, own);
  if (edges && !text(given.edges)) return ["edges", "Write the edges of the cells."];
  if (edges && isDoubtful(given.edges)) return ["edges", SPACED];
  if (wanted.includes("clip") && Boolean(text(given.clip_lower)) !== Boolean(text(given.clip_upper))) {
    return [text(given.clip_lower) ? "clip_upper" : "clip_lower", "Write both ends, or neither."];
  }
  return missingInRows(given, wanted, rows, own) ?? (given.classes ? null : ["classes", "Choose a class."]);
}

/** The first control that names a variable which the lane cannot look at; none in the vault lane. */
function unencodedIn(given, wanted, rows, own) {
  if (laneOf(given) !== HOMOMORPHIC) return undefined;
  const axes = wanted.includes("axes") ? rows.axes.map((row) => `axis${row}`) : [];
  const filters = wanted.includes("filters") ? rows.filters.map((row) => `filter${row}_variable`) : [];
  return [...axes, ...filters].find((control) => !own.encoded.includes(given[control]));
}

function missingInRows(given, wanted, rows, own) {
  if (wanted.includes("axes") && rows.axes.length < 2) {
    return [rows.axes.includes(1) ? "axis2" : "axis1", "Choose two or three axes."];
  }
  const scales = wanted.includes("axes") ? rows.axes.filter((row) => isNumber(given[`axis${row}`], own)) : [];
  const bare = scales.find((row) => !text(given[`axis${row}_edges`]));
  if (bare) return [`axis${bare}_edges`, "Write the edges of this axis."];
  const doubtful = scales.find((row) => isDoubtful(given[`axis${row}_edges`]));
  if (doubtful) return [`axis${doubtful}_edges`, SPACED];
  return missingInFilters(given, wanted.includes("filters") ? rows.filters : [], own);
}

function missingInFilters(given, rows, own) {
  for (const row of rows) {
    const [variable, op, value] = ["variable", "op", "value"].map((part) => given[`filter${row}_${part}`]);
    if (!text(op)) return [`filter${row}_op`, "Write the whole condition."];
    if (!text(value)) return [`filter${row}_value`, "Write the whole condition."];
    if (op === "in" && isNumber(variable, own) && isDoubtful(value)) return [`filter${row}_value`, SPACED];
  }
  return null;
}

/** @param {Missing} missing @throws {Refused} bad_parameter, at its control */
export function refuseMissing([control, remedy, wrong = "The question is not complete."]) {
  refuse("bad_parameter", wrong, remedy, control);
}

/** @param {string|null} field of a refusal @param {Rows} rows @returns {string|null} the control that it is */
export function controlOf(field, rows) {
  if (typeof field !== "string") return null;
  const path = field.replace(/^(?:terms|parameters)\./, "");
  const filter = /^filters\[(\d+)\](?:\.(variable|op))?/.exec(path);
  if (filter) return `filter${rows.filters[filter[1]]}_${filter[2] ?? "value"}`;
  const axis = /^axes\[(\d+)\](\.edges)?/.exec(path);
  if (axis) return `axis${rows.axes[axis[1]]}${axis[2] ? "_edges" : ""}`;
  if (path.startsWith("clip")) return path === "clip[1]" ? "clip_upper" : "clip_lower";
  if (path === "filters") return "filter1_variable";
  return path === "axes" ? "axis1" : path.replace(/\[.*$/, "");
}

/**
 * @param {unknown} error
 * @param {Rows} rows
 * @param {{variables: object[]}} own
 * @returns {unknown} a refusal at the control that it is about, variables by their labels; any other error as it is
 */
export function atControl(error, rows, { variables }) {
  if (!(error instanceof Refused)) return error;
  const { message, ...rest } = error.reason();
  const named = variables.reduce((text, { name, label }) => text.replace(` of ${name}.`, () => ` of “${label}”.`), message);
  return new Refused({ ...rest, message: named, field: controlOf(error.field, rows) });
}

/** Shows the parts of the form that this analysis and these variables need, and no others. */
export function shape(form, given, own) {
  const [lane, wanted] = [laneOf(given), parametersOf(given, own)];
  offer(one("#analysis", form), (id) => own.analyses.some((each) => each.id === id && each.lanes.includes(lane)));
  const isThere = (name) => lane === VAULT || own.encoded.includes(name);
  const hasPlace = (name) => !wanted.includes("variable") || wanted.includes("edges") || isNumber(name, own);
  // Only what has cells (`edges`) takes a category for its one variable.
  offer(one("#variable", form), (name) => isThere(name) && hasPlace(name));
  // To take a condition or an axis away would ask another question: what was chosen before stays, and is refused (`missing`).
  const rows = form.querySelectorAll('[id^="axis"]:is(select), [id^="filter"][id$="_variable"]');
  for (const select of rows) offer(select, (name) => isThere(name) || name === select.value);
  for (const part of form.querySelectorAll("[data-lane]")) part.hidden = part.dataset.lane !== String(lane);
  for (const part of form.querySelectorAll("[data-part]")) part.hidden = !wanted.includes(part.dataset.part);
  if (wanted.includes("edges")) one('[data-part="edges"]', form).hidden = !isNumber(given.variable, own);
  for (const part of form.querySelectorAll("[data-edges]")) part.hidden = !isNumber(given[part.dataset.edges], own);
  one("[data-optional]", form).hidden = given.analysis.startsWith("count");
  for (const row of filled(FILTERS, "filter", "_variable", given)) one(`[data-filter="${row}"]`, form).hidden = false;
}

/** What is not offered cannot be chosen, and is not chosen any more. */
function offer(select, isOffered) {
  for (const option of select.options) option.hidden = option.disabled = option.value !== "" && !isOffered(option.value);
  if (select.selectedOptions[0]?.disabled) select.value = "";
}

function list(given) {
  return given.split(",").map(text).filter(Boolean);
}

function text(given) {
  return given.trim();
}
