/**
 * Which market this is. The operator tells it with every page; what this browser heard at its first signature is kept,
 * and whatever is told later is held against it: who could change the contracts' addresses, the token or the
 * custodians afterwards could have signed, paid and sealed for others what was meant for them.
 */

import { getJson } from "./ask.js";
import { requireSaid } from "./committee.js";
import { keepPin, pinned } from "./keystore.js";
import { Refused, refuse } from "./refused.js";

const MOST_NAMED = 3; // differences that a refusal spells out
const LONGEST = 60; // characters of a value that it quotes

/**
 * @typedef {object} Market
 * @property {number} chainId
 * @property {Object<string, string>} contracts addresses by name
 * @property {{address: string, decimals: number, symbol: string}} token
 * @property {string[]} custodians origins, by place
 * @property {import("./committee.js").Committee} committee
 */
/**
 * @typedef {object} Pin
 * @property {number} chainId
 * @property {Object<string, string>} contracts
 * @property {{address: string, decimals: number, symbol: string}} token
 * @property {string[]} custodians
 * @property {number} epoch the latest that was told and confirmed, or told first
 * @property {Object<string, string[]>} keys the committee's, by epoch: those that custodians confirmed
 */

let told = null;

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
  await keepPin(first);
  return first;
}

/**
 * The committee to seal to, confirmed by the custodians themselves; kept for its epoch.
 * @returns {Promise<import("./committee.js").Committee>}
 * @throws {Refused} market_changed, wrong_committee, committee_unconfirmed
 */
export async function confirmedCommittee() {
  const { committee } = await signedFor();
  const pin = await pinned();
  await requireSaid(committee, pin.custodians);
  const keys = { ...pin.keys, [committee.epoch]: keysOf(committee) };
  await keepPin({ ...pin, keys, epoch: Math.max(pin.epoch, committee.epoch) });
  return committee;
}

/** @param {Market} market @returns {Pin} */
function pinOf({ chainId, contracts, token, custodians, committee }) {
  return { chainId, contracts, token, custodians, epoch: committee.epoch, keys: {} };
}

function keysOf({ members }) {
  return members.map(({ key }) => key);
}

async function requireSame(market, pin) {
  if (pin === null) return market;
  const found = differences(pin, market);
  if (found.length === 0) return market;
  if (!(await isConfirmedChange(pin, market, found))) changed(found);
  await keepPin({ ...pin, custodians: market.custodians, epoch: market.committee.epoch });
  return market;
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
  const keys = pin.keys[epoch];
  const all = [
    { what: "the chain", before: pin.chainId, now: market.chainId },
    ...names.map((name) => ({ what: `the contract ${name}`, before: pin.contracts[name], now: market.contracts[name] })),
    ...parts.map((part) => ({ what: `the token's ${part}`, before: pin.token[part], now: market.token[part] })),
    { what: "where custodians answer", before: pin.custodians.join(" "), now: market.custodians.join(" ") },
    ...(keys === undefined ? [] : [{ what: `the custodians' keys of epoch ${epoch}`, before: keys.join(" "), now: keysOf(market.committee).join(" ") }]),
  ];
  return all.filter(({ before, now }) => before !== now);
}

/** Custodians come and go by epochs: those that stay, where this browser knows them to answer, have to say so. */
async function isConfirmedChange(pin, market, found) {
  const isOfCustodians = found.every(({ what }) => what === "where custodians answer");
  if (!isOfCustodians || market.committee.epoch <= pin.epoch) return false;
  try {
    await requireSaid(market.committee, pin.custodians);
    return true;
  } catch (error) {
    if (error instanceof Refused) return false;
    throw error;
  }
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
