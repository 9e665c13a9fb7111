/** The account that is signed in, and what signs for it. */

import { NO_DATASET, accountsOf } from "./accounts.js";
import { getJson, postJson } from "./ask.js";
import { bytes32, toHex } from "./bytes.js";
import { forgetSignedIn, keepSignedIn } from "./keystore.js";
import { deployment, knownMarket, signedFor } from "./pin.js";
import { forgetStudies } from "./rested.js";
import { refuse } from "./refused.js";
import { checkedText } from "./siwe.js";
import { changeKeys, forgetUnlocked, requireUnlocked, stayUnlocked, unlocked } from "./unlocked.js";
import { localSigner, walletSigner, wallets } from "./wallet.js";

export { NO_DATASET, accountsOf, changeKeys, deployment, forgetUnlocked, knownMarket, requireUnlocked, stayUnlocked, unlocked };

const BY_WALLET = "signed in by wallet";

/** @typedef {import("./keys.js").Place} Place */

let channel = null;

/** @param {string} dataset 0x.. @returns {Promise<Place>} where keys of this dataset belong */
export async function placeOf(dataset) {
  const { chainId, contracts } = await knownMarket();
  return { chainId, registry: contracts.DatasetRegistry, dataset: bytes32(dataset, "dataset") };
}

/** @returns {Promise<{account: string, expires_at: number}|null>} */
export async function whoIsSignedIn() {
  try {
    return await getJson("/session");
  } catch (refused) {
    if (refused.code === "not_signed_in") return null;
    throw refused;
  }
}

/**
 * What signs for the account that is signed in.
 * @returns {Promise<import("./wallet.js").Signer>}
 * @throws {Refused} not_signed_in, keys_locked, no_keys, other_account, market_changed
 */
export async function signer() {
  const { account } = await getJson("/session");
  const market = await signedFor();
  if (sessionStorage.getItem(BY_WALLET) === account) return walletOf(account, market.chainId);
  const found = (await ownSigners(await requireUnlocked(), market)).find(({ address }) => address === account);
  return found ?? otherAccount(account);
}

/**
 * @param {import("./keyring.js").Keyring} keyring
 * @param {{chainId: number, contracts: object}} market
 * @returns {Promise<Array<import("./wallet.js").Signer & {dataset: string|null}>>} one an account, each with the
 *   dataset that its key is for; null for a key that was brought
 */
export async function ownSigners(keyring, market) {
  const accounts = await accountsOf(keyring, market);
  return accounts.map(({ key, dataset }) => ({ ...localSigner(key, market.chainId), dataset }));
}

/**
 * @param {string|null} account null: whichever the wallet gives
 * @param {number} chainId
 * @returns {Promise<import("./wallet.js").Signer>}
 * @throws {Refused} other_account; whatever the wallet refuses
 */
export async function walletOf(account, chainId) {
  for (const { provider } of await wallets()) {
    const found = await walletSigner(provider, chainId);
    if (found.address === (account ?? found.address)) return found;
  }
  return otherAccount(account);
}

function otherAccount(account) {
  const message = `Neither your keys nor a wallet of this browser sign for ${account}, which is signed in.`;
  return refuse("other_account", message, "Choose that account in the wallet, or sign in with another.");
}

/**
 * Signs in: one text of this server's, which is read before it is signed.
 * @param {import("./wallet.js").Signer} who
 * @param {string} next the page to go to
 * @returns {Promise<string>} the path of that page
 * @throws {Refused}
 */
export async function signIn(who, next) {
  const { nonce, text } = await postJson("/challenge", { address: who.address });
  const { chainId } = await knownMarket();
  const asked = { origin: location.origin, account: who.address, chainId, nonce, now: Date.now() / 1_000 };
  const signature = toHex(await who.signText(checkedText(text, asked)));
  const done = await postJson("/sign-in", { nonce, signature, next });
  await keepSignedIn({ account: who.address, kind: who.kind });
  if (who.kind === "wallet") sessionStorage.setItem(BY_WALLET, done.account);
  else sessionStorage.removeItem(BY_WALLET);
  return done.next;
}

/**
 * Signs out on the server and in every tab; what was typed or unlocked here is forgotten, whatever the server says.
 * Who signed in is forgotten last: while the session goes on, pages show that account, and Stop here has to mean it.
 * @throws {Refused} where the session may go on
 */
export async function signOut() {
  const byWallet = sessionStorage.getItem(BY_WALLET);
  sessionStorage.clear();
  if (byWallet !== null) sessionStorage.setItem(BY_WALLET, byWallet);
  forgetStudies();
  const next = await endSession();
  sessionStorage.clear();
  await forgetSignedIn().catch(() => {});
  otherTabs().postMessage(null);
  location.replace(next);
}

/** One channel a page: what is said on it is not heard by itself. */
function otherTabs() {
  channel ??= new BroadcastChannel("usufruct signed out");
  return channel;
}

/** A page that is older than the session has another's token: then a new one is asked for, once. */
async function endSession() {
  try {
    return (await postJson("/sign-out", {})).next;
  } catch (refused) {
    if (refused.code !== "not_from_here") throw refused;
  }
  try {
    const { csrf } = await getJson("/session");
    return (await postJson("/sign-out", {}, csrf)).next;
  } catch (refused) {
    if (refused.code === "not_signed_in") return "/";
    throw refused;
  }
}

/** What a page of somebody signed in shows and keeps goes when another tab signs out, or when it comes back later. */
export function leaveWithOthers() {
  otherTabs().addEventListener("message", () => {
    sessionStorage.clear();
    location.replace(location.pathname + location.search); // unlike a reload, this brings back nothing that was typed
  });
  addEventListener("pageshow", ({ persisted }) => {
    if (persisted) location.reload();
  });
}
