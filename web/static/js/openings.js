/**
 * Openings of requests that were signed and handed over. Whoever has one can have it mined, whatever is said of it: so
 * until one is in a block, or none can be used any more, the next one is signed in its place. At most one of them is paid.
 */

import { getJson } from "./ask.js";
import { forgetOpenings, keepOpenings, openingsOf } from "./keystore.js";
import { Refused, refuse } from "./refused.js";

const SLACK = 600; // seconds by which this computer's clock and a block's may differ
const MOST = 64; // hashes that are kept

/**
 * @typedef {object} Waiting
 * @property {string|null} nonce of the account's transaction; null of a wallet, which counts by itself
 * @property {string} permit the token's own number of what was signed for it: it, too, can be used once
 * @property {number} until unix seconds of chain time, after which the market takes none of them
 * @property {string[]} hashes
 */

/**
 * What this account signed before and what may still be mined.
 * @param {string} account
 * @returns {Promise<Waiting|null>}
 * @throws {Refused} opened_before: one is in a block, which nobody had told here; or as the server refuses
 */
export async function waitingOf(account) {
  const kept = await openingsOf(account);
  if (kept === null) return null;
  if (kept.until + SLACK < Date.now() / 1_000) {
    await forgetOpenings(account);
    return null;
  }
  for (const hash of kept.hashes) if (await isInBlock(hash)) await openedBefore(account);
  return kept;
}

async function isInBlock(hash) {
  try {
    return (await getJson(`/transactions/${hash}`)).state === "done";
  } catch (error) {
    if (error instanceof Refused && error.code === "unknown_transaction") return false;
    throw error;
  }
}

async function openedBefore(account) {
  await forgetOpenings(account);
  const message = "A question that you signed for before is open and paid by now, says this site.";
  refuse("opened_before", message, "Nothing more was signed. Look under My requests first; to ask this one as well, press again.");
}

/**
 * The numbers to sign the next one with.
 * @param {Waiting|null} before
 * @param {"local"|"wallet"} kind of signer
 * @param {string} permit the token's own number, as it is told
 * @returns {{nonce: bigint|null, permit: string}} null: the next, as it is told
 */
export function placed(before, kind, permit) {
  if (before === null) return { nonce: null, permit };
  const isCounted = kind === "local" && before.nonce !== null;
  return isCounted ? { nonce: BigInt(before.nonce), permit } : { nonce: null, permit: before.permit };
}

/**
 * Keeps one more, before anybody has it.
 * @param {string} account
 * @param {Waiting|null} before
 * @param {{nonce: bigint|null, permit: string, until: number, hash: string}} signed
 */
export function keepWaiting(account, before, { nonce, permit, until, hash }) {
  return keepOpenings(account, {
    nonce: nonce === null ? null : String(nonce),
    permit: before?.permit ?? permit,
    until: Math.max(before?.until ?? 0, until),
    hashes: [...(before?.hashes ?? []), hash].slice(-MOST),
  });
}

/**
 * What somebody has to know who is told that it failed.
 * @param {unknown} error
 * @param {number} until
 * @returns {unknown}
 */
export function mayStillBePaid(error, until) {
  if (!(error instanceof Refused)) return error;
  const when = new Date((until + SLACK) * 1_000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
  const more = `What you signed can be used until ${when}, whatever is said of it. What you ask from here until then is signed in its place: at most one of them is paid.`;
  return new Refused({ ...error.reason(), remedy: `${error.remedy} ${more}` });
}
