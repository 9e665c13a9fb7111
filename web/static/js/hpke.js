/**
 * Envelopes to one X25519 key: HPKE base mode (RFC 9180) on WebCrypto.
 *
 * Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. Every envelope is bound to its purpose by
 * `info`; the associated data stays empty. Envelope = encapsulated key (32) || ciphertext.
 */

import { concat, randomBytes, utf8 } from "./bytes.js";
import { badParameter, refuse } from "./refused.js";

export const KEY_BYTES = 32;
export const OVERHEAD = KEY_BYTES + 16; // encapsulated key and GCM tag
const KEM = Uint8Array.of(0x4b, 0x45, 0x4d, 0x00, 0x20); // "KEM", DHKEM(X25519, HKDF-SHA256)
const SUITE = Uint8Array.of(0x48, 0x50, 0x4b, 0x45, 0x00, 0x20, 0x00, 0x01, 0x00, 0x02); // "HPKE", the three ids
const PKCS8 = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20); // RFC 8410
const BASE_POINT = Uint8Array.of(9, ...new Uint8Array(31));
const NONE = new Uint8Array(0);

/** An X25519 private key that does not print. */
export class SecretKey {
  #raw;

  /** @param {Uint8Array} raw 32 bytes @throws {Refused} bad_parameter */
  constructor(raw) {
    requireKey(raw, "secret_key");
    this.#raw = raw.slice();
  }

  /** @returns {SecretKey} a fresh one */
  static generate() {
    return new SecretKey(randomBytes(KEY_BYTES));
  }

  /** @returns {Uint8Array} the secret itself, for a key file alone */
  raw() {
    return this.#raw.slice();
  }

  /** @returns {Promise<Uint8Array>} 32 bytes */
  publicKey() {
    return this.exchange(BASE_POINT);
  }

  /**
   * @param {Uint8Array} info names what it is for; another purpose gets other bytes, which tell nothing of each other
   * @param {number} length
   * @returns {Promise<Uint8Array>} HKDF-SHA256 of the key with an empty salt (RFC 5869)
   */
  async derived(info, length) {
    const material = await crypto.subtle.importKey("raw", this.#raw, "HKDF", false, ["deriveBits"]);
    const way = { name: "HKDF", hash: "SHA-256", salt: NONE, info };
    return new Uint8Array(await crypto.subtle.deriveBits(way, material, 8 * length));
  }

  /**
   * @param {Uint8Array} publicKey 32 bytes
   * @returns {Promise<Uint8Array>} the shared 32 bytes
   * @throws {DOMException} for a point of low order
   */
  async exchange(publicKey) {
    const [own, other] = await Promise.all([
      crypto.subtle.importKey("pkcs8", concat(PKCS8, this.#raw), "X25519", false, ["deriveBits"]),
      crypto.subtle.importKey("raw", publicKey, "X25519", false, []),
    ]);
    const shared = new Uint8Array(
      await crypto.subtle.deriveBits({ name: "X25519", public: other }, own, 8 * KEY_BYTES),
    );
    // RFC 9180, 7.1.4. WebCrypto refuses it by itself; this holds for one that does not.
    if (shared.every((byte) => byte === 0)) throw new DOMException("low order", "OperationError");
    return shared;
  }
}

/**
 * To be asked before a page lets anybody begin: older browsers have no X25519 in WebCrypto.
 * @returns {Promise<void>}
 * @throws {Refused} browser_too_old
 */
export async function requireSupport() {
  try {
    await SecretKey.generate().publicKey();
  } catch {
    const message = "This browser cannot seal or open records: its WebCrypto has no X25519.";
    const remedy = "Use Chrome, Edge or Chromium from version 133 on, or a current Firefox or Safari.";
    refuse("browser_too_old", message, remedy);
  }
}

/**
 * @param {Uint8Array} plaintext
 * @param {Uint8Array} publicKey of who may open it, 32 bytes
 * @param {Uint8Array} info the purpose; needed again to open
 * @returns {Promise<Uint8Array>} the envelope
 * @throws {Refused} bad_parameter for a key of the wrong length or of low order
 */
export function seal(plaintext, publicKey, info) {
  return sealWith(SecretKey.generate(), plaintext, publicKey, info);
}

/**
 * As `seal`, with a given ephemeral key: for vectors. Never use one for two envelopes.
 * @param {SecretKey} ephemeral
 */
export async function sealWith(ephemeral, plaintext, publicKey, info) {
  requireKey(publicKey, "public_key");
  const enc = await ephemeral.publicKey();
  const shared = await ephemeral.exchange(publicKey).catch(lowOrder);
  const { key, nonce } = await schedule(shared, enc, publicKey, info);
  const boxed = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce }, key, plaintext);
  return concat(enc, new Uint8Array(boxed));
}

/**
 * @param {Uint8Array} envelope
 * @param {SecretKey} secret
 * @param {Uint8Array} info
 * @returns {Promise<Uint8Array>} the plaintext
 * @throws {Refused} envelope_unreadable for another key, another `info` or changed bytes
 */
export async function open(envelope, secret, info) {
  const enc = envelope.slice(0, KEY_BYTES);
  try {
    const shared = await secret.exchange(enc);
    const { key, nonce } = await schedule(shared, enc, await secret.publicKey(), info);
    const box = envelope.slice(KEY_BYTES);
    return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv: nonce }, key, box));
  } catch {
    const message = "The envelope does not open with this key for this purpose.";
    const remedy = "Ask its sender to seal it again, to the current key and for this context.";
    return refuse("envelope_unreadable", message, remedy, "envelope");
  }
}

/** RFC 9180, 4.1 (ExtractAndExpand) and 5.1 (KeySchedule), base mode. */
async function schedule(dh, enc, publicKey, info) {
  const eae = await extract(KEM, NONE, "eae_prk", dh);
  const shared = await expand(KEM, eae, "shared_secret", concat(enc, publicKey), 32);
  const context = concat(
    Uint8Array.of(0), // mode_base
    await extract(SUITE, NONE, "psk_id_hash", NONE),
    await extract(SUITE, NONE, "info_hash", info),
  );
  const secret = await extract(SUITE, shared, "secret", NONE);
  const raw = await expand(SUITE, secret, "key", context, 32);
  const key = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]);
  return { key, nonce: await expand(SUITE, secret, "base_nonce", context, 12) };
}

function extract(suite, salt, label, ikm) {
  const key = salt.length === 0 ? new Uint8Array(32) : salt; // RFC 5869: no salt is as many zeros
  return hmac(key, concat(utf8("HPKE-v1"), suite, utf8(label), ikm));
}

/** One block of HKDF-Expand is enough: nothing here is longer than 32 bytes. */
async function expand(suite, prk, label, info, length) {
  const labeled = concat(Uint8Array.of(0, length), utf8("HPKE-v1"), suite, utf8(label), info);
  return (await hmac(prk, concat(labeled, Uint8Array.of(1)))).slice(0, length);
}

async function hmac(raw, data) {
  const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, data));
}

function lowOrder() {
  const message = "public_key is a low-order point: a shared key with it is not secret.";
  const remedy = "Publish a public key made by an X25519 library.";
  return refuse("bad_parameter", message, remedy, "public_key");
}

function requireKey(raw, name) {
  if (raw.length === KEY_BYTES) return;
  badParameter(name, `has ${raw.length} bytes`, `Give an X25519 key of ${KEY_BYTES} bytes.`);
}
