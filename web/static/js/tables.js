/** Tables that become lists where the page is narrow, as the template part `table` draws them. */

import { element } from "./dom.js";

/**
 * @param {string} caption for who does not see it
 * @param {string[]} columns
 * @param {Array<Array<Node|string>>} rows one cell a column, the first of them the row's head
 * @returns {HTMLElement}
 */
export function table(caption, columns, rows) {
  const heads = columns.map((column) => element("th", { role: "columnheader", scope: "col" }, column));
  const body = rows.map((cells) => element("tr", { role: "row" }, ...cells.map((cell, i) => cellOf(columns[i], cell, i))));
  const drawn = element(
    "table",
    { class: "table", role: "table" },
    element("caption", { class: "visually-hidden" }, caption),
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...heads)),
    element("tbody", { role: "rowgroup" }, ...body),
  );
  return element("div", { class: "table-frame" }, drawn);
}

function cellOf(column, content, place) {
  const inside = element("div", { class: "cell" }, content);
  if (place === 0) return element("th", { role: "rowheader", scope: "row" }, inside);
  return element("td", { role: "cell", "data-label": column }, inside);
}
