/** The request builder: who permits it, what it costs and brings, live; then asking and paying. */

import { postJson } from "../ask.js";
import { element, facts, fill, one } from "../dom.js";
import { amount, factList, grouped, inCents, notice, oddsFigure } from "../figures.js";
import { clearRefusals, onSubmit, showRefusal, values } from "../forms.js";
import { buy, requireHonest } from "../opening_request.js";
import { decisionPanel, imagined, isForSomebody, purposeOf } from "../purpose.js";
import { FILTERS, controlOf, goalOf, questionOf, shape } from "../question.js";
import { Refused, refuse } from "../refused.js";
import { deployment } from "../session.js";
import { unitOf } from "../values.js";
import { askedIn } from "../writtenout.js";

const PAUSE = 500; // milliseconds in which somebody may still be typing
const own = facts();
own.token = (await deployment().catch(() => own)).token; // as the browser knows it; where it cannot tell, buying says so
const form = /** @type {HTMLFormElement} */ (one("form.ask"));
const OTHER = { cost: "target_error", target_error: "cost" };
const FOR_WHOM = "Choose a kind of organisation and a country above: then it stands here who permits this purpose to such a researcher.";
let driver = "cost";
let offer = null;
let judged = null;
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
  shape(form, values(form), own);
  soon();
});

one("#more").addEventListener("click", () => {
  const next = Array.from({ length: FILTERS }, (_, i) => one(`[data-filter="${i + 1}"]`)).find((row) => row.hidden);
  if (next === undefined) return;
  next.hidden = false;
  one("select", next).focus();
});

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
  if (failed && mine === round) showRefusal(form, failed.reason, {}, { focus: false });
}

/** Which classes permit the purpose as it stands. */
async function judge(mine) {
  const given = values(form);
  if (!isForSomebody(own, given)) {
    judged = null;
    fill(one("#decisions"), element("p", { class: "note" }, FOR_WHOM));
    return;
  }
  const body = { dataset: own.dataset, purpose: purposeOf(given), ...imagined(given) };
  if (JSON.stringify(body) === judged) return;
  const found = await postJson("/ask/decisions", body);
  if (mine !== round) return;
  judged = JSON.stringify(body);
  fill(one("#decisions"), ...decisionPanel(found));
}

/** What the question costs and brings as it stands; or what is still missing. */
async function price(mine) {
  const { body, missing, rows } = current();
  if (offer !== null && JSON.stringify(body) === JSON.stringify(offer.question)) return;
  forgetOffer(missing?.[1] ?? "Asking…");
  if (missing !== null) return;
  try {
    const quote = await postJson("/ask/quote", body);
    if (mine === round) take(body, quote);
  } catch (error) {
    if (mine === round) fill(one("#quote"), notice("No quote", "What stands in its way is said at its field.", "warning"));
    throw atControl(error, rows);
  }
}

function current() {
  const given = values(form);
  const { question, rows, missing } = questionOf(given, own);
  const nothing = given[driver].trim() === "" ? [driver, "Write a privacy cost, or an expected error."] : null;
  return { body: { ...question, ...goalOf(driver, given) }, rows, missing: missing ?? nothing };
}

function atControl(error, rows) {
  if (!(error instanceof Refused)) return error;
  return new Refused({ ...asWritten(error.reason()), field: controlOf(error.field, rows) });
}

/** Variables by their labels, and units as people write them. */
function asWritten({ message, remedy, ...rest }) {
  const [called, units] = [own.variables, [...new Set(own.variables.map(({ unit }) => unit))].filter(Boolean)];
  const named = called.reduce((text, { name, label }) => text.replace(` of ${name}.`, () => ` of “${label}”.`), message);
  const measured = units.reduce((text, unit) => text.replace(` ${unit}.`, () => ` ${unitOf({ unit })}.`), remedy);
  return { ...rest, message: named, remedy: measured };
}

function forgetOffer(text) {
  offer = null;
  fill(one("#quote"), element("p", { class: "note" }, text));
  showCeiling(null);
}

function take(question, quote) {
  const asked = own.classes.filter(({ index }) => question.classes.includes(index));
  offer = { question, quote, classes: asked.map(({ terms }) => terms), variables: own.variables };
  requireHonest(offer);
  const error = quote.expected_error;
  one("#error-unit").textContent = unitOf(error);
  one(`#${OTHER[driver]}`).value = driver === "cost" ? error.half_width : quote.cost_nano_rho;
  fill(one("#quote"), ...quotePanel(quote));
  showCeiling(quote);
}

/** What stands in the way of buying it, or of learning anything from it. */
function warnings({ refusal, expected_error: error, live, minimum_cohort: least }) {
  const warn = (isSo, title, text) => (isSo ? [notice(title, text, "warning")] : []);
  return [
    ...warn(refusal !== null, "It cannot be bought like this", `${refusal?.message} ${refusal?.remedy}`),
    ...warn(error.tells_nothing, "Such a result tells nothing", "The interval would be as wide as everything possible."),
    ...warn(live < least, "Too few consents", `${live} are live; below ${least} it is refused later, unless more consent.`),
  ];
}

function quotePanel(quote) {
  const { expected_error: error, expected_error_of_a_tenth: tenth, epsilon } = quote;
  return [
    ...warnings(quote),
    factList([
      ["Price, a patient, rounded up", inCents(quote.price_per_member, own.token)],
      ["Fee of the operator", inCents(quote.fee, own.token)],
      ["At most, rounded up", `${inCents(quote.escrow, own.token)}, for ${grouped(quote.max_patients)} patients`],
      ["Privacy cost", `${grouped(quote.cost_nano_rho)} nano-rho (epsilon ${epsilon.epsilon} at delta ${epsilon.delta})`],
      ["Expected error", inUnit(error)],
      ...(tenth === null ? [] : [["With filters", inUnit(tenth)]]),
      ["Asked", askedIn(quote.canonical, own.variables).map(([label, value]) => `${label}: ${value}`).join("; ")],
    ]),
    oddsFigure(quote.odds),
  ];
}

/** An expected error with its unit as people write it. */
function inUnit({ in_words: words, unit }) {
  return unit === "" ? words : words.replaceAll(` ${unit}`, () => ` ${unitOf({ unit })}`);
}

/** The box is never ticked for another ceiling than the one that it was ticked for. */
function showCeiling(quote) {
  const box = document.querySelector("#ceiling");
  if (box === null) return;
  const agreed = one("input", box);
  const text = quote === null ? "" : `I pay at most ${amount(quote.escrow, own.token)}`;
  box.hidden = quote === null || quote.refusal !== null;
  if (one(".choice span", box).textContent !== text) agreed.checked = false;
  one(".choice span", box).textContent = text;
}

// --- asking

async function ask(given) {
  const { body, missing, rows } = current();
  if (missing !== null) refuse("bad_parameter", "Something is missing.", missing[1], missing[0]);
  if (JSON.stringify(offer?.question) !== JSON.stringify(body)) {
    soon();
    refuse("quote_missing", "The quote is not that of the question any more.", "Look at the new one first.", "cost");
  }
  if (offer.quote.refusal !== null) throw new Refused(offer.quote.refusal);
  if (given.agreed !== "yes") {
    refuse("not_agreed", "You have not agreed to the most that it can cost.", "Tick it, then ask.", "agreed");
  }
  const progress = one("#progress");
  try {
    const id = await buy({ ...offer, purpose: purposeOf(given) }, (text) => (progress.textContent = text));
    location.assign(`/my/requests/${id}`);
  } catch (error) {
    progress.textContent = "";
    throw atControl(error, rows);
  }
}

shape(form, values(form), own);
await refresh();
