/**
 * Keys that stay unlocked from page to page, and the account that is signed in.
 *
 * A page that is left takes everything in its memory along. So the unlocked keyring lies in this tab's
 * sessionStorage, encrypted under 32 random bytes that only the session on the server has: neither a copied
 * profile nor a copied database opens it, and signing out, a closed tab or 15 idle minutes end it.
 */

import { NO_DATASET, accountsOf } from "./accounts.js";
import { getJson, postJson } from "./ask.js";
import { bytes32, fromBase64, fromHex, toBase64, toHex, utf8 } from "./bytes.js";
import { keepKeyFile, keyFile } from "./keystore.js";
import { lock, unlock } from "./keyfile.js";
import { readKeyring, toBytes } from "./keyring.js";
import { unlockedInDialog } from "./passphrase.js";
import { deployment, knownMarket, signedFor } from "./pin.js";
import { Refused, refuse } from "./refused.js";
import { checkedText } from "./siwe.js";
import { localSigner, walletSigner, wallets } from "./wallet.js";

export { NO_DATASET, accountsOf, deployment, knownMarket };

const TAB = "unlocked keys";
const BY_WALLET = "signed in by wallet";
const IDLE = 15 * 60_000; // milliseconds
const NONCE_BYTES = 12;
const CONTEXT = utf8("usufruct/unlocked/1");

/** @typedef {import("./keyring.js").Keyring} Keyring */
/** @typedef {import("./keys.js").Place} Place */

let channel = null;

/** @param {string} dataset 0x.. @returns {Promise<Place>} where keys of this dataset belong */
export async function placeOf(dataset) {
  const { chainId, contracts } = await knownMarket();
  return { chainId, registry: contracts.DatasetRegistry, dataset: bytes32(dataset, "dataset") };
}

// --- the keyring

/** @returns {Promise<Keyring|null>} the unlocked keys of this tab; null where they are locked, or where nobody can tell now */
export async function unlocked() {
  try {
    return await opened();
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

/** The same, but raises where nobody can tell: a server that is busy or away has locked nothing. */
async function opened() {
  const kept = keptBox();
  if (kept === null || Date.now() - kept.at > IDLE) return forgetUnlocked();
  const key = await halfOrNone();
  if (key === null) return forgetUnlocked();
  try {
    const plaintext = await crypto.subtle.decrypt(parameters(kept.nonce), key, kept.box);
    const keyring = readKeyring(new Uint8Array(plaintext));
    keepBox(kept.nonce, kept.box);
    return keyring;
  } catch {
    return forgetUnlocked(); // another session's half
  }
}

function keptBox() {
  try {
    const { at, nonce, box } = JSON.parse(sessionStorage.getItem(TAB));
    return { at, nonce: fromBase64(nonce, "nonce"), box: fromBase64(box, "box") };
  } catch {
    return null; // there is none, or none that could be read
  }
}

function keepBox(nonce, box) {
  sessionStorage.setItem(TAB, JSON.stringify({ at: Date.now(), nonce: toBase64(nonce), box: toBase64(box) }));
}

async function halfOrNone() {
  try {
    return await half();
  } catch (error) {
    if (error.code === "not_signed_in") return null;
    throw error;
  }
}

/** @param {Keyring} keyring stays unlocked in this tab, for the session that is signed in now */
export async function stayUnlocked(keyring) {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const box = await crypto.subtle.encrypt(parameters(nonce), await half(), toBytes(keyring));
  keepBox(nonce, new Uint8Array(box));
}

/** Locks this tab's keys. */
export function forgetUnlocked() {
  sessionStorage.removeItem(TAB);
  return null;
}

async function half() {
  const { half: raw } = await getJson("/session/half");
  return crypto.subtle.importKey("raw", fromHex(`0x${raw.replace(/^0x/, "")}`, "half"), "AES-GCM", false, ["encrypt", "decrypt"]);
}

function parameters(nonce) {
  return { name: "AES-GCM", iv: nonce, additionalData: CONTEXT };
}

/**
 * The unlocked keys; where they are locked, asks for the passphrase in a dialog of this page.
 * @returns {Promise<Keyring>}
 * @throws {Refused} no_keys, keys_locked; too_often, busy, unreachable: whether they are locked cannot be told now
 */
export async function requireUnlocked() {
  return (await opened()) ?? askForPassphrase();
}

async function askForPassphrase() {
  const file = await keyFile();
  if (file === null) {
    const message = "This browser has no keys.";
    refuse("no_keys", message, "Make keys, or bring a saved key file here, on the page Keys.");
  }
  return unlockedInDialog(async (passphrase) => {
    const keyring = await unlock(file, passphrase);
    await stayUnlocked(keyring);
    return keyring;
  });
}

/**
 * Changes the key file, which takes the passphrase, and keeps the changed keys unlocked.
 * @param {(keyring: Keyring) => Keyring} change
 * @param {string} passphrase
 * @returns {Promise<Keyring>}
 * @throws {Refused} wrong_passphrase, no_keys
 */
export async function changeKeys(change, passphrase) {
  const file = await keyFile();
  if (file === null) refuse("no_keys", "This browser has no keys.", "Make keys on the page Keys.");
  const changed = change(await unlock(file, passphrase));
  await keepKeyFile(await lock(changed, passphrase));
  return changed;
}

// --- who is signed in

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
 * @param {{chainId: number, contracts: object}|null} [held] of a revocation: this, whatever is told now
 * @returns {Promise<import("./wallet.js").Signer>}
 * @throws {Refused} not_signed_in, keys_locked, no_keys, other_account, market_changed
 */
export async function signer(held = null) {
  const { account } = await getJson("/session");
  const market = held ?? (await signedFor());
  if (sessionStorage.getItem(BY_WALLET) === account) return walletOf(account, market.chainId);
  const accounts = await accountsOf(await requireUnlocked(), market, { earlier: true });
  const found = accounts.map(({ key }) => localSigner(key, market.chainId)).find(({ address }) => address === account);
  return found ?? otherAccount(account);
}

async function walletOf(account, chainId) {
  for (const { provider } of await wallets()) {
    const found = await walletSigner(provider, chainId);
    if (found.address === account) return found;
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
  if (who.kind === "wallet") sessionStorage.setItem(BY_WALLET, done.account);
  else sessionStorage.removeItem(BY_WALLET);
  return done.next;
}

/** Signs out on the server and in every tab; what was typed or unlocked here is forgotten. */
export async function signOut() {
  sessionStorage.clear();
  const next = await endSession();
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
