/** Makes and finds elements. Text stays text: nothing here reads markup, and none of it turns or hides the rest. */

import { parse } from "./json.js";
import { utf8 } from "./bytes.js";
import { plainLines } from "./plain.js";

const SVG = "http://www.w3.org/2000/svg";
const LARGEST_FACTS = 4 * 1024 * 1024;

/**
 * @param {string} tag
 * @param {Object<string, unknown>} [attributes] `on` holds listeners by event; false and null are left out
 * @param {...(Node|string)} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same in SVG. @returns {SVGElement} */
export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  for (const [event, listener] of Object.entries(on)) made.addEventListener(event, listener);
  made.append(...children.map((each) => (typeof each === "string" ? plainLines(each) : each)));
  return made;
}

/** @param {string} selector @returns {HTMLElement} the first; a page without it is at fault itself */
export function one(selector, within = document) {
  const found = within.querySelector(selector);
  if (found === null) throw new TypeError(`this page has no ${selector}`);
  return found;
}

/** Runs `work` at each press of a button, which is `inert` until then. */
export function onPress(button, work) {
  button.addEventListener("click", work);
  button.inert = false;
}

/** Puts these in the place of all that stood inside. */
export function fill(parent, ...children) {
  parent.replaceChildren(...children);
}

/** @returns {any} what the page's template handed to its module (`data-facts` of the element #facts) */
export function facts() {
  return parse(utf8(one("#facts").dataset.facts), { limit: LARGEST_FACTS });
}

/** Says it to whoever looks, and to whoever listens: `where` is a live region, or becomes one. */
export function announce(where, text) {
  if (!where.hasAttribute("role")) where.setAttribute("role", "status");
  where.textContent = plainLines(text);
}
