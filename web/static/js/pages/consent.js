/** One consent class: the words on this page are held against what is signed, then consented to; or stopped. */

import { act, keepForStopping, offer, sayAt, sayNow } from "../acts.js";
import { getJson } from "../ask.js";
import { bytes32, equal, toHex } from "../bytes.js";
import { PARAGRAPHS, fromJson as readPage, hashOf } from "../classpage.js";
import { facts, one } from "../dom.js";
import { refuse } from "../refused.js";
import { offerStop } from "../revoking.js";
import { fromJson } from "../solidity.js";
import { classId, definitionHash } from "../terms.js";

const LARGEST_CAP = 2 ** 48 - 1; // nano-rho, as the contract takes it
const PAUSE = 300; // milliseconds in which somebody may still be typing
const WHOLE = /^[1-9][0-9]{0,14}$/;
const own = facts();

offerStop(own);

// --- consenting

offer("#grant", async (values) => {
  const cap = chosenCap(values);
  if (values.expiry === undefined) refuse("bad_parameter", "No time is chosen.", "Choose for how long.", "expiry");
  const { id, definition } = whatIsShown();
  const expiry = Number(values.expiry);
  const grant = (messages, { sequence }) =>
    messages.grant({ class: id, definition, cap: BigInt(cap), expiry, sequence: sequence + 1 });
  await act(own, grant, (now, before) => isGranted(now, before, id));
  sayAt("Consented. The chain shows it. You can stop here at any time.", `/me/${own.dataset}`);
});

function isGranted(now, before, id) {
  return now.sequence > before.sequence && now.state !== "none" && now.class === toHex(id);
}

function chosenCap({ cap, exact }) {
  if (cap === undefined) refuse("bad_parameter", "No limit is chosen.", "Choose how much studies may give away.", "cap");
  if (cap !== "exact") return Number(cap);
  const typed = exact.replaceAll(/[\s,]/g, "");
  const fits = WHOLE.test(typed) && Number(typed) >= own.least && Number(typed) <= LARGEST_CAP;
  if (fits) return Number(typed);
  const message = "That is no limit that this class takes.";
  return refuse("bad_parameter", message, `Write a whole number of at least ${own.least.toLocaleString("en-GB")}.`, "exact");
}

/**
 * Class id and definition, computed from what stands on this page.
 * @throws {Refused} other_words where the page shows anything else than the class's document and terms
 */
function whatIsShown() {
  const id = classId(bytes32(own.dataset, "dataset"), own.index);
  const page = readPage(own.page);
  const terms = fromJson("ClassTerms", own.terms);
  const definition = definitionHash(terms, id);
  const same =
    PARAGRAPHS.every((key) => one(`[data-paragraph="${key}"]`).textContent === page[key]) &&
    one("h1").textContent === page.title &&
    equal(hashOf(page), terms.termsHash) &&
    equal(definition, bytes32(own.definition, "definition"));
  if (same) return { id, definition };
  const message = "This page does not show what the class's hash stands for, so nothing was signed.";
  return refuse("other_words", message, "Load it again; if it stays so, tell the steward, and do not consent here.");
}

// --- odds, live

let asked = 0;

async function showOdds() {
  const form = one("#grant");
  const chosen = form.elements.namedItem("cap").value;
  one("#exact-part").hidden = chosen !== "exact";
  const spent = chosen === "exact" ? one("#exact").value.replaceAll(/[\s,]/g, "") : chosen;
  const number = ++asked;
  const fits = WHOLE.test(spent) && Number(spent) <= LARGEST_CAP;
  one("#odds-part").hidden = !fits;
  if (!fits) return;
  const found = await getJson(`/odds?spent=${spent}&members=${own.members}`);
  if (number === asked) draw(found);
}

/** In the figure that the server drew for the smallest limit. */
function draw({ by_chance: chance, right_at_most: most, in_words: words, delta }) {
  const figure = one("#odds-part .odds");
  one(".added", figure).setAttribute("width", String(Number(most) - Number(chance)));
  const except = Math.floor(1 / Number(delta)).toLocaleString("en-GB");
  one("figcaption", figure).textContent = `${words} This holds except with a chance of 1 in ${except}.`;
}

function soon(work) {
  let timer = null;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(() => work().catch(() => (one("#odds-part").hidden = true)), PAUSE);
  };
}

if (document.querySelector("#grant") !== null) {
  const show = soon(showOdds);
  one("#grant").addEventListener("input", show);
  show();
}

sayNow();
if (own.state !== "none") await keepForStopping(own);
