/**
 * Stop, on a page of this site: one press, one signature. This site carries it, custodians are asked by this browser,
 * and the page says who of them confirmed it. Nothing that one of them does or leaves undone keeps it from the others.
 */

import { consentNow, offer, sayAt } from "./acts.js";
import { postJson } from "./ask.js";
import { announce, one } from "./dom.js";
import { stopFactsOf } from "./keystore.js";
import { refuse } from "./refused.js";
import { knownMarket, signer } from "./session.js";
import { ENOUGH, Stopping, believable, listed } from "./stopping.js";

const PAST_THIS_SITE = { href: "/stop/", label: "Ask every custodian again" };
const REMEDY = "Press Stop again: it does no harm. Or go past this site, by the link below the button.";

/** @typedef {import("./acts.js").Own} Own */
/** @typedef {import("./stopping.js").Word} Word */

/** Works on whatever stands. @param {Own} own */
export function offerStop(own) {
  offer("#stop", async () => {
    const { stopping, words } = await stopped(own, `/me/${own.dataset}/messages`).catch(toldWhereItGoesOn);
    sayAt(toldOf(stopping, words), location.pathname, stopping.custodians.length < ENOUGH ? PAST_THIS_SITE : null);
  });
}

/** Of a site that is not there even for what has to be known before anything is signed. */
function toldWhereItGoesOn(error) {
  if (!["unreachable", "not_understood"].includes(error.code)) throw error;
  const remedy = "Stop past it: the link below the button leads to a page that this browser keeps.";
  return refuse("unreachable", "This site does not answer, so nothing was sent.", remedy);
}

/**
 * Has it stopped, by whoever is signed in, who may be a guardian of it.
 * @param {Own} own
 * @param {string} path that carries it for whoever is signed in
 * @returns {Promise<{stopping: Stopping, words: Word[]}>} what everybody said, in order
 * @throws {Refused} where neither this site nor enough custodians say that the chain has it
 */
export async function stopped(own, path) {
  const words = [];
  const market = await knownMarket();
  const { chainId: chain_id, contracts, custodians } = market;
  const what = { dataset: own.dataset, address: own.account, sequence: await sequenceOf(own), chain_id, contracts, custodians };
  const stopping = new Stopping(what, await signer(market), (word) => words.push(word));
  const carry = async (message) => {
    await postJson(path, { message });
    announce(one("#said"), "This site took your revocation. Asking custodians whether the chain has it…");
  };
  await stopping.askHereFirst(carry);
  if (!stopping.isShownHere) requireConfirmed(stopping, words);
  return { stopping, words };
}

/** As this site tells it, where that is near what this browser knew. */
async function sequenceOf(own) {
  const { sequence: told } = await consentNow(own).catch(() => own);
  const { dataset, account: address, guardian = null } = own;
  return believable(told, (await stopFactsOf({ dataset, address, guardian }))?.sequence);
}

/** Of a revocation that this site does not show. @throws {Refused} not_confirmed */
function requireConfirmed({ custodians }, words) {
  if (custodians.length >= ENOUGH) return;
  announce(one("#said"), "");
  if (custodians.length > 0) {
    const message = `Not confirmed yet: only ${custodians[0]} says that the chain has your revocation.`;
    refuse("not_confirmed", message, REMEDY);
  }
  refuse("not_confirmed", `Nobody says yet that the chain has your revocation. ${denials(words)}`, REMEDY);
}

/** @param {Stopping} stopping @param {Word[]} words @returns {string} who confirmed, and who did not */
export function toldOf({ custodians, isShownHere }, words) {
  const said = `${listed(custodians)}, each from a view of its own`;
  if (custodians.length >= ENOUGH) {
    const [here, missing] = isShownHere ? ["this site and ", ""] : ["", " This site does not show it yet."];
    return `Revoked. The chain shows it, say ${here}${said}.${missing}`;
  }
  const known = custodians.length > 0 ? `this site and ${custodians[0]}` : "this site";
  return `Revoked. The chain shows it, says ${known}. Not yet confirmed by two custodians. ${denials(words)}`;
}

function denials(words) {
  return words.filter(({ yes }) => !yes).map(({ text }) => text.charAt(0).toUpperCase() + text.slice(1)).join(" ");
}
