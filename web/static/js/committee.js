/**
 * Whose keys a record is sealed to: each custodian is asked for its own, and for the committee that it knows from the
 * chain, past this operator, before anything is sealed. An operator that names keys of its own as the committee's, or a
 * lower quorum, could open what was sealed to them.
 */

import { getElsewhere } from "./ask.js";
import { bytes32, fromHex, toHex } from "./bytes.js";
import { POINT_BYTES } from "./curve.js";
import { Refused, refuse } from "./refused.js";
import { taggedHash } from "./tagged.js";

/** @typedef {{epoch: number, quorum: number, members: Array<{place: number, signer: string, key: string}>, joint_key?: string|null}} Committee */
/** @typedef {{epoch: number, quorum: number, committee: string, jointKey: string|null, place: number|null, key: string|null}} Word
 *   what a custodian says of the committee and of itself: `place` is null once it has left, `jointKey` until there is one */

/** @typedef {{custodians: string[], seats: {keys: string[]}, holders?: Object<string, string>}} Known
 *   origins; the keys of the seats; by origin, the key that each custodian had */

const MOST_ORIGINS = 32;

/**
 * @param {Committee} committee
 * @returns {Uint8Array} names it with all its keys, 32 bytes (`wire.voucher`)
 * @throws {Refused} wrong_committee, bad_parameter, malformed_message
 */
export function committeeHash({ epoch, quorum, members }) {
  const isWhole = Array.isArray(members) && members.length > 0 && members.every(({ place }, i) => place === i);
  if (!isWhole || !(2 * quorum > members.length && quorum <= members.length)) noCommittee();
  const types = ["uint64", "uint8", "address[]", "bytes32[]"];
  const [signers, keys] = [members.map(({ signer }) => signer), members.map(({ key }) => bytes32(key, "committee"))];
  return taggedHash("usufruct/committee/1", types, [epoch, quorum, signers, keys]);
}

function noCommittee() {
  const message = "The committee that this server shows is none: its places or its quorum are wrong.";
  refuse("wrong_committee", message, "Do not go on here: the contracts allow no such committee.");
}

/** @param {unknown} list @returns {string[]} what of it is an origin, and so could be asked; each once */
export function originsIn(list) {
  return Array.isArray(list) ? [...new Set(list.filter(isOrigin))].slice(0, MOST_ORIGINS) : [];
}

function isOrigin(text) {
  if (typeof text !== "string" || !/^https?:/.test(text)) return false;
  try {
    return new URL(text).origin === text;
  } catch {
    return false;
  }
}

/**
 * @param {Committee} committee as the operator tells it
 * @param {string[]} urls of custodians that this browser knows
 * @param {number} least how many of them have to say the same
 * @returns {Promise<Array<Word|null>>} what each said; null for one that did not answer
 * @throws {Refused} wrong_committee where one that answers says something else; committee_unconfirmed
 */
export async function requireSaid(committee, urls, least) {
  const named = toHex(committeeHash(committee));
  const said = await Promise.all(urls.map(wordOf));
  const agreed = said.map((word) => (word !== null && agrees(word, committee, named) ? word : null));
  const voices = voicesIn(agreed);
  if (voices >= least) return agreed;
  said.forEach((word, i) => {
    if (word !== null && agreed[i] === null) contradicted(urls[i], word, committee);
  });
  const message = `Only ${voices} of the custodians that this browser knows said that the committee is the one which this site names; ${least} have to.`;
  return refuse("committee_unconfirmed", message, "Nothing was sealed. Try again in a few minutes, when more of them answer.");
}

/** @param {Array<Word|null>} words @returns {number} of how many custodians: who names a place counts once for it */
export function voicesIn(words) {
  const places = new Set(words.filter(isSeated).map(({ place }) => place));
  return places.size + words.filter(hasLeft).length;
}

