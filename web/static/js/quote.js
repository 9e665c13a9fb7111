/** What a question costs and brings, as the operator quotes it; and what keeps it from being asked. */

import { element, one } from "./dom.js";
import { amount, factList, grouped, inCents, notice, oddsFigure, oneIn } from "./figures.js";
import { askedIn } from "./writtenout.js";

/** @typedef {{decimals: number, symbol: string}} Token */
/** @typedef {{message: string, remedy: string}} Hindrance */

/**
 * @param {any} quote of POST /ask/quote
 * @param {{token: Token, variables: object[]}} own
 * @returns {HTMLElement[]} price, privacy cost, expected error and odds, after what is to be known first
 */
export function quotePanel(quote, { token, variables }) {
  const { expected_error: error, expected_error_of_a_tenth: tenth, epsilon } = quote;
  const asked = askedIn(quote.canonical, variables).map(([label, value]) => `${label}: ${value}`);
  return [
    ...warnings(quote),
    factList([
      ["Price, a patient, rounded up", inCents(quote.price_per_member, token)],
      ["Fee of the operator", inCents(quote.fee, token)],
      ["At most, rounded up", `${inCents(quote.escrow, token)}, for ${grouped(quote.max_patients)} patients`],
      ["Privacy cost", privacyCost(quote.cost_nano_rho, epsilon)],
      ["Expected error", error.in_words],
      ...(tenth === null ? [] : [["With filters", tenth.in_words]]),
      ...noiseOf(quote.tally ?? null),
      ["Asked", asked.join("; ")],
    ]),
    oddsFigure(quote.odds),
  ];
}

/**
 * @param {import("./refused.js").Refused|null} refused what stands in its way; null where that is said elsewhere
 * @returns {HTMLElement} in the place of a quote
 */
export function noQuote(refused) {
  if (refused === null) return notice("No quote", "What stands in its way is said at its field.", "warning");
  return notice("No quote", `${refused.message} ${refused.remedy}`, "warning");
}

/** Whose noise it has in the homomorphic lane, and what that does to the error; nothing in the vault lane. */
function noiseOf(tally) {
  if (tally === null) return [];
  const { sums, custodians, quorum, inflation, inflation_of_quorum: least, expected_error_of_quorum: error } = tally;
  const counted = sums === 1 ? "1 noised sum" : `${grouped(sums)} noised sums`;
  const whole = `Of all ${custodians} custodians: ${inflation} times the variance of the vault lane's for this privacy cost.`;
  const fewer = `More noise: of a quorum of ${quorum}, ${least} times. ${error.in_words}`;
  return [
    ["Decrypted for you", `${counted}, by any ${quorum} of ${custodians} custodians`],
    ["Noise", whole],
    ...(quorum < custodians ? [["With fewer custodians", fewer]] : []),
  ];
}

function privacyCost(cost, { epsilon, delta }) {
  return `${grouped(cost)} nano-rho (epsilon ${epsilon} at a delta of ${oneIn(delta)})`;
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

/**
 * The box that is ticked to pay: never ticked for another ceiling than the one that it was ticked for.
 * @param {HTMLElement} box
 * @param {{quote: any, token: Token}|null} made null where nothing is offered
 */
export function showCeiling(box, made) {
  const text = made === null ? "" : ceilingOf(made.quote, made.token);
  box.hidden = made === null;
  if (one(".choice span", box).textContent !== text) one("input", box).checked = false;
  one(".choice span", box).textContent = text;
}

/** @returns {string} what is agreed to, to the last unit */
function ceilingOf(quote, token) {
  return `I pay at most ${amount(quote.escrow, token)}`;
}

/**
 * Why the market would not open the request: every class that is named has to permit it.
 * @param {any} quote null where none stands
 * @param {{index: number, permitted: boolean}[]} decisions about the purpose, as far as they are known
 * @param {number[]} classes that are asked
 * @returns {Hindrance|null} null where nothing is known to be in the way
 */
export function hindranceOf(quote, decisions, classes) {
  const against = decisions.filter(({ index, permitted }) => classes.includes(index) && !permitted);
  if (against.length > 0) {
    const named = against.map(({ index }) => `class ${index}`).join(" and ");
    const message = `It is not permitted by ${named}.`;
    return { message, remedy: "Why, and what to change, stands under “Whom to ask”. Or leave out what does not permit it." };
  }
  return quote?.refusal ?? null;
}
