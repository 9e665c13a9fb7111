/** Amounts, odds, facts and tables as the template parts draw them, for what only a module knows. */

import { drawn, element } from "./dom.js";

const CENTS = 2;

/**
 * @param {bigint|string|number} units of the token
 * @param {{decimals: number, symbol: string}} token the market's
 * @returns {string} `1,234.50 EUR`
 */
export function amount(units, { decimals, symbol }) {
  const [whole, unit] = [BigInt(units), 10n ** BigInt(decimals)];
  const digits = decimals > 0 ? String(whole % unit).padStart(Number(decimals), "0") : "";
  return `${grouped(whole / unit)}.${digits.replace(/0+$/, "").padEnd(CENTS, "0")} ${symbol}`;
}

/**
 * An amount that nobody signs, to the cent and rounded up; below a cent exactly.
 * @param {bigint|string|number} units of the token
 * @param {{decimals: number, symbol: string}} token the market's
 * @returns {string} `1.16 EUR`
 */
export function inCents(units, token) {
  const cent = token.decimals > CENTS ? 10n ** BigInt(token.decimals - CENTS) : 1n;
  const exact = BigInt(units);
  return amount(exact < cent ? exact : ((exact + cent - 1n) / cent) * cent, token);
}

/** @param {bigint|string|number} number a whole one @returns {string} `30,000,000` */
export function grouped(number) {
  return BigInt(number).toLocaleString("en-GB");
}

/** @param {Array<[string, string|Node]>} pairs name and value @returns {HTMLElement} */
export function factList(pairs) {
  const rows = pairs.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  return element("dl", { class: "facts", "data-narrow": true }, ...rows);
}

/** @param {string} title @param {string} text @param {"info"|"warning"|"refusal"} kind @returns {HTMLElement} */
export function notice(title, text, kind = "info") {
  return element(
    "div",
    { class: "notice", "data-kind": kind },
    element("p", { class: "notice-title" }, title),
    element("p", {}, text),
  );
}

/** @param {string} label @param {string} tone @returns {HTMLElement} */
export function badge(label, tone) {
  return element("span", { class: "badge", "data-tone": tone }, label);
}

/** @param {string} chance @returns {string} `1 in 1,000,000`, rounded down: it bounds what may go wrong */
export function oneIn(chance) {
  return `1 in ${Math.floor(1 / Number(chance)).toLocaleString("en-GB")}`;
}

/** How often a guess is right: the picture says nothing that the text does not. @returns {HTMLElement} */
export function oddsFigure({ by_chance: chance, right_at_most: most, in_words: words, delta }) {
  const bar = { y: 1, height: 8 };
  return element(
    "figure",
    { class: "odds" },
    drawn(
      "svg",
      { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
      drawn("rect", { class: "all", x: 0, width: 100, ...bar }),
      drawn("rect", { class: "guessed", x: 0, width: chance, ...bar }),
      drawn("rect", { class: "added", x: chance, width: Number(most) - Number(chance), ...bar }),
      drawn("line", { class: "chance", x1: chance, x2: chance, y1: 0, y2: 10 }),
    ),
    element("figcaption", {}, `${words} This holds except with a chance of ${oneIn(delta)}.`),
  );
}

/**
 * @param {string} caption
 * @param {string[]} columns the first heads the rows
 * @param {Array<Array<string|Node>>} rows
 * @returns {HTMLElement} a table that becomes a list where the page is narrow
 */
export function table(caption, columns, rows) {
  const heads = columns.map((each) => element("th", { role: "columnheader", scope: "col" }, each));
  return element(
    "div",
    { class: "table-frame" },
    element(
      "table",
      { class: "table", role: "table" },
      element("caption", {}, caption),
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...heads)),
      element("tbody", { role: "rowgroup" }, ...rows.map((row) => tableRow(columns, row))),
    ),
  );
}

function tableRow(columns, [head, ...cells]) {
  const inside = (each) => element("div", { class: "cell" }, each);
  const rest = cells.map((each, i) => element("td", { role: "cell", "data-label": columns[i + 1] }, inside(each)));
  return element("tr", { role: "row" }, element("th", { role: "rowheader", scope: "row" }, inside(head)), ...rest);
}
