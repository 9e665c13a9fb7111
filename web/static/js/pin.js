/**
 * Which market this is. The operator tells it with every page; what this browser heard at its first signature is kept,
 * and whatever is told later is held against it: who could change the contracts' addresses, the token or the
 * custodians afterwards could have signed, paid and sealed for others what was meant for them.
 *
 * Where custodians answer is asked of the operator once, and never again: what it tells otherwise is not used, and holds
 * up nothing. A clinic's voucher takes the place of what was told; and custodians that are known can bring in others.
 */

import { getJson } from "./ask.js";
import { bytes32, toHex } from "./bytes.js";
import { committeeHash, custodiansAfter, holdersAfter, originsIn, requireSaid } from "./committee.js";
import { requireJointKey } from "./jointkey.js";
import { changePin, pinned } from "./keystore.js";
import { confirmedIn, seatsOf, withPaper } from "./papers.js";
import { Refused, refuse } from "./refused.js";

const MOST_NAMED = 3; // differences that a refusal spells out
const LONGEST = 60; // characters of a value that it quotes

/**
 * @typedef {object} Market
 * @property {number} chainId
 * @property {Object<string, string>} contracts addresses by name
 * @property {{address: string, decimals: number, symbol: string}} token
 * @property {string[]} custodians origins at which this browser asks them
 * @property {import("./committee.js").Committee} committee as the operator tells it
 */
/**
 * @typedef {object} Pin
 * @property {number} chainId
 * @property {Object<string, string>} contracts
 * @property {{address: string, decimals: number, symbol: string}} token
 * @property {string[]} custodians origins: told first, or vouched for by a clinic; then as custodians confirm each other
 * @property {number|null} paper the epoch of the latest paper of a clinic that was taken in
 * @property {{epoch: number, quorum: number, keys: string[]}} seats the latest that were confirmed, or told first
 * @property {Object<string, string>} holders by origin, the key of which each custodian said that it was its own
 * @property {Object<string, string>} committees by epoch, the hash of those that custodians or a clinic confirmed
 */

let told = null;
let following = null;

/** As the operator tells it, asked once a page. */
function toldNow() {
  told ??= getJson("/deployment").then(
    (found) => ({ ...found, chainId: found.chain_id }),
    (error) => {
      told = null; // asked again at the next press
      throw error;
    },
  );
  return told;
}

/**
 * This market, for reading: the one that this browser knows, if it knows one.
 * @returns {Promise<Market>}
 * @throws {Refused} market_changed
 */
export async function deployment() {
  return requireSame(await toldNow(), await pinned());
}

/**
 * This market, for whatever is signed: kept from now on.
 * @returns {Promise<Market>}
 * @throws {Refused} market_changed
 */
export async function signedFor() {
  await knownMarket();
  return deployment();
}

/**
 * The market that this browser knows, kept from now on; told otherwise or not at all, it stays that one. For keys,
 * signing in and revocations, which nothing may hold up.
 * @returns {Promise<Pin>}
 * @throws {Refused} as the server refuses, where this browser knows nothing yet
 */
export async function knownMarket() {
  const pin = await pinned();
  if (pin !== null) return pin;
  const first = pinOf(await toldNow());
  return changePin((kept) => kept ?? first);
}

/**
 * The committee to seal to, confirmed by the custodians themselves; kept for its epoch.
 * @param {{isTallied?: boolean}} [of] whether columns are to be encrypted, too: then they have to confirm their joint key
 * @returns {Promise<import("./committee.js").Committee & {jointKey: Uint8Array|null}>} `jointKey` is null where none was asked for
 * @throws {Refused} market_changed, wrong_committee, committee_unconfirmed; as `requireJointKey`
 */
export async function confirmedCommittee({ isTallied = false } = {}) {
  await signedFor();
  const { committee, custodians } = await toldNow();
  const pin = await knownMarket();
  const now = committee.epoch > pin.seats.epoch ? await brought(committee, custodians, pin) : pin;
  const said = now === null ? null : await confirming(committee, now);
  if (said === null) return confirmedCommittee({ isTallied }); // another tab kept something meanwhile: by that, then
  return { ...committee, jointKey: isTallied ? requireJointKey(committee, said, now.custodians, leastOf(committee, now)) : null };
}

/** What each known custodian said, once as many as have to said the same; null as `keptAfter`. */
async function confirming(committee, pin) {
  const said = await requireSaid(committee, pin.custodians, leastOf(committee, pin));
  const next = { ...confirmedIn(pin, committee), holders: holdersAfter(committee, pin, said) };
  return (await keptAfter(pin, next)) === null ? null : said;
}

function leastOf(committee, pin) {
  return Math.max(committee.quorum, pin.seats.quorum);
}

/** @returns {Promise<Pin|null>} null where it is not `before` any more that is kept: then nothing changes */
async function keptAfter(before, next) {
  const kept = await changePin((now) => (isSame(now, before) ? next : now));
  return isSame(kept, next) ? next : null;
}

