/**
 * Buying an answer: terms as every client builds them, ids computed here, one signature and one transaction.
 * Nothing is paid before the operator has taken the very request that the terms hash to.
 */

import { address } from "./address.js";
import { analysisHash, parametersHash } from "./analysis.js";
import { getJson, postJson } from "./ask.js";
import { bytes32, equal, randomBytes, toHex } from "./bytes.js";
import { openingData } from "./call.js";
import { deliveryKeyOf } from "./tally/deliverykey.js";
import { isAnyOut, openOnce, waitingOf } from "./openings.js";
import { signedFor } from "./pin.js";
import { permitDomain, permitOf } from "./permit.js";
import { refuse } from "./refused.js";
import { requireWrittenOut } from "./writtenout.js";
import { requireUnlocked, signer } from "./session.js";
import { checked, fromJson, toJson } from "./solidity.js";
import { escrowOf, requestId } from "./terms.js";

const SEAL_WITHIN = 1_200; // seconds after the notice window; twice a freeze, if that is longer
const MILLI_RHO = 1_000_000n; // nano-rho
const OPENING = "Taken in. Opening and paying on chain…";
const INSTEAD = "It takes the place of what you signed before: at most one of them is paid.";

/**
 * @typedef {{question: object, quote: any, purpose: object, classes: object[], variables: object[], token: Token}} Offer
 *   `classes`: ClassTerms as JSON; `variables`: of the dictionary; `token`: by which its amounts were shown
 * @typedef {{address: string, decimals: number, symbol: string}} Token
 */

/**
 * The quote is that of the question, adds up, and asks for no more than the classes' own floor.
 * @param {Offer} offer
 * @throws {Refused} quote_differs
 */
export function requireHonest({ question, quote, classes, variables }) {
  requireWrittenOut(question.parameters, quote.canonical, variables);
  const cost = BigInt(quote.cost_nano_rho);
  const floors = classes.map((each) => floorOf(fromJson("ClassTerms", each), cost));
  const highest = floors.reduce((one, other) => (one > other ? one : other));
  const escrow = BigInt(quote.max_patients) * BigInt(quote.price_per_member) + BigInt(quote.fee);
  const holds = {
    analysis_hash: equal(analysisHash(question.analysis), bytes32(quote.analysis_hash, "analysis_hash")),
    parameters_hash: equal(parametersHash(quote.canonical), bytes32(quote.parameters_hash, "parameters_hash")),
    lane: quote.lane === question.lane,
    cost_nano_rho: question.cost === undefined || BigInt(question.cost) === cost,
    price_per_member: BigInt(quote.price_per_member) === highest,
    escrow: BigInt(quote.escrow) === escrow,
  };
  for (const [name, same] of Object.entries(holds)) if (!same) differs(name);
}

function floorOf({ floorPerRecord, floorPerMilliRho }, cost) {
  const byCost = (floorPerMilliRho * cost + MILLI_RHO - 1n) / MILLI_RHO;
  return floorPerRecord > byCost ? floorPerRecord : byCost;
}

function differs(name) {
  const message = `The operator's quote names another ${name} than follows from the question.`;
  refuse("quote_differs", message, "Pay nothing on it. Load this page again, or ask another operator.");
}

/**
 * @param {Offer} offer
 * @param {any} way what GET /ask/opening gives
 * @param {{salt: Uint8Array, deliveryKey: Uint8Array}} own
 * @returns {Object<string, unknown>} RequestTerms, checked; deadlines count from the chain's own time
 */
export function termsOf({ question, quote, purpose }, way, { salt, deliveryKey }) {
  const seal = way.now + way.notice_window + Math.max(SEAL_WITHIN, 2 * way.freeze_window);
  return checked("RequestTerms", {
    dataset: question.dataset,
    classes: question.classes,
    lane: question.lane,
    releaseKind: quote.release_kind,
    analysis: quote.analysis_hash,
    parameters: quote.parameters_hash,
    purpose: fromJson("Purpose", purpose),
    cost: quote.cost_nano_rho,
    price: quote.price_per_member,
    fee: quote.fee,
    maxPatients: quote.max_patients,
    sealDeadline: seal,
    settleDeadline: seal + way.turn_window,
    deliveryKey,
    salt,
  });
}

