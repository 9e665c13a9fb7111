/** How far sealing or opening is: a bar for who looks, now and then a word for who listens, and a way out. */

import { announce, one } from "./dom.js";

const OFTEN = 2_000; // milliseconds between two words: more would talk over everything else

/**
 * Shows the part of the page that says how far it is, until the work is done.
 * @template T
 * @param {HTMLElement} part with a `progress` and a button that cancels
 * @param {HTMLElement} said a status beside it
 * @param {(how: import("./tally/beside.js").How) => Promise<T>} work
 * @param {string} [doing] what is under way, in words
 * @returns {Promise<T|null>} null where somebody cancelled it
 */
export async function underWay(part, said, work, doing = "Encrypting your values") {
  const [bar, cancel] = ["progress", "button"].map((each) => one(each, part));
  const ending = new AbortController();
  const end = () => ending.abort();
  cancel.addEventListener("click", end);
  bar.value = 0;
  part.hidden = false;
  try {
    const done = await work({ told: teller(bar, said, doing), signal: ending.signal });
    announce(said, "");
    return done;
  } catch (error) {
    announce(said, error.code === "cancelled" ? `${error.message} ${error.remedy}` : "");
    if (error.code !== "cancelled") throw error;
    return null;
  } finally {
    cancel.removeEventListener("click", end);
    part.hidden = true;
  }
}

/** The bar moves by itself, without a transition: whoever asked for less motion sees nothing else. */
function teller(bar, said, doing) {
  let last = performance.now();
  announce(said, `${doing}.`);
  return (fraction) => {
    bar.value = fraction;
    if (performance.now() - last < OFTEN) return;
    last = performance.now();
    announce(said, `${doing}: ${Math.round(100 * fraction)} percent.`);
  };
}