function isSame(one, other) {
  return textOf(one) === textOf(other);
}

function textOf(pin) {
  return JSON.stringify(pin, (_, value) => (typeof value === "bigint" ? String(value) : value));
}

/**
 * By the word of a clinic, in place of the operator's: no later paper undoes it, but for one of a later epoch.
 * @param {string[]} custodians origins
 * @param {import("./committee.js").Committee} committee
 * @throws {Refused} papers_differ, older_paper, market_changed
 */
export async function takeVouched(custodians, committee) {
  const [first, market] = [await knownMarket(), await toldNow()];
  if ((first.paper ?? null) !== null && committee.epoch > first.seats.epoch) await requireUndenied(committee, first);
  await changePin((kept) => {
    const pin = kept ?? first;
    requireUnchanged(pin, market);
    return withPaper(pin, custodians, committee);
  });
}

/** Those that are known may be silent, as after a rotation of all; while they answer, their word of a later epoch counts. */
async function requireUndenied(committee, { custodians, seats }) {
  try {
    await requireSaid(committee, custodians, seats.quorum);
  } catch (error) {
    if (error.code !== "committee_unconfirmed") throw error;
  }
}

/** @param {Market} market @returns {Pin} */
function pinOf({ chainId, contracts, token, custodians, committee }) {
  const asked = { custodians: originsIn(custodians), paper: null };
  return { chainId, contracts, token, ...asked, seats: seatsOf(committee), holders: {}, committees: {} };
}

async function requireSame(market, pin) {
  if (pin === null) return { ...market, custodians: originsIn(market.custodians) };
  requireUnchanged(pin, market);
  return { ...market, custodians: (await followed(market, pin)).custodians };
}

function requireUnchanged(pin, market) {
  const found = differences(pin, market);
  if (found.length > 0) changed(found);
}

/** Custodians come and go by epochs: those that are known have to say so, and until they do, they alone are asked. */
async function followed({ committee, custodians }, pin) {
  const isNews = committee.epoch > pin.seats.epoch && originsIn(custodians).some((url) => !pin.custodians.includes(url));
  if (!isNews) return pin;
  following ??= brought(committee, custodians, pin).catch((error) => {
    if (!(error instanceof Refused)) throw error;
    return null;
  });
  return (await following) ?? pin;
}

/** What a later epoch brings, where as many say so as had to act together in the one that this browser knew; as `keptAfter`. */
async function brought(committee, told, pin) {
  const said = await requireSaid(committee, pin.custodians, pin.seats.quorum);
  const custodians = await custodiansAfter(committee, pin, said, told);
  const holders = holdersAfter(committee, pin, said);
  return keptAfter(pin, { ...confirmedIn(pin, committee), custodians, holders, seats: seatsOf(committee) });
}

/**
 * The document by which the command line knows the market is of this very one.
 * @param {{chain_id: number, contracts: Object<string, {address: string}>}} manifest
 * @param {Market} market
 * @throws {Refused} market_changed
 */
export function requireManifest({ chain_id: chainId, contracts }, market) {
  const all = Object.entries(market.contracts).map(([name, at]) => ({ what: `the contract ${name}`, before: at, now: contracts[name]?.address }));
  const found = [{ what: "the chain", before: market.chainId, now: chainId }, ...all].filter(({ before, now }) => before !== now);
  if (found.length > 0) changed(found);
}

/**
 * What differs, in words.
 * @param {Pin} pin
 * @param {Market} market
 * @returns {Array<{what: string, before: unknown, now: unknown}>}
 */
export function differences(pin, market) {
  const names = [...new Set([...Object.keys(pin.contracts), ...Object.keys(market.contracts)])].sort();
  const parts = ["address", "decimals", "symbol"];
  const epoch = market.committee.epoch;
  const committee = pin.committees[epoch];
  const all = [
    { what: "the chain", before: pin.chainId, now: market.chainId },
    ...names.map((name) => ({ what: `the contract ${name}`, before: pin.contracts[name], now: market.contracts[name] })),
    ...parts.map((part) => ({ what: `the token's ${part}`, before: pin.token[part], now: market.token[part] })),
    ...(committee === undefined ? [] : [{ what: `the custodians of epoch ${epoch}`, before: committee, now: toHex(committeeHash(market.committee)) }]),
  ];
  return all.filter(({ before, now }) => before !== now);
}

function changed(found) {
  const named = found.slice(0, MOST_NAMED).map(({ what, before, now }) => `${what} (before: ${quoted(before)}; now: ${quoted(now)})`);
  const more = found.length > MOST_NAMED ? `, and ${found.length - MOST_NAMED} more` : "";
  const message = `This site names another market than the one that this browser knows. What differs: ${named.join(", ")}${more}.`;
  const remedy =
    "Nothing was signed. Compare with the addresses that the market's operator publishes elsewhere. " +
    "Only if the new ones are right, remove what this browser knows of the market, on the page Keys.";
  refuse("market_changed", message, remedy);
}

function quoted(value) {
  const text = value === undefined ? "none" : String(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
