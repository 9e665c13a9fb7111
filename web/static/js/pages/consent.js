/** One consent class: the words on this page are held against what is signed, then consented to; or stopped. */

import { act, keepForStopping, offer, sayAt, sayNow } from "../acts.js";
import { getJson } from "../ask.js";
import { bytes32, equal, toHex } from "../bytes.js";
import { PARAGRAPHS, fromJson as readPage, hashOf } from "../classpage.js";
import { facts, one } from "../dom.js";
import { grouped } from "../figures.js";
import { clearRefusals, formAt, showRefusal } from "../forms.js";
import { refuse, together } from "../refused.js";
import { offerStop } from "../revoking.js";
import { copyWanted } from "../savedcopy.js";
import { fromJson } from "../solidity.js";
import { classId, definitionHash } from "../terms.js";
import { wholeIn } from "../typed.js";

const LARGEST_CAP = 2 ** 48 - 1; // nano-rho, as the contract takes it
const PAUSE = 300; // milliseconds in which somebody may still be typing
const own = facts();

offerStop(own);

// --- consenting

offer("#grant", async (values) => {
  const [cap, expiry] = together(() => chosenCap(values), () => chosenEnd(values));
  const { id, definition } = whatIsShown();
  const grant = (messages, { sequence }) =>
    messages.grant({ class: id, definition, cap: BigInt(cap), expiry, sequence: sequence + 1 });
  await act(own, grant, (now, before) => isGranted(now, before, id));
  sayAt("Consented. The chain shows it. You can stop here at any time.", `/me/${own.dataset}`, await copyWanted());
});

function isGranted(now, before, id) {
  return now.sequence > before.sequence && now.state !== "none" && now.class === toHex(id);
}

function chosenCap({ cap, exact }) {
  if (cap === undefined) refuse("bad_parameter", "No limit is chosen.", "Choose how much studies may give away.", "cap");
  if (cap !== "exact") return Number(cap);
  const typed = Number(wholeIn(exact));
  if (typed >= own.least && typed <= LARGEST_CAP) return typed;
  const message = "That is no limit that this class takes.";
  const remedy = `Write a whole number, in digits alone, from ${grouped(own.least)} to ${grouped(LARGEST_CAP)}.`;
  return refuse("bad_parameter", message, remedy, "exact");
}

function chosenEnd({ expiry }) {
  return expiry === undefined ? refuse("bad_parameter", "No time is chosen.", "Choose for how long.", "expiry") : Number(expiry);
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
  const spent = chosen === "exact" ? (wholeIn(one("#exact").value) ?? "") : chosen;
  const number = ++asked;
  const fits = Number(spent) > 0 && Number(spent) <= LARGEST_CAP;
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

/** From right guesses in 100 to the limit that is signed, which shows in its own field. */
async function fillLimit() {
  const form = formAt("#grant");
  const typed = one("#right").value.trim();
  if (typed === "") return;
  clearRefusals(form);
  try {
    const { spent } = await getJson(`/odds?right=${encodeURIComponent(typed)}&members=${own.members}`);
    if (one("#right").value.trim() !== typed) return; // more was typed meanwhile
    one("#exact").value = String(spent);
    form.dispatchEvent(new Event("input"));
  } catch (error) {
    showRefusal(form, error, { focus: false });
  }
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
  one("#right").addEventListener("input", soon(fillLimit));
  one("#exact").addEventListener("input", () => (one("#right").value = ""));
  show();
}

sayNow();
if (own.state !== "none") await keepForStopping(own);
