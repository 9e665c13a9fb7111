/**
 * Who signs: a key of this browser's own, or a wallet that it was given (EIP-1193). Both are the same to pages:
 *
 *     {address, kind, sign(name, values, domain), signText(text), send({to, data})}
 *
 * What a wallet gives back is checked as strictly as the contracts will check it, before anything is sent.
 */

import { getJson, postJson } from "./ask.js";
import { address } from "./address.js";
import { concat, fromHex, toHex, utf8 } from "./bytes.js";
import { digest, recovered, signed, typedData } from "./eip712.js";
import { keccak } from "./hash.js";
import { localSigner as messageSigner } from "./messages.js";
import { Refused, refuse } from "./refused.js";
import { proposed, signTransaction } from "./tx.js";

const MOST_SIGNATURE = 4_096; // bytes, as the servers take them
const OWN_KEY = 65; // bytes; anything longer is a contract wallet's (ERC-1271), for the chain to judge
const REJECTED = 4_001; // EIP-1193: the person said no
const AGAIN = 1_000; // milliseconds between two looks for a transaction
const ANNOUNCED = 200; // milliseconds for wallets to announce themselves (EIP-6963)

/**
 * @typedef {object} Signer
 * @property {string} address checksummed
 * @property {"local"|"wallet"} kind
 * @property {(name: string, values: object, domain: object) => Promise<Uint8Array>} sign EIP-712
 * @property {(text: string) => Promise<Uint8Array>} signText EIP-191
 * @property {(call: {to: string, data: Uint8Array}, how?: How) => Promise<object|void>} send returns once it is in a
 *   block; a wallet that looks by its own node gives the receipt
 * @property {(at: string) => Promise<string>} [codeAt] of a wallet: the code at an address, by its node
 */

/**
 * @typedef {object} How
 * @property {(signed: {hash: string}) => Promise<void>} [signed] hears of it: of a key's before anybody else has it
 */

/** @param {string} text @returns {Uint8Array} what EIP-191 (version 0x45, personal messages) has one sign */
export function textDigest(text) {
  const raw = utf8(text);
  return keccak(concat(utf8(`\x19Ethereum Signed Message:\n${raw.length}`), raw));
}

/**
 * @param {Uint8Array} key 32 bytes
 * @param {number|null} [chainId] of the market; without it, nothing is sent to a chain
 * @returns {Signer}
 * @throws {Refused} key_file
 */
export function localSigner(key, chainId = null) {
  const own = key.slice();
  return {
    ...messageSigner(own),
    kind: "local",
    signText: async (text) => signed(textDigest(text), own),
    send: (call, how) => sendSigned(own, call, chainId, how),
  };
}

/** Through this operator, which proposes number, gas and fees; it can neither change nor forge what it carries. */
async function sendSigned(key, { to, data }, chainId, { signed: heard = unheard } = {}) {
  const way = proposed(await postJson("/transactions/ways", { to, data: toHex(data) }), chainId);
  const { raw, hash } = signTransaction({ ...way, to, data }, key);
  await heard({ hash: toHex(hash) });
  await postJson("/transactions", { raw: toHex(raw) });
  await settled(toHex(hash));
}

async function unheard() {}

/** Until it is in a block. @throws {Refused} why it failed, or unknown_transaction */
async function settled(hash) {
  for (;;) {
    const { state, reason } = await getJson(`/transactions/${hash}`);
    if (state === "done") return;
    if (state === "failed") throw new Refused(reason);
    await new Promise((done) => setTimeout(done, AGAIN));
  }
}

/**
 * @param {object} provider EIP-1193
 * @param {number} chainId of the market
 * @param {{byOwnNode?: boolean}} [options] whether what was sent is looked for by the wallet's node, not this operator's
 * @returns {Promise<Signer>} of the account that the person chooses
 * @throws {Refused} wallet_declined, wallet_fault, wrong_chain
 */
