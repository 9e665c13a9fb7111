/**
 * Results as pictures: a whisker for a number, bars with whiskers for a histogram, a grid for a cross table. Whiskers
 * are 95% intervals. The pictures say nothing that the words and the table beside them do not.
 */

import { drawn, element } from "./dom.js";
import { grouped, table } from "./figures.js";

const ROOM = 0.75; // of an interval's width, on either side of a single number

/** @typedef {{label: string[], value: string, low: string, high: string}} Estimate decimal text, in the unit */
/** @typedef {{estimates: Estimate[], unit: string, names: string[]}} Shown `names`: of what labels name */

/** @param {Shown} shown @returns {Node[]} picture and words, for a figure */
export function plotted(shown) {
  const { estimates } = shown;
  const [first] = estimates;
  const inWords = element("figcaption", {}, caption(shown));
  if (estimates.length === 1 && first.label.length === 0) return [number(first, shown), inWords];
  return [first.label.length < 2 ? bars(shown) : grids(shown), inWords];
}

/** @param {Shown} shown @returns {HTMLElement} every cell with its interval, to the last digit */
export function numbersTable({ estimates, unit, names }) {
  const of = unit ? `, ${unit}` : "";
  const columns = ["Cell", `Estimate${of}`, "95% interval, from", "95% interval, to"];
  const rows = estimates.map(({ label, value, low, high }) => [cellName(label, names), value, low, high]);
  return table("The same in numbers", columns, rows);
}

/** @param {Shown} shown @returns {string} what the picture shows */
export function caption({ estimates, unit, names }) {
  const told = ({ label, value, low, high }) =>
    `${label.length === 0 ? "" : `${cellName(label, names)}: `}${value}${unit && ` ${unit}`}, 95% interval ${low} to ${high}`;
  if (estimates.length === 1) return `${told(estimates[0])}.`;
  const most = estimates.reduce((one, other) => (Number(other.value) > Number(one.value) ? other : one));
  return `${grouped(estimates.length)} cells; the line across each is its 95% interval. The largest is ${told(most)}.`;
}

function cellName(label, names) {
  if (label.length === 0) return "All";
  return label.map((each, i) => (names[i] ? `${names[i]} ${each}` : each)).join(", ");
}

// --- pictures

function number(estimate, { unit }) {
  const [low, high] = [Number(estimate.low), Number(estimate.high)];
  const room = (high - low) * ROOM || 1;
  const scale = scaleOf(low - room, high + room);
  const ends = [estimate.low, estimate.high].map((each) => element("span", {}, `${each}${unit && ` ${unit}`}`));
  const under = element("p", { class: "scale", "aria-hidden": "true" }, ...ends);
  return element("div", { class: "plot-one" }, strip(estimate, scale, false), under);
}

function bars(shown) {
  const scale = commonScale(shown.estimates);
  const rows = shown.estimates.map((each) =>
    element(
      "div",
      { class: "plot-row", "aria-hidden": "true" },
      element("span", { class: "plot-label" }, each.label.join(", ")),
      strip(each, scale, true),
      element("span", { class: "plot-value" }, each.value),
    ),
  );
  return element("div", { class: "plot-rows" }, ...rows);
}

/** One grid for each cell of the outer axes: rows are the last axis but one, columns the last. */
function grids({ estimates, names }) {
  const scale = commonScale(estimates);
  const parts = grouping(estimates, ({ label }) => cellName(label.slice(0, -2), names));
  const drawnParts = Array.from(parts, ([name, inside]) => grid(name, inside, names.slice(-2), scale));
  return element("div", { class: "plot-rows" }, ...drawnParts);
}

function grid(name, estimates, [down, across], scale) {
  const columns = [...new Set(estimates.map(({ label }) => label.at(-1)))];
  const rows = grouping(estimates, ({ label }) => label.at(-2));
  const cells = (inside) => columns.map((column) => cell(inside.find(({ label }) => label.at(-1) === column), scale));
  const title = name === "All" ? `${down ?? ""} down, ${across ?? ""} across` : name;
  return table(title, [down ?? "", ...columns], Array.from(rows, ([row, inside]) => [row, ...cells(inside)]));
}

function cell(estimate, scale) {
  return element("div", { class: "plot-cell" }, strip(estimate, scale, true), element("span", {}, estimate.value));
}

function grouping(items, key) {
  const found = new Map();
  for (const each of items) found.set(key(each), [...(found.get(key(each)) ?? []), each]);
  return found;
}

function commonScale(estimates) {
  const ends = estimates.flatMap(({ low, high }) => [Number(low), Number(high)]);
  return scaleOf(Math.min(0, ...ends), Math.max(0, ...ends));
}

/** Positions in hundredths of a picture's width. */
function scaleOf(low, high) {
  const width = high - low || 1;
  return (value) => ((Number(value) - low) / width) * 100;
}

/** One estimate along a line, with its whisker; from zero, where it is a bar. */
function strip({ value, low, high }, scale, isBar) {
  const [from, at, to] = [low, value, high].map(scale);
  const zero = isBar ? scale(0) : at;
  return drawn(
    "svg",
    { class: "strip", viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
    isBar ? drawn("rect", { class: "bar", x: Math.min(zero, at), width: Math.abs(at - zero), y: 3, height: 14 }) : "",
    isBar ? line("axis", zero, zero, 0, 20) : line("axis", 0, 100, 19, 19),
    line("whisker", from, to, 10, 10),
    line("whisker", from, from, 6, 14),
    line("whisker", to, to, 6, 14),
    line("point", at, at, 2, 18),
  );
}

function line(kind, x1, x2, y1, y2) {
  return drawn("line", { class: kind, x1, x2, y1, y2 });
}
