/** The request builder: who permits it, what it costs and brings, live; then asking and paying. */

import { postJson } from "../ask.js";
import { element, facts, fill, one } from "../dom.js";
import { explain, tellTogether } from "../explained.js";
import { notice } from "../figures.js";
import { clearRefusals, hasControl, onSubmit, showRefusal, values } from "../forms.js";
import { requireDictionary } from "../joining.js";
import { buy, requireHonest } from "../opening_request.js";
import { decisionPanel, imagined, isForSomebody, purposeOf } from "../purpose.js";
import { FILTERS, atControl, goalOf, questionOf, refuseMissing, shape } from "../question.js";
import { hindranceOf, noQuote, quotePanel, showCeiling } from "../quote.js";
import { Refused, refuse } from "../refused.js";
import { deployment } from "../session.js";
import { unitOf } from "../values.js";

const PAUSE = 500; // milliseconds in which somebody may still be typing
const own = facts();
own.variables = own.dictionary.variables;
own.encoded = (own.dictionary.encoding?.variables ?? []).map(({ name }) => name);
const form = /** @type {HTMLFormElement} */ (one("form.ask"));
const OTHER = { cost: "target_error", target_error: "cost" };
const FOR_WHOM = "Choose a kind of organisation and a country above: then it stands here who permits this purpose to such a researcher.";
let driver = "cost";
let offer = null;
let judged = null;
let decisions = [];
let round = 0;

onSubmit(form, ask);
if (one("#cost").value === "" && one("#target_error").value !== "") driver = "target_error";

// --- live

form.addEventListener("input", ({ target }) => {
  if (target.id in OTHER) {
    driver = target.id;
    one(`#${OTHER[driver]}`).value = "";
  }
  if (target.name === "agreed") return;
  shaped();
  soon();
});

one("#more").addEventListener("click", () => {
  const next = Array.from({ length: FILTERS }, (_, i) => one(`[data-filter="${i + 1}"]`)).find((row) => row.hidden);
  if (next === undefined) return;
  next.hidden = false;
  one("select", next).focus();
});

function shaped() {
  shape(form, values(form), own);
  explain(one("#means"), values(form), own);
  tellTogether(one("#together"), values(form), own);
}

let timer = null;
function soon() {
  clearTimeout(timer);
  timer = setTimeout(refresh, PAUSE);
}

async function refresh() {
  const mine = ++round;
  clearRefusals(form);
  const said = await Promise.allSettled([judge(mine), price(mine)]);
  const failed = said.find(({ status }) => status === "rejected");
  if (failed && mine === round) showRefusal(form, failed.reason, { focus: false });
}

/** Which classes permit the purpose as it stands. */
async function judge(mine) {
  const given = values(form);
  let body;
  try {
    if (!isForSomebody(own, given)) return undecided(FOR_WHOM);
    body = { dataset: own.dataset, purpose: purposeOf(given), ...imagined(given) };
  } catch (error) {
    undecided("What stands in its way is said at its field.");
    throw error;
  }
  if (JSON.stringify(body) === judged) return;
  const found = await postJson("/ask/decisions", body);
  if (mine !== round) return;
  judged = JSON.stringify(body);
  fill(one("#decisions"), ...decisionPanel(found));
  decide(found.decisions);
}

/** What was judged before was another purpose. */
function undecided(why) {
  judged = null;
  fill(one("#decisions"), element("p", { class: "note" }, why));
  decide([]);
}

function decide(found) {
  decisions = found;
  showPaying();
}

/** What the question costs and brings as it stands; or what is still missing. */
async function price(mine) {
  const { body, missing, rows } = current();
  try {
    const purpose = purposeNow();
    if (offer !== null && JSON.stringify(body) === JSON.stringify(offer.question)) return;
    forgetOffer(missing?.[1] ?? "Asking…");
    if (missing?.[2]) refuseMissing(missing);
    if (missing !== null) return;
    requireDictionary(own.dictionary, own.dictionary_hash);
    const { token } = await deployment(); // as this browser knows it: what cannot be told shows no amount
    const quote = await postJson("/ask/quote", { ...body, purpose });
    if (mine === round) take(body, quote, token);
  } catch (error) {
    const why = atControl(error, rows, own);
    const isAtField = !(why instanceof Refused) || hasControl(form, why.field);
    if (mine === round) forgetOffer(noQuote(isAtField ? null : why));
    if (isAtField) throw why;
  }
}

/** @throws {Refused} where it cannot be read: then there is no price, either */
function purposeNow() {
  const given = values(form);
  imagined(given);
  return purposeOf(given);
}

function current() {
  const given = values(form);
  const { question, rows, missing } = questionOf(given, own);
  const nothing = given[driver].trim() === "" ? [driver, "Write a privacy cost, or an expected error."] : null;
  return { body: { ...question, ...goalOf(driver, given) }, rows, missing: missing ?? nothing };
}

function forgetOffer(said) {
  offer = null;
  fill(one("#quote"), typeof said === "string" ? element("p", { class: "note" }, said) : said);
  showPaying();
}

function take(question, quote, token) {
  const asked = own.classes.filter(({ index }) => question.classes.includes(index));
  const made = { question, quote, classes: asked.map(({ terms }) => terms), variables: own.variables, token };
  requireHonest(made);
  offer = made;
  const error = quote.expected_error;
  one("#error-unit").textContent = unitOf(error);
  one(`#${OTHER[driver]}`).value = driver === "cost" ? error.half_width : quote.cost_nano_rho;
  fill(one("#quote"), ...quotePanel(quote, made));
  showPaying();
}

/** What it can cost and the button, or what keeps it from being asked in their place. */
function showPaying() {
  const paying = document.querySelector("#paying");
  if (paying === null) return;
  const hindrance = hindrances();
  paying.hidden = hindrance !== null;
  const why = hindrance === null ? [] : [notice("It cannot be asked like this", `${hindrance.message} ${hindrance.remedy}`, "warning")];
  fill(one("#hindrance"), ...why);
  showCeiling(one("#ceiling"), offer);
}

function hindrances() {
  return hindranceOf(offer?.quote ?? null, decisions, current().body.classes);
}

// --- asking

async function ask(given) {
  const { body, missing, rows } = current();
  if (missing !== null) refuseMissing(missing);
  if (JSON.stringify(offer?.question) !== JSON.stringify(body)) {
    soon();
    refuse("quote_missing", "The quote is not that of the question any more.", "Look at the new one first.", "cost");
  }
  if (offer.quote.refusal !== null) throw new Refused(offer.quote.refusal);
  const hindrance = hindrances();
  if (hindrance !== null) refuse("purpose_not_permitted", hindrance.message, hindrance.remedy, "classes");
  if (given.agreed !== "yes") {
    refuse("not_agreed", "You have not agreed to the most that it can cost.", "Tick it, then ask.", "agreed");
  }
  const progress = one("#progress");
  try {
    const id = await buy({ ...offer, purpose: purposeOf(given) }, (text) => (progress.textContent = text));
    location.assign(`/my/requests/${id}`);
  } catch (error) {
    progress.textContent = "";
    throw atControl(error, rows, own);
  }
}

shaped();
await refresh();
