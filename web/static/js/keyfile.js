/**
 * The file that keeps a browser's root under a passphrase (usufruct-keys/1): Argon2id and AES-256-GCM. The
 * format is described in `wire.browser_keyfile`, its counterpart.
 *
 * A file from a stranger is refused before anything is computed if it asks for more work than a phone can do,
 * or for less than this format ever wrote.
 */

import { argon2idAsync } from "../vendor/noble-hashes-2.4.0/argon2.js";
import { fromBase64, randomBytes, toBase64, toHex, utf8 } from "./bytes.js";
import { canonical } from "./canonical.js";
import { LARGEST_KEYRING, canonicalObject, exactly, readKeyring, reading, requireKeys } from "./keyring.js";
import { requireText, toBytes, unreadable, within } from "./keyring.js";
import { refuse } from "./refused.js";

export const SCHEMA = "usufruct-keys/1";
const CIPHER = "AES-256-GCM";
const KDF = "argon2id";
/** RFC 9106's second choice, 64 MiB and 3 passes, in one lane for browsers' one thread. */
export const MEMORY_KIB = 64 * 1024;
export const PASSES = 3;
const LANES = 1;
const MOST_MEMORY_KIB = 1024 * 1024;
const MOST_PASSES = 10;
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const LARGEST_FILE = 256 * 1024;
const LARGEST_BOX = LARGEST_KEYRING + TAG_BYTES;
const MOST_HINT = 80; // characters
export const FEWEST_CHARACTERS = 12;
const FEWEST_DIFFERENT = 6;
const MOST_PASSPHRASE = 1_024; // bytes of UTF-8
const CONTROL = /[\p{Cc}\p{Cs}]/u;

/** @typedef {{salt: Uint8Array, nonce: Uint8Array, hint: string, memoryKib: number, passes: number}} Header */
/** @typedef {(passphrase: string, header: Header) => Promise<Uint8Array>} Stretch the key, 32 bytes */

/**
 * @param {import("./keyring.js").Keyring} keyring
 * @param {string} passphrase
 * @param {string} [hint] can be read by whoever has the file, and is bound to it
 * @param {{salt?: Uint8Array, nonce?: Uint8Array, stretch?: Stretch}} [drawn] for vectors
 * @returns {Promise<Uint8Array>} the file: canonical JSON
 * @throws {Refused} weak_passphrase, keys_unreadable (what could not be read back)
 */
export async function lock(keyring, passphrase, hint = "", drawn = {}) {
  requireStrong(passphrase);
  requireText(hint, MOST_HINT, "hint");
  const { salt = randomBytes(SALT_BYTES), nonce = randomBytes(NONCE_BYTES), stretch = stretched } = drawn;
  const header = { salt, nonce, hint, memoryKib: MEMORY_KIB, passes: PASSES };
  const plaintext = toBytes(keyring);
  readKeyring(plaintext);
  const key = await cipherKey(passphrase, header, stretch);
  const box = new Uint8Array(await crypto.subtle.encrypt(cipherOf(header), key, plaintext));
  return canonical({ ...headerJson(header), box: toBase64(box) });
}

/**
 * @param {Uint8Array} document
 * @param {string} passphrase
 * @param {Stretch} [stretch] for vectors
 * @returns {Promise<import("./keyring.js").Keyring>} takes 64 MiB and about a second, at most 1 GiB
 * @throws {Refused} keys_unreadable (nothing was computed), wrong_passphrase, weak_passphrase
 */
export async function unlock(document, passphrase, stretch = stretched) {
  if (passphrase === "") wrong("There is no passphrase.", "Type your passphrase.");
  const { header, box } = readFile(document);
  const key = await cipherKey(passphrase, header, stretch);
  return readKeyring(await decrypted(header, key, box));
}

/**
 * The same of a file that somebody chose: that one may be another than it was.
 * @param {Uint8Array} document
 * @param {string} passphrase
 * @returns {Promise<import("./keyring.js").Keyring>}
 * @throws {Refused} as `unlock`
 */
export async function unlockFile(document, passphrase) {
  try {
    return await unlock(document, passphrase);
  } catch (error) {
    if (error.code !== "wrong_passphrase" || passphrase === "") throw error;
    return wrong("Wrong passphrase, or the file was changed.", "Type it as it was set, or take an earlier copy of the file.");
  }
}

