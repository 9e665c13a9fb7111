/**
 * Openings of requests that were signed and handed over. Whoever has one can have it mined, whatever is said of it. So
 * until none can be used any more, or one is in a block, all are signed with one permit number: the token takes one of
 * them, and what it lets the market take is spent by the first that is paid.
 *
 * Anybody can show a permit without its opening, and it then pays others as far as it reaches: so nothing is signed of
 * which two could be paid by the largest permit that is out.
 */

import { getJson } from "./ask.js";
import { changeOpenings, openingsOf } from "./keystore.js";
import { Refused, refuse } from "./refused.js";

const SLACK = 600; // seconds by which this computer's clock and a block's may differ
const MOST = 64; // hashes that are kept
const FURTHEST = 32 * 86_400; // seconds: the market takes no deadline beyond 30 days
const NOT_SENT = ["wallet_declined", "wrong_chain"]; // a wallet that refuses so has handed nothing on

/** @typedef {{chainId: number, market: string, account: string}} Own whose they are */
/**
 * @typedef {object} Waiting
 * @property {string|null} permit the token's own number of all permits that are out; null: none is any more
 * @property {number} until unix seconds of chain time, after which the market takes none of them
 * @property {string} most token units: the largest permit that may have been shown and not been spent
 * @property {string[]} escrows token units: what each opening that is out can cost
 * @property {string[]} hashes
 */
/** @typedef {{permit: string, until: number, escrow: bigint}} Wanted the token's number as it is told; the deadline to seal; token units */

/** @type {Waiting} */
const NONE = { permit: null, until: 0, most: "0", escrows: [], hashes: [] };

/**
 * What this account signed before and what may still be mined.
 * @param {Own} own
 * @returns {Promise<Waiting>}
 * @throws {Refused} opened_before: one is in a block, which nobody had told here; or as the server refuses
 */
export async function waitingOf(own) {
  const kept = (await openingsOf(own)) ?? NONE;
  if (kept.until !== 0 && kept.until + SLACK < secondsNow()) {
    return changedFrom(own, kept, { ...NONE, most: kept.most }); // a permit that was shown in time stays good
  }
  for (const hash of kept.hashes) if (await isPaid(hash)) await openedBefore(own, kept);
  return kept;
}

/** One that is said to have failed in its block is not: that may be a lie, and costs nothing if it is none. */
async function isPaid(hash) {
  try {
    return (await getJson(`/transactions/${hash}`)).state === "done";
  } catch (error) {
    if (error instanceof Refused && error.code === "unknown_transaction") return false;
    throw error;
  }
}

const LOOK = "Nothing more was signed. Look under My requests first; to ask this one as well, press again.";

async function openedBefore(own, kept) {
  await forgotten(own, kept.permit);
  refuse("opened_before", "A question that you signed for before is open and paid by now, says this site.", LOOK);
}

/** A number is used once: what goes by it is paid, or can be paid no more by a permit of its own. */
async function requireUnused(own, before, told) {
  if (before.permit === null || BigInt(told) <= BigInt(before.permit)) return;
  await forgotten(own, before.permit);
  const message = "The permit by which you signed for questions before was used, says this site: one of them is paid, or it was shown without one.";
  refuse("opened_before", message, LOOK);
}

/** @param {Waiting} waiting @returns {boolean} whether one that is out may still be paid */
export function isAnyOut({ escrows }) {
  return escrows.length > 0;
}

/**
 * By this computer's own clock: a deadline by the operator's word alone could be one that never comes.
 * @param {number} until unix seconds
 * @throws {Refused} clocks_differ
 */
export function requireNear(until) {
  const now = secondsNow();
  if (until > now && until <= now + FURTHEST) return;
  const message =
    until > now
      ? `By this site's time, what you sign could be used until ${dateOf(until)}: more than 32 days from now by this computer's clock.`
      : `By this site's time, what you sign could be used until ${dateOf(until)}: that is over by this computer's clock.`;
  const remedy = "Nothing was signed. Set this computer's clock right and try again. If it is right, do not go on here: tell the market's operator.";
  refuse("clocks_differ", message, remedy);
}

/**
 * What is kept once one more is signed, and once it is handed over.
 * @param {Waiting} before
 * @param {Wanted} wanted
 * @returns {{signed: Waiting, out: Waiting}} both with the permit number to sign with
 * @throws {Refused} two_could_be_paid
 */
export function placed(before, { permit, until, escrow }) {
  const most = String(larger(BigInt(before.most), escrow));
  const signed = { ...before, permit: before.permit ?? permit, until: Math.max(before.until, until), most };
  const escrows = escrow > 0n ? [...before.escrows, String(escrow)] : before.escrows; // what costs nothing is paid nothing
  requireOnePaid(escrows.map(BigInt), BigInt(most), signed.until);
  const older = before.permit === null ? before.escrows.map(BigInt) : [];
  if (older.some((each) => each <= BigInt(before.most))) twoCouldBePaid(signed.until); // one by what is left over, one by this permit
  return { signed, out: { ...signed, escrows } };
}