/**
 * Hands the question in, then opens and pays.
 * @param {Offer} offer
 * @param {(text: string) => void} say hears what happens meanwhile
 * @returns {Promise<string>} the request's id
 * @throws {Refused} as operator, token and market refuse; nothing is paid then
 */
export async function buy(offer, say) {
  requireHonest(offer);
  const [market, who] = [await signedFor(), await signer()];
  requireShown(offer.token, market.token);
  const at = market.contracts.ResearchMarket;
  const own = { chainId: market.chainId, market: at, account: who.address };
  const before = await waitingOf(own);
  const { root } = await requireUnlocked();
  const [way, salt] = [await getJson("/ask/opening"), randomBytes(32)];
  const delivery = await root.deliveryKey(market.chainId, at, salt);
  const terms = termsOf(offer, way, { salt, deliveryKey: await deliveryKeyOf(offer.question.lane, delivery) });
  const [until, escrow, id] = [Number(terms.sealDeadline), escrowOf(terms), requestId(market.chainId, at, who.address, terms)];
  requireToken(way, market);
  requireFunds(way, escrow);
  const classes = offer.classes.map((each) => fromJson("ClassTerms", each));
  await openOnce(own, before, { permit: permitNumber(way), until, escrow }, {
    kind: who.kind,
    prepare: async (number) => {
      const permit = await permitFor(terms, way, who, market, number);
      say("Handing the question in. Nothing is paid yet.");
      await handIn(terms, offer.quote.canonical, id);
      say(isAnyOut(before) ? `${OPENING} ${INSTEAD}` : OPENING);
      return permit;
    },
    send: (permit, how) => who.send({ to: at, data: openingData(terms, classes, permit) }, how),
  });
  return toHex(id);
}

/** What was agreed to was shown in this token, and with its point in this place. */
function requireShown(shown, token) {
  if (["address", "decimals", "symbol"].every((part) => shown?.[part] === token[part])) return;
  const message = "This page showed amounts in another token than the market's, or with the decimal point elsewhere.";
  refuse("market_changed", message, "Nothing was signed. Load the page again, and look at what it can cost.", "agreed");
}

/** What is signed away is this market's token, not another that the account may hold. */
function requireToken({ token }, market) {
  if (address(token, "token") === market.token.address) return;
  const message = "This site asks for a permit of another token than the market's.";
  refuse("market_changed", message, "Nothing was signed. Do not go on here: tell the market's operator.");
}

function requireFunds({ balance }, escrow) {
  if (BigInt(balance) >= escrow) return;
  const message = "The account holds less of the market's token than the request can cost.";
  refuse("insufficient_funds", message, "Nothing was paid. Send it more, or ask for less.", "agreed");
}

/** The token's own number of the account's next permit, as it is told. */
function permitNumber({ permit }) {
  if (permit !== null) return String(BigInt(permit.nonce));
  const message = "The market's token takes no permit (ERC-2612), so one signature does not pay.";
  return refuse("no_permit", message, "Nothing was paid. Ask with `usufruct request`, which approves the market first.");
}

/**
 * Signed before anything is handed in: a wallet that makes no permit is found out first. It holds just as long as the
 * opening that it is for, so that none of those that are waited for outlives its permit, and none is left when they end.
 */
function permitFor(terms, { permit, token }, who, { chainId, contracts }, number) {
  const domain = permitDomain([{ name: permit.name, version: permit.version }], chainId, token, permit.separator);
  const given = { spender: contracts.ResearchMarket, value: escrowOf(terms), nonce: BigInt(number), deadline: terms.sealDeadline };
  return permitOf(who, domain, given);
}

async function handIn(terms, parameters, id) {
  const taken = await postJson("/ask/requests", { terms: toJson("RequestTerms", terms), parameters });
  if (taken.request === toHex(id)) return;
  const message = "The operator took the request in under an id that is not the hash of its terms.";
  refuse("another_request", message, "Nothing was paid. Ask another operator.");
}
