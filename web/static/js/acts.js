/**
 * What a patient does with a consent: signed here, carried by this operator, and told as done only once the chain
 * shows it. Facts that the page for stopping needs when the operator is down are kept on the way.
 */

import { getJson, postJson } from "./ask.js";
import { bytes32 } from "./bytes.js";
import { canonical } from "./canonical.js";
import { announce, element, one } from "./dom.js";
import { formAt, onSubmit } from "./forms.js";
import { keepStopFacts, stopFactsOf } from "./keystore.js";
import { Messages } from "./messages.js";
import { isSameManifest, knownManifest, otherManifest } from "./manifest.js";
import { requireManifest } from "./pin.js";
import { Refused } from "./refused.js";
import { forgetStudy, studyEnd } from "./rested.js";
import { deployment, signer } from "./session.js";
import { beReady } from "./stopkit.js";
import { believable } from "./stopping.js";
import { requireKnown, requireOwn, requirePage } from "./whose.js";

export { keepStudy } from "./rested.js";

const AGAIN = 1_000; // milliseconds between two looks at the chain
const PATIENCE = 180_000; // milliseconds
const SAID = "said after loading";

/**
 * @typedef {{dataset: string, name: string, account: string, state: string, sequence: number, expiry: number,
 *   guardian?: string}} Own `account` is the patient's; `guardian` that of whoever acts for it
 */

/** @param {Own} own @returns {Promise<any>} the consent as this operator reads it from the chain now */
export function consentNow({ dataset, account }) {
  return getJson(`/api/v1/datasets/${dataset}/consents/${account}`);
}

/**
 * Signs one message, has it carried, and waits until the chain shows what it is for.
 * @param {Own} own
 * @param {(messages: Messages, now: any, dataset: Uint8Array) => Promise<object>} sign gives the envelope
 * @param {(now: any, before: any) => boolean} seen whether the consent shows it
 * @throws {Refused} why not; other_consent; not_seen_yet
 */
export async function act(own, sign, seen) {
  requirePage(own);
  const before = await consentNow(own);
  const [market, who] = [await deployment(), await signer()];
  requireOwn(own, who);
  const messages = new Messages(market, who);
  const message = await sign(messages, before, bytes32(own.dataset, "dataset"));
  await postJson(`/me/${own.dataset}/messages`, { message });
  await until(async () => seen(await consentNow(own), before));
}

/** Waits until the chain shows it. @param {() => Promise<boolean>} shown @throws {Refused} not_seen_yet */
export async function until(shown) {
  const end = Date.now() + PATIENCE;
  while (!(await shown())) {
    if (Date.now() > end) throw notSeen();
    await new Promise((done) => setTimeout(done, AGAIN));
  }
}

function notSeen() {
  const message = "It was handed to the chain, which does not show it yet.";
  return new Refused({ code: "not_seen_yet", message, remedy: "Load this page again in a minute, and look before you repeat it." });
}

/**
 * Loads a page, which then says `text`.
 * @param {string} text
 * @param {string} [path] where it is left out, this page
 * @param {{href: string, label: string}|null} [onward] a link that stands behind it
 */
export function sayAt(text, path = location.pathname, onward = null) {
  sessionStorage.setItem(SAID, JSON.stringify({ path, text, onward }));
  if (path === location.pathname) location.reload();
  else location.assign(path);
}

/** Says what the page before left to be said here. */
export function sayNow() {
  const kept = sessionStorage.getItem(SAID);
  if (kept === null) return;
  const { path, text, onward } = JSON.parse(kept);
  if (path !== location.pathname) return;
  sessionStorage.removeItem(SAID);
  sayHere(text, onward);
}

/** Says it without loading anything, as where a site that may be away has no part in it. As `sayAt`. */
export function sayHere(text, onward = null) {
  const where = one("#said");
  announce(where, text);
  if (onward !== null) where.append(" ", element("a", { href: onward.href }, onward.label));
  where.tabIndex = -1;
  where.focus();
}

// --- what several pages offer

/** Rest and wake, where the page has them. */
export function offerPauses(own) {
  offer("#rest", () => rest(own, "Resting. The chain shows it; wake it yourself whenever you like."));
  offer("#wake", async () => {
    const wake = (messages, { sequence }, dataset) => messages.wake(dataset, sequence);
    await act(own, wake, (now) => now.state === "live" || now.state === "resting");
    forgetStudy(own);
    sayAt("Woken. The chain shows it.");
  });
  remind(own);
}

/** @param {Own} own @param {string} text to say once it rests */
export async function rest(own, text) {
  const sign = (messages, { sequence }, dataset) => messages.rest(dataset, sequence);
  await act(own, sign, (now) => now.state === "rested_by_patient");
  sayAt(text);
}

/** A form that may not be on this page. */
export function offer(selector, work) {
  if (document.querySelector(selector) !== null) onSubmit(formAt(selector), work);
}

function remind(own) {
  const [where, end] = [document.querySelector("#rested-for"), studyEnd(own)];
  if (where === null || own.state !== "rested_by_patient" || end === null) return;
  const when = new Date(end * 1_000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
  where.textContent =
    Date.now() / 1_000 > end
      ? "The study that you rested for can count nobody any more. Wake your consent if you want others to count you."
      : `You rested for one study. It can count nobody after ${when}: wake your consent then.`;
  where.hidden = false;
}

// --- the operator may be down some day

/** What is still good of Stop, where something else is not as this browser knew it. */
const STOP_GOES = {
  market_changed: "Stop still goes to the market that this browser knows.",
  other_consent: "Stop on this page ends the consent that its address and your keys name.",
};

/** Keeps what the page for stopping needs then, all of it public, and that page itself; of another market, nothing. */
export async function keepForStopping(own) {
  try {
    await keepFacts(own);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (STOP_GOES[error.code] === undefined) return; // away or busy: what was kept before stays, and the next visit keeps more
    const where = one("#said");
    announce(where, `${where.textContent} ${error.message} ${error.remedy} ${STOP_GOES[error.code]}`.trim());
  }
}

/** @param {Own} own @throws {Refused} other_consent, market_changed: what was kept before stays */
export async function keepFacts(own) {
  await requireKnown(own);
  const [market, answer] = await Promise.all([deployment(), getJson("/api/v1/market").catch(() => null), beReady()]);
  const told = written(answer?.manifest);
  if (told !== null) requireManifest(told, market);
  const known = written(await knownManifest(market)) ?? told;
  const isKnown = told === null || isSameManifest(known, told);
  await keepWith(own, market, isKnown ? (told ?? known) : known);
  if (!isKnown) otherManifest();
}

/** Only the command line needs it, as a file: one that is none, or cannot be written, is not kept, and holds nothing up. */
function written(manifest) {
  try {
    canonical(manifest);
  } catch {
    return null;
  }
  return typeof manifest?.contracts === "object" && manifest.contracts !== null ? manifest : null;
}

/** Under the name that it had first: another one would have somebody stop what is not meant. */
async function keepWith({ dataset, name, account: address, state, sequence, expiry, guardian = null }, market, manifest) {
  const before = await stopFactsOf({ dataset, address, guardian });
  await keepStopFacts({
    dataset,
    name: before?.name ?? name,
    address,
    guardian,
    state,
    sequence: believable(sequence, before?.sequence),
    expiry,
    chain_id: market.chainId,
    contracts: market.contracts,
    custodians: market.custodians,
    ...(manifest === null ? {} : { manifest }),
    seen_at: Math.floor(Date.now() / 1_000),
  });
}
