/**
 * Stop, on a page of this site: one press, one signature. This site carries it, custodians are asked by this browser,
 * and the page says who of them confirmed it. Nothing that one of them does or leaves undone keeps it from the others.
 */

import { consentNow, offer, sayAt, sayHere } from "./acts.js";
import { inTime, postJson } from "./ask.js";
import { announce, one } from "./dom.js";
import { stopFactsOf } from "./keystore.js";
import { refuse } from "./refused.js";
import { knownMarket } from "./session.js";
import { Stopping, believable, listed, sentence } from "./stopping.js";
import { pageNow, requireMeant, stopSigner } from "./whose.js";

const PAST_THIS_SITE = { href: "/stop/", label: "Ask every custodian again" };
const REMEDY = "Press Stop again: it does no harm. Or go past this site, by the link below the button.";

/** @typedef {import("./acts.js").Own} Own */
/** @typedef {import("./stopping.js").Word} Word */
/** @typedef {{stopping: Stopping, words: Word[], other: {dataset: string, address: string}|null}} Stopped what everybody
 *   said, in order; `other` where the page named something else than what was stopped */

/** Works on whatever stands. @param {Own} own */
export function offerStop(own) {
  const named = new Set();
  offer("#stop", async () => {
    const found = await stopped(own, named).catch(toldWhereItGoesOn);
    const { isConfirmed, isShownHere } = found.stopping;
    if (isShownHere) sayAt(toldOf(found), location.pathname, isConfirmed ? null : PAST_THIS_SITE);
    else sayHere(toldOf(found)); // a site that does not show it may not load either
  });
}

/** Of a site that is not there even for what has to be known before anything is signed. */
function toldWhereItGoesOn(error) {
  if (!["unreachable", "not_understood"].includes(error.code)) throw error;
  const remedy = "Stop past it: the link below the button leads to a page that this browser keeps.";
  return refuse("unreachable", "This site does not answer, so nothing was sent.", remedy);
}

/**
 * Has it stopped: what this page's address names, under the address that signs for it here. The facts of the page say
 * how far along it is, and no more: one word of them would have another consent stopped.
 * @param {Own} own
 * @param {Set<string>} [named] addresses that this page named at a press before
 * @returns {Promise<Stopped>}
 * @throws {Refused} not_as_shown, once; where neither this site nor enough custodians say that the chain has it
 */
export async function stopped(own, named = new Set()) {
  const words = [];
  const market = await knownMarket();
  const who = await stopSigner(market, named);
  const { dataset, ward } = pageNow();
  const [address, guardian] = ward === null ? [who.address, null] : [ward, who.address];
  await requireMeant(own, { dataset, address }, who, named);
  const { chainId: chain_id, contracts, custodians } = market;
  const sequence = await sequenceOf({ ...own, dataset, account: address, guardian });
  const what = { dataset, address, sequence, chain_id, contracts, custodians };
  const stopping = new Stopping(what, who, (word) => words.push(word));
  const carry = async (message) => {
    await postJson(`/me/${dataset}/messages`, { message });
    announce(one("#said"), "This site took your revocation. Asking custodians whether the chain has it…");
  };
  await stopping.askHereFirst(carry);
  if (!stopping.isShownHere) requireConfirmed(stopping, words);
  return { stopping, words, other: dataset === own.dataset && address === own.account ? null : what };
}

/** As this site tells it, where that is near what this browser knew. */
async function sequenceOf(own) {
  const { sequence: told } = (await inTime(consentNow(own))) ?? own;
  const { dataset, account: address, guardian } = own;
  return believable(told, (await stopFactsOf({ dataset, address, guardian }))?.sequence);
}

/** Of a revocation that this site does not show. @throws {Refused} not_confirmed */
function requireConfirmed({ custodians, isConfirmed }, words) {
  if (isConfirmed) return;
  announce(one("#said"), "");
  if (custodians.length > 0) {
    const message = `Not confirmed yet: only ${custodians[0]} says that the chain has your revocation.`;
    refuse("not_confirmed", message, REMEDY);
  }
  refuse("not_confirmed", `Nobody says yet that the chain has your revocation. ${denials(words)}`, REMEDY);
}

/** @param {Stopped} stopped @returns {string} who confirmed, and who did not; and which one it was, if not what the page named */
export function toldOf({ stopping: { custodians, isConfirmed, isShownHere }, words, other = null }) {
  const which = other === null ? "" : ` This page named another one: what ended is the consent of ${other.address} in the dataset ${other.dataset}.`;
  if (isConfirmed) {
    const [here, missing] = isShownHere ? ["this site and ", ""] : ["", " This site does not show it yet."];
    return `Stopped. The chain shows it, say ${here}${listed(custodians)}, each from a view of its own.${missing}${which}`;
  }
  const known = custodians.length > 0 ? `this site and ${custodians[0]}` : "this site";
  return `Stopped. The chain shows it, says ${known}. Not yet confirmed by two custodians. ${denials(words)}${which}`;
}

function denials(words) {
  return words.filter(({ yes }) => !yes).map(({ text }) => sentence(text)).join(" ");
}
