/**
 * Keys that stay unlocked from page to page.
 *
 * A page that is left takes everything in its memory along. So the unlocked keyring lies in this tab's
 * sessionStorage, encrypted under 32 random bytes that only the session on the server has: neither a copied
 * profile nor a copied database opens it, and signing out, a closed tab or 15 idle minutes end it.
 */

import { getJson, inTime } from "./ask.js";
import { fromBase64, fromHex, toBase64, utf8 } from "./bytes.js";
import { keepKeyFile, keyFile } from "./keystore.js";
import { lock, unlock } from "./keyfile.js";
import { readKeyring, toBytes } from "./keyring.js";
import { unlockedInDialog } from "./passphrase.js";
import { Refused, refuse } from "./refused.js";

const TAB = "unlocked keys";
const IDLE = 15 * 60_000; // milliseconds
const NONCE_BYTES = 12;
const CONTEXT = utf8("usufruct/unlocked/1");

/** @typedef {import("./keyring.js").Keyring} Keyring */

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
  const raw = (await getJson("/session/half"))?.half;
  if (typeof raw !== "string" || !/^(?:0x)?[0-9a-f]{64}$/.test(raw)) {
    refuse("not_understood", "The server's answer is none that opens these keys.", "Type your passphrase, or sign in again.");
  }
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

/**
 * The same whatever the server answers, or does not: for what nothing may hold up.
 * @returns {Promise<Keyring>}
 * @throws {Refused} no_keys, keys_locked
 */
export async function openedKeys() {
  return (await inTime(unlocked())) ?? askForPassphrase();
}

async function askForPassphrase() {
  const file = await keyFile();
  if (file === null) {
    const message = "This browser has no keys.";
    refuse("no_keys", message, "Make keys, or bring a saved key file here, on the page Keys.");
  }
  return unlockedInDialog(async (passphrase) => {
    const keyring = await unlock(file, passphrase);
    stayUnlocked(keyring).catch(() => {}); // where the server has no half to give, it is typed again
    return keyring;
  });
}

/**
 * Changes the key file, which takes the passphrase, and keeps the changed keys unlocked.
 * @param {(keyring: Keyring) => Keyring|Promise<Keyring>} change
 * @param {string} passphrase
 * @returns {Promise<Keyring>}
 * @throws {Refused} wrong_passphrase, no_keys
 */
export async function changeKeys(change, passphrase) {
  const file = await keyFile();
  if (file === null) refuse("no_keys", "This browser has no keys.", "Make keys on the page Keys.");
  const changed = await change(await unlock(file, passphrase));
  await keepKeyFile(await lock(changed, passphrase));
  return changed;
}