function requireOnePaid(escrows, most, until) {
  const [least, next] = ascending(escrows);
  if (next === undefined || least + next > most) return;
  twoCouldBePaid(until);
}

function twoCouldBePaid(until) {
  const message = "You signed for questions before that may still be paid. Together with this one, two could be, by the permit of a costlier one.";
  const remedy = `Nothing was signed. Wait until ${dateOf(until + SLACK)}; or ask one now that can cost about as much as the costliest of them.`;
  refuse("two_could_be_paid", message, remedy, "agreed");
}

/**
 * Signs one and hands it over; all of it is kept before anybody else has it, so that tabs of one browser know of each other.
 * @template T
 * @param {Own} own
 * @param {Waiting} before
 * @param {Wanted} wanted
 * @param {{kind: "local"|"wallet", prepare: (permit: string) => Promise<T>, send: (ready: T, how: import("./wallet.js").How) => Promise<unknown>}} how
 *   `prepare` signs the permit and hands nothing of it on; `send` returns once it is in a block
 * @throws {Refused} clocks_differ, opened_before, two_could_be_paid, asked_elsewhere; as `prepare` and `send` refuse
 */
export async function openOnce(own, before, wanted, { kind, prepare, send }) {
  requireNear(wanted.until);
  await requireUnused(own, before, wanted.permit);
  const { signed, out } = placed(before, wanted);
  await changedFrom(own, before, out);
  const ready = await prepare(out.permit).catch((error) => tookBack(own, out, before, error));
  let isHeard = false;
  const heard = async ({ hash }) => {
    await noted(own, out.permit, hash);
    isHeard = true;
  };
  try {
    await send(ready, { signed: heard });
  } catch (error) {
    const isOut = kind === "local" ? isHeard : !NOT_SENT.includes(error?.code);
    if (isOut) throw mayStillBePaid(error, out);
    await tookBack(own, out, signed, mayStillBePaid(error, signed)); // its permit went out all the same, with what was asked of gas
  }
  await forgotten(own, out.permit, wanted.escrow);
}

/** Nothing was handed over. Where another tab went on from it, that stays. */
async function tookBack(own, out, instead, error) {
  await changeOpenings(own, (now) => (isSame(now ?? NONE, out) ? keepable(instead) : now));
  throw error;
}

function noted(own, permit, hash) {
  return changeOpenings(own, (now) => (now?.permit === permit ? { ...now, hashes: [...now.hashes, hash].slice(-MOST) } : now));
}

/**
 * One of those that are out is paid, and no permit of this number is any good. The others stay good until their deadline,
 * and a later permit could pay them; what the largest one that was shown has left could, too.
 * @param {bigint|null} [paid] what it cost; null where this site alone says that there is one: then as if the costliest
 *   were, for the price of the cheapest
 */
function forgotten(own, permit, paid = null) {
  return changeOpenings(own, (now) => (now?.permit === permit ? keepable(afterPaid(now, paid)) : now));
}

function afterPaid({ until, most, escrows }, paid) {
  const sorted = ascending(escrows.map(BigInt));
  const at = paid === null ? sorted.length - 1 : sorted.indexOf(paid);
  const rest = sorted.filter((_, place) => place !== at).map(String);
  return { ...NONE, until: rest.length === 0 ? 0 : until, most: String(BigInt(most) - (paid ?? sorted[0] ?? 0n)), escrows: rest };
}

function ascending(amounts) {
  return [...amounts].sort((one, other) => (one < other ? -1 : Number(one > other)));
}

async function changedFrom(own, before, next) {
  const kept = await changeOpenings(own, (now) => (isSame(now ?? NONE, before) ? keepable(next) : now));
  if (isSame(kept ?? NONE, next)) return next;
  const message = "Another tab of this browser asks and pays with this account at the same moment.";
  return refuse("asked_elsewhere", message, "Nothing was signed here. Wait until it has finished there, then press again.");
}

function keepable(waiting) {
  return isSame(waiting, NONE) ? null : waiting;
}

function isSame(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** What somebody has to know who is told that it failed. */
function mayStillBePaid(error, waiting) {
  if (!(error instanceof Refused) || !isAnyOut(waiting)) return error;
  const more = `What you signed can be used until ${dateOf(waiting.until + SLACK)}, whatever is said of it. What you ask from here until then is signed in its place: at most one of them is paid.`;
  return new Refused({ ...error.reason(), remedy: `${error.remedy} ${more}` });
}

function larger(one, other) {
  return one > other ? one : other;
}

function secondsNow() {
  return Date.now() / 1_000;
}

function dateOf(seconds) {
  return new Date(seconds * 1_000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}