/** @param {Uint8Array} document @returns {string} its hint @throws {Refused} keys_unreadable */
export function hintOf(document) {
  return readFile(document).header.hint;
}

/** At least 12 characters after NFKC, six of them different. @throws {Refused} weak_passphrase */
export function requireStrong(/** @type {string} */ passphrase) {
  const characters = Array.from(normalised(passphrase));
  if (characters.length >= FEWEST_CHARACTERS && new Set(characters).size >= FEWEST_DIFFERENT) return;
  const few = `fewer than ${FEWEST_CHARACTERS} characters, or fewer than ${FEWEST_DIFFERENT} different ones`;
  weak(`The passphrase has ${few}.`, "Take five words or more that have nothing to do with each other.");
}

/** Argon2id (RFC 9106, version 0x13), in steps that leave the page alive. @type {Stretch} */
export async function stretched(passphrase, { salt, memoryKib, passes }) {
  const cost = { m: memoryKib, t: passes, p: LANES, dkLen: 32 };
  try {
    return await argon2idAsync(utf8(normalised(passphrase)), salt, cost);
  } catch (fault) {
    if (!(fault instanceof RangeError)) throw fault; // an allocation that failed
    return unreadable("kdf.memory_kib", "asks for more memory than there is");
  }
}

async function cipherKey(passphrase, header, stretch) {
  const raw = await stretch(passphrase, header);
  return crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]);
}

async function decrypted(header, key, box) {
  try {
    return new Uint8Array(await crypto.subtle.decrypt(cipherOf(header), key, box));
  } catch {
    return wrong("Wrong passphrase.", "Type the one that you chose for your keys in this browser.");
  }
}

function wrong(message, remedy) {
  return refuse("wrong_passphrase", message, remedy, "passphrase");
}

function cipherOf(header) {
  return { name: "AES-GCM", iv: header.nonce, additionalData: canonical(headerJson(header)) };
}

function headerJson({ salt, nonce, hint, memoryKib, passes }) {
  const kdf = { lanes: LANES, memory_kib: memoryKib, name: KDF, passes, salt: toHex(salt) };
  return { cipher: CIPHER, hint, kdf, nonce: toHex(nonce), schema: SCHEMA };
}

function readFile(document) {
  const whole = canonicalObject(document, LARGEST_FILE, "$");
  if (whole.schema !== SCHEMA) return unreadable("schema", `is not ${SCHEMA}`);
  requireKeys(whole, ["box", "cipher", "hint", "kdf", "nonce", "schema"], "$");
  if (whole.cipher !== CIPHER) return unreadable("cipher", `is not ${CIPHER}`);
  const header = readHeader(whole, readKdf(whole.kdf));
  const box = reading("box", () => fromBase64(whole.box, "box", LARGEST_BOX));
  return box.length > TAG_BYTES ? { header, box } : unreadable("box", "is too short");
}

function readKdf(kdf) {
  requireKeys(kdf, ["lanes", "memory_kib", "name", "passes", "salt"], "kdf");
  if (kdf.name !== KDF) return unreadable("kdf.name", `is not ${KDF}`);
  within(kdf.lanes, LANES, LANES, "kdf.lanes");
  return kdf;
}

function readHeader({ hint, nonce }, kdf) {
  requireText(hint, MOST_HINT, "hint");
  return {
    salt: exactly(kdf.salt, SALT_BYTES, "kdf.salt"),
    nonce: exactly(nonce, NONCE_BYTES, "nonce"),
    hint,
    memoryKib: within(kdf.memory_kib, MEMORY_KIB, MOST_MEMORY_KIB, "kdf.memory_kib"),
    passes: within(kdf.passes, PASSES, MOST_PASSES, "kdf.passes"),
  };
}

/** NFKC; nothing is cut off, so what cannot be seen at its ends is refused. */
function normalised(passphrase) {
  const text = passphrase.normalize("NFKC");
  if (CONTROL.test(text)) weak("The passphrase holds a control character.", "Type it without tabs and line ends.");
  if (/^ | $/.test(text)) weak("The passphrase begins or ends with a space.", "Leave that space out.");
  if (utf8(text).length > MOST_PASSPHRASE) {
    weak(`The passphrase has more than ${MOST_PASSPHRASE} bytes.`, "Take a shorter one.");
  }
  return text;
}

function weak(message, remedy) {
  return refuse("weak_passphrase", message, remedy, "passphrase");
}