export async function walletSigner(provider, chainId, { byOwnNode = false } = {}) {
  const [first] = await asked(provider, "eth_requestAccounts", []);
  const account = address(first, "account");
  await requireChain(provider, chainId);
  return {
    address: account,
    kind: "wallet",
    signText: async (text) => {
      const given = await asked(provider, "personal_sign", [toHex(utf8(text)), account]);
      return checkedSignature(given, textDigest(text), account);
    },
    sign: async (name, values, domain) => {
      await requireChain(provider, chainId);
      const document = JSON.stringify(typedData(name, values, domain));
      const given = await asked(provider, "eth_signTypedData_v4", [account, document]);
      return checkedSignature(given, digest(name, values, domain), account);
    },
    send: async ({ to, data }, { signed: heard = unheard } = {}) => {
      await requireChain(provider, chainId);
      const call = { from: account, to, data: toHex(data) };
      const hash = await asked(provider, "eth_sendTransaction", [call]);
      await heard({ hash });
      return byOwnNode ? settledBy(provider, hash) : settled(hash);
    },
    codeAt: (at) => asked(provider, "eth_getCode", [at, "latest"]),
  };
}

/** The same by the wallet's own node (EIP-1474): its receipt. @throws {Refused} transaction_failed, wallet_fault */
async function settledBy(provider, hash) {
  for (;;) {
    const receipt = await asked(provider, "eth_getTransactionReceipt", [hash]);
    if (receipt) return doneBy(receipt);
    await new Promise((done) => setTimeout(done, AGAIN));
  }
}

function doneBy(receipt) {
  if (Number(receipt.status) === 1) return receipt;
  const message = "The contract refused the wallet's transaction, and nothing has changed.";
  return refuse("transaction_failed", message, "Look in the wallet why, or take another way.");
}

async function requireChain(provider, chainId) {
  const at = Number(await asked(provider, "eth_chainId", []));
  if (at === chainId) return;
  const message = `The wallet is on chain ${at}; this market is on chain ${chainId}.`;
  refuse("wrong_chain", message, `Switch the wallet to chain ${chainId}, then try again.`);
}

/** A wallet of one key must have signed just this with just this account; 0 and 1 for 27 and 28 are mended. */
function checkedSignature(given, hash, account) {
  const raw = mended(fromHex(given, "signature", MOST_SIGNATURE));
  if (raw.length === OWN_KEY && recovered(hash, raw) !== account) {
    const message = "The wallet signed with another account, or something else than what it was given.";
    refuse("bad_signature", message, `Choose ${account} in the wallet and try again.`, "signature");
  }
  return raw;
}

function mended(raw) {
  return raw.length === OWN_KEY && raw[64] < 2 ? concat(raw.slice(0, 64), Uint8Array.of(27 + raw[64])) : raw;
}

async function asked(provider, method, params) {
  try {
    return await provider.request({ method, params });
  } catch (error) {
    throw error?.code === REJECTED ? declined() : faulty(error);
  }
}

function declined() {
  const message = "The wallet was told not to sign, so nothing was done.";
  return new Refused({ code: "wallet_declined", message, remedy: "Try again, and confirm it in the wallet." });
}

/** By its code alone: a wallet's text may quote what was being signed. */
function faulty(error) {
  const code = Number.isInteger(error?.code) ? ` (code ${error.code})` : "";
  const message = `The wallet could not do that${code}.`;
  return new Refused({ code: "wallet_fault", message, remedy: "Look at the wallet: it may wait for you, or be locked." });
}

/** @returns {Promise<Array<{name: string, provider: object}>>} wallets of this browser (EIP-6963, EIP-1193) */
export async function wallets() {
  const found = new Map();
  const hear = ({ detail }) => found.set(detail.provider, String(detail.info?.name ?? "Wallet"));
  window.addEventListener("eip6963:announceProvider", hear);
  window.dispatchEvent(new Event("eip6963:requestProvider"));
  await new Promise((done) => setTimeout(done, ANNOUNCED));
  window.removeEventListener("eip6963:announceProvider", hear);
  if (window.ethereum && !found.has(window.ethereum)) found.set(window.ethereum, "Wallet of this browser");
  return Array.from(found, ([provider, name]) => ({ name, provider }));
}