/**
 * Where the custodians of a later epoch answer: those that are known, but for who says that it left. Others, as the
 * operator tells them, for such seats alone as have a key that was none of the committee's before: where the key stayed,
 * the custodian did. A custodian that was known to hold a seat closes it with a new key, too; the claim of any other hides
 * nobody, as a key can be named by whoever has read it.
 * @param {Committee} committee
 * @param {Known} before as this browser knew it
 * @param {Array<Word|null>} said by those of `before.custodians`, as `requireSaid` gives it
 * @param {string[]} told origins, by the operator
 * @returns {Promise<string[]>}
 */
export async function custodiansAfter(committee, before, said, told) {
  const known = before.custodians;
  const staying = known.filter((_, i) => !hasLeft(said[i]));
  const open = committee.members.filter((member) => isOpen(member, before, said));
  const others = open.length === 0 ? [] : originsIn(told).filter((url) => !known.includes(url));
  const [named, words] = [toHex(committeeHash(committee)), await Promise.all(others.map(wordOf))];
  const holds = (place) => others.find((_, i) => isSeated(words[i]) && words[i].place === place && agrees(words[i], committee, named));
  const added = open.map(({ place }) => holds(place)).filter((url) => url !== undefined);
  return [...staying, ...added].slice(0, MOST_ORIGINS);
}

function isOpen({ place, key }, { custodians, seats, holders = {} }, said) {
  const had = seats.keys[place];
  const isIts = (word, i) => isSeated(word) && word.place === place && had !== undefined && holders[custodians[i]] === had;
  return !seats.keys.includes(toHex(bytes32(key, "committee"))) && !said.some(isIts);
}

/**
 * The key of each custodian, by its own word. Who was known by one that is still there is not known by another's.
 * @param {Committee} committee
 * @param {Known} before
 * @param {Array<Word|null>} said by those of `before.custodians`
 * @returns {Object<string, string>}
 */
export function holdersAfter(committee, { custodians, holders = {} }, said) {
  const keys = new Set(committee.members.map(({ key }) => toHex(bytes32(key, "committee"))));
  const heard = custodians.map((url, i) => [url, keys.has(holders[url]) || !isSeated(said[i]) ? holders[url] : said[i].key]);
  const claimed = heard.map(([, key]) => key);
  const isAlone = (key) => claimed.indexOf(key) === claimed.lastIndexOf(key); // of two who name one key, one has read it
  return Object.fromEntries(heard.filter(([, key]) => key !== undefined && isAlone(key)));
}

function isSeated(word) {
  return word !== null && word.place !== null;
}

function hasLeft(word) {
  return word !== null && word.place === null;
}

function agrees({ epoch, quorum, committee: whole, place, key }, committee, named) {
  const isSame = epoch === committee.epoch && quorum === committee.quorum && whole === named;
  const member = committee.members[place];
  return isSame && (place === null || (member !== undefined && key === toHex(bytes32(member.key, "committee"))));
}

function contradicted(url, { quorum }, committee) {
  const what = quorum === committee.quorum ? "another key, committee or epoch than this site names" : `a quorum of ${quorum}, and this site one of ${committee.quorum}`;
  const message = `The custodian at ${new URL(url).host} says ${what}.`;
  const remedy = "Nothing was sealed. Where the custodians changed a moment ago, try again in a minute; otherwise tell the steward.";
  refuse("wrong_committee", message, remedy);
}

/** What it says; null where it does not answer, or does not know. */
async function wordOf(url) {
  try {
    return wordIn(await getElsewhere(`${url}/health`));
  } catch (error) {
    if (error instanceof Refused || error instanceof TypeError) return null;
    throw error;
  }
}

function wordIn({ seated, epoch, quorum, committee, joint_key: joint = null, place, key }) {
  const jointKey = joint === null ? null : toHex(fromHex(joint, "joint_key", POINT_BYTES));
  const word = { epoch, quorum, committee: toHex(bytes32(committee, "committee")), jointKey, place: null, key: null };
  if (![epoch, quorum].every(Number.isSafeInteger)) return null;
  if (seated === false) return word;
  return Number.isSafeInteger(place) ? { ...word, place, key: toHex(bytes32(key, "key")) } : null;
}
