/** Files that a page makes and the person keeps. */

import { element } from "./dom.js";

/** What a spreadsheet would run as a formula if a cell began with it (OWASP, CSV Injection); also in its wide form. */
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;
const NUMBER = /^-?[0-9]+(\.[0-9]+)?$/;

/**
 * @param {string} name of the file
 * @param {Uint8Array|string} content
 * @param {string} type such as text/csv
 */
export function save(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/**
 * @param {Array<Array<unknown>>} rows
 * @returns {string} CSV (RFC 4180) that a spreadsheet shows and does not run
 */
export function csv(rows) {
  return rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function cell(value) {
  const text = String(value ?? "");
  const safe = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
