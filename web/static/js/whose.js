/**
 * Whose consent a page is about, and who signs for it. What a page's facts say of that is the site's word: a signature
 * for another record would do nothing to the one that somebody looks at, however many custodians say that it is done.
 * So the page's own address has to name it, and the keys of this browser have to be that record's.
 */

import { inTime } from "./ask.js";
import { address } from "./address.js";
import { NO_DATASET } from "./accounts.js";
import { keyFile, signedInAs } from "./keystore.js";
import { refuse } from "./refused.js";
import { ownSigners, walletOf, whoIsSignedIn } from "./session.js";
import { shortened } from "./stopwords.js";
import { openedKeys } from "./unlocked.js";

const OWN = /^\/me\/(0x[0-9a-f]{64})(?:\/|$)/i;
const WARDS = /^\/guardian\/(0x[0-9a-f]{64})\/(0x[0-9a-f]{40})(?:\/|$)/i;

/** @typedef {import("./acts.js").Own} Own */
/** @typedef {import("./wallet.js").Signer & {dataset?: string|null}} Signer `dataset`: what a key of this browser is for */

/** @returns {{dataset: string, ward: string|null}} as this page's address says; `ward` of a guardian's page @throws {Refused} other_consent */
export function pageNow() {
  const own = OWN.exec(location.pathname);
  if (own !== null) return { dataset: own[1].toLowerCase(), ward: null };
  const wards = WARDS.exec(location.pathname);
  return wards === null ? otherConsent() : { dataset: wards[1].toLowerCase(), ward: address(wards[2], "account") };
}

/** @param {Own} own the facts of this page @throws {Refused} other_consent where its address names something else */
export function requirePage({ dataset, account, guardian = null }) {
  const page = pageNow();
  const isWhose = page.ward === null ? guardian === null : guardian !== null && account === page.ward;
  if (dataset !== page.dataset || !isWhose) otherConsent();
}

/** Before anything but a revocation is signed. @param {Own} own @param {Signer} who @throws {Refused} other_consent */
export function requireOwn(own, who) {
  requirePage(own);
  const { dataset, account, guardian = null } = own;
  if (who.address !== (guardian ?? account)) otherConsent();
  if (guardian === null && !mayBeIn(who, dataset)) otherConsent();
}

/** Before anything is kept of it. @param {Own} own @throws {Refused} other_consent where somebody else signed in here */
export async function requireKnown(own) {
  requirePage(own);
  const here = await signedInAs();
  if (here !== null && here.account !== (own.guardian ?? own.account)) otherConsent();
}

/** A key that was derived for one dataset signs in no other; a wallet's and a brought one may be in any. */
export function mayBeIn({ dataset = null }, wanted) {
  return dataset === null || dataset === wanted;
}

/**
 * Who signs a revocation or an erasure of what this page is about. Nothing that the site says or leaves unsaid keeps it
 * back: its word counts only where nothing in this browser says who it is.
 * @param {{chainId: number, contracts: object}} market
 * @param {Set<string>} [named] addresses that somebody was told of before and goes on with: a site that says another
 *   one at each press changes nothing any more
 * @returns {Promise<Signer>}
 * @throws {Refused} no_keys, keys_locked, other_account; whatever a wallet refuses
 */
export async function stopSigner(market, named = new Set()) {
  const [page, here] = [pageNow(), await signedInAs()];
  const isByWallet = here === null ? (await keyFile()) === null : here.kind === "wallet";
  if (isByWallet) return walletOf(here?.account ?? null, market.chainId);
  const all = await ownSigners(await openedKeys(), market);
  const may = all.filter((each) => page.ward !== null || mayBeIn(each, page.dataset));
  const derived = page.ward === null ? may.find(({ dataset }) => dataset !== null) : undefined;
  const meant = may.find((each) => each.address === here?.account) ?? derived ?? may.find((each) => named.has(each.address));
  return meant ?? (await bySite(may)) ?? noKey(here);
}

/** Of brought keys, or a guardian's: the one that the site names; where it names none of them, the likeliest. */
async function bySite(may) {
  if (may.length < 2) return may[0];
  const told = await inTime(whoIsSignedIn());
  return may.find((each) => each.address === told?.account) ?? may.find(({ dataset }) => dataset === NO_DATASET) ?? may[0];
}

function noKey(here) {
  const as = here === null ? "" : ` You signed in here as ${here.account}.`;
  const message = `The keys of this browser have no address in this dataset.${as}`;
  return refuse("other_account", message, "Bring the key file that has it, or sign in with the wallet.");
}

/**
 * Before Stop ends anything: whoever presses has seen whose consent it is. A page that shows another one, or keys that
 * lack the address that signed in here, cost one more press, and never hold it back: what was named once is meant.
 * @param {{dataset: string, account: string}} shown by the page
 * @param {{dataset: string, address: string}} ends what these keys would end
 * @param {Signer} who
 * @param {Set<string>} named addresses, by a press before; grows
 * @throws {Refused} not_as_shown
 */
export async function requireMeant({ dataset, account }, ends, who, named) {
  const here = await signedInAs();
  const isShown = dataset === ends.dataset && account === ends.address;
  if ((isShown && who.address === (here?.account ?? who.address)) || named.has(who.address)) return;
  named.add(who.address);
  const page = isShown ? `You signed in here as ${here.account}` : `This page shows the consent of ${quoted(account)} in the dataset ${quoted(dataset)}`;
  const message = `${page}, but your keys here would end the consent of ${ends.address} in the dataset ${ends.dataset}. Nothing was sent.`;
  refuse("not_as_shown", message, "To end that one, press Stop again. To end the other, first sign in with its own key or wallet.");
}

function quoted(text) {
  return shortened(String(text));
}

function otherConsent() {
  const message = "This page is about another consent than its address and your keys are.";
  return refuse("other_consent", message, "Nothing was signed or kept. Open your consent from the page My data. Where this comes again, stop past this site: by the page /stop/.");
}
