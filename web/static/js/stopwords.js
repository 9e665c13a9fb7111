/** What is said of a revocation: by whom, how long, and when it is done. One word may be a lie, so it takes two. */

import { refuse } from "./refused.js";

/** How many custodians have to say so, each with a view of the chain of its own. */
export const ENOUGH = 2;
/** What this site is called among those that say something; it is nobody's second word. */
export const OPERATOR = "this site";
const LONGEST = 300; // characters of somebody's answer
const SAYS = "each from its own view of the chain";
const AGAIN = "Press Stop again in a minute: it does no harm, and asks everybody once more.";

/** @param {unknown} url @returns {string|null} of what can be asked past this site; null for anything else */
export function hostOf(url) {
  try {
    const { protocol, host } = new URL(url);
    return ["http:", "https:"].includes(protocol) ? host : null;
  } catch {
    return null;
  }
}

/** @param {string} url of a custodian @returns {string} what a page calls it */
export function named(url) {
  return `the custodian at ${hostOf(url) ?? "no address"}`;
}

/** @param {string} text @returns {string} as a sentence begins */
export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {string[]} names @returns {string} */
export function listed(names) {
  const last = names.at(-1) ?? "";
  return names.length < 2 ? last : `${names.slice(0, -1).join(", ")} and ${last}`;
}

/** @param {string} text somebody else's, who may say more than anybody reads @returns {string} */
export function shortened(text) {
  const characters = Array.from(text.slice(0, 2 * LONGEST));
  return characters.length > LONGEST ? `${characters.slice(0, LONGEST).join("")}…` : text;
}

/**
 * @param {{saying: string[], custodians: string[]}} stopping
 * @returns {string} that it is done, by whom
 * @throws {Refused} not_stopped, not_confirmed
 */
export function doneBy({ saying, custodians }) {
  if (custodians.length >= ENOUGH) return `Stopped. ${sentence(listed(custodians))} say, ${SAYS}, that it has your revocation.`;
  if (saying.length === 0) {
    const remedy = "Nobody says that anything has changed. Try again in a minute, or take another way below.";
    return refuse("not_stopped", "No custodian took your revocation.", remedy);
  }
  const says = saying.length > 1 ? "say" : "says";
  const message = `${sentence(listed(saying))} ${says} that the chain has your revocation. Nobody has confirmed it: that takes two custodians.`;
  return refuse("not_confirmed", message, AGAIN);
}
