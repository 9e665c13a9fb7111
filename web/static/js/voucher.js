/**
 * What a clinic vouches for with an invitation: a message authentication code, under a key made of the invitation's code,
 * over all that its browser knows and confirmed of the market and of its own desk. A patient's browser, which comes for
 * the first time, holds against it what this operator tells. The counterpart of `wire.voucher`, where the layout stands.
 */

import { fromHex, toHex, utf8 } from "./bytes.js";
import { committeeHash, originsIn } from "./committee.js";
import { hasExactly } from "./json.js";
import { refuse } from "./refused.js";
import { codeHash, requireCode } from "./opening.js";
import { taggedHash } from "./tagged.js";

const MAC_BYTES = 32;
const SEEN = [
  ...["uint256", "string[]", "address[]", "address", "uint8", "string"],
  ...["bytes32", "address", "bytes32", "bytes32", "string[]"],
];

/**
 * @typedef {object} Seen what a browser was told, and confirmed
 * @property {{chainId: number, contracts: Object<string, string>, token: {address: string, decimals: number, symbol: string}}} market
 * @property {Uint8Array} dataset
 * @property {string} issuer
 * @property {Uint8Array} desk the clinic's X25519 key
 * @property {import("./committee.js").Committee} committee
 */
/** @typedef {{custodians: string[], epoch: number, mac: string}} Voucher */

/** @param {Seen} seen @param {string[]} custodians origins @returns {Uint8Array} what is authenticated, 32 bytes */
export function seenHash({ market, dataset, issuer, desk, committee }, custodians) {
  const names = Object.keys(market.contracts).sort();
  const { address, decimals, symbol } = market.token;
  const told = [market.chainId, names, names.map((name) => market.contracts[name]), address, decimals, symbol];
  return taggedHash("usufruct/voucher/1", SEEN, [...told, dataset, issuer, desk, committeeHash(committee), custodians]);
}

/**
 * @param {Uint8Array} code of an invitation
 * @param {Seen} seen
 * @param {string[]} custodians origins
 * @returns {Promise<Voucher>}
 */
export async function vouched(code, seen, custodians) {
  const mac = await crypto.subtle.sign("HMAC", await keyOf(code, "sign"), seenHash(seen, custodians));
  return { custodians, epoch: seen.committee.epoch, mac: toHex(new Uint8Array(mac)) };
}

/**
 * Of each code its hash and what vouches for it, as a clinic's page leaves them. The codes themselves leave the browser
 * on paper alone.
 * @param {Uint8Array[]} codes
 * @param {Seen} seen whose market names the custodians' origins, as this browser knows them
 * @returns {Promise<{codes: string[], macs: string[], custodians: string[], epoch: number}>}
 */
export async function invitationsOf(codes, seen) {
  const { custodians } = seen.market;
  const vouchers = await Promise.all(codes.map((code) => vouched(code, seen, custodians)));
  return { codes: codes.map((code) => toHex(codeHash(code))), macs: vouchers.map(({ mac }) => mac), custodians, epoch: seen.committee.epoch };
}

/**
 * What this operator tells is what the clinic saw when it made this invitation.
 * @param {unknown} told the invitation's voucher, as this operator shows it
 * @param {Uint8Array} code as it stands on the paper
 * @param {Seen} seen
 * @returns {Promise<string[]>} where the custodians answer, by the clinic's word
 * @throws {Refused} wrong_paper, committee_changed
 */
export async function requireVouched(told, code, seen) {
  const { custodians, epoch, mac } = readVoucher(told, seen);
  if (epoch !== seen.committee.epoch) committeeChanged(epoch, seen.committee.epoch);
  const isIts = await crypto.subtle.verify("HMAC", await keyOf(code, "verify"), mac, seenHash(seen, custodians));
  return isIts ? custodians : wrongPaper(seen);
}

/** @param {number|string} then @param {number} now epochs @returns {never} */
export function committeeChanged(then, now) {
  const message = `The custodians are others than when the clinic made this invitation, this server says: epoch ${now}, and not ${then}.`;
  return refuse("committee_changed", message, "Seal nothing now: ask the clinic for a new invitation.", "code");
}

function readVoucher(told, seen) {
  if (!hasExactly(told, ["custodians", "epoch", "mac"])) wrongPaper(seen);
  const { custodians, epoch, mac } = told;
  const isRead = originsIn(custodians).length === custodians?.length && custodians.length > 0 && Number.isSafeInteger(epoch);
  if (!isRead || typeof mac !== "string" || !/^0x[0-9a-f]{64}$/.test(mac)) wrongPaper(seen);
  return { custodians, epoch, mac: fromHex(mac, "mac", MAC_BYTES) };
}

function wrongPaper({ market, issuer, desk, committee }) {
  const message = "What this server tells is not what your clinic saw when it made this invitation: the market, the clinic's desk or the custodians are others.";
  const shown = `the clinic ${issuer}, its desk ${toHex(desk)}, the consents at ${market.contracts.ConsentRegistry}, custodians of epoch ${committee.epoch}`;
  const remedy =
    `Seal nothing here. Ask the clinic for a new invitation, and tell it what you were shown: ${shown}. ` +
    "Only if the clinic then says that this browser remembers another market than the right one, remove what it knows of the market, on the page Keys.";
  return refuse("wrong_paper", message, remedy, "code");
}

/** HKDF-SHA256 (RFC 5869), then HMAC-SHA256 (RFC 2104). */
async function keyOf(code, use) {
  requireCode(code);
  const material = await crypto.subtle.importKey("raw", code, "HKDF", false, ["deriveKey"]);
  const way = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: utf8("usufruct/voucher-key/1") };
  return crypto.subtle.deriveKey(way, material, { name: "HMAC", hash: "SHA-256", length: 256 }, false, [use]);
}
