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
 * @returns {Promise<Signer>}
 * @throws {Refused} no_keys, keys_locked, other_account; whatever a wallet refuses
 */
export async function stopSigner(market) {
  const [page, here] = [pageNow(), await signedInAs()];
  const isByWallet = here === null ? (await keyFile()) === null : here.kind === "wallet";
  if (isByWallet) return walletOf(here?.account ?? null, market.chainId);
  const all = await ownSigners(await openedKeys(), market);
  const may = all.filter((each) => page.ward !== null || mayBeIn(each, page.dataset));
  const derived = page.ward === null ? may.find(({ dataset }) => dataset !== null) : undefined;
  return may.find((each) => each.address === here?.account) ?? derived ?? bySite(may);
}

/** Of brought keys, or a guardian's: the one that the site names; where it names none of them, the likeliest. */
async function bySite(may) {
  const told = await inTime(whoIsSignedIn());
  const found = may.find((each) => each.address === told?.account) ?? may.find(({ dataset }) => dataset === NO_DATASET) ?? may[0];
  if (found !== undefined) return found;
  const message = "The keys of this browser have no address in this dataset.";
  return refuse("other_account", message, "Bring the key file that has it, or sign in with the wallet.");
}

function otherConsent() {
  const message = "This page is about another consent than its address and your keys are.";
  return refuse("other_consent", message, "Nothing was signed or kept. Open your consent from the page My data. Where this comes again, stop past this site: by the page /stop/.");
}
