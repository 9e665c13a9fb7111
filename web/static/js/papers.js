/** What a clinic's paper changes of the market that a browser knows: pure functions of what is kept. */

import { bytes32, toHex } from "./bytes.js";
import { committeeHash } from "./committee.js";
import { refuse } from "./refused.js";

const ASK = "Seal nothing with this paper. Ask both clinics which is right.";
const FORGET = "Only if the new one is, remove what this browser knows of the market, on the page Keys, and type the new code again.";

/** @param {import("./committee.js").Committee} committee @returns {{epoch: number, quorum: number, keys: string[]}} */
export function seatsOf({ epoch, quorum, members }) {
  return { epoch, quorum, keys: members.map(({ key }) => toHex(bytes32(key, "committee"))) };
}

/** @param {import("./pin.js").Pin} pin @param {import("./committee.js").Committee} committee @returns {import("./pin.js").Pin} */
export function confirmedIn(pin, committee) {
  return { ...pin, committees: { ...pin.committees, [committee.epoch]: toHex(committeeHash(committee)) } };
}

/**
 * The first paper takes the place of whatever an operator told, and of what custodians of its own may have confirmed. A
 * later one counts where it is of a later epoch; two of one epoch say the same.
 * @param {import("./pin.js").Pin} pin
 * @param {string[]} custodians origins, by the paper
 * @param {import("./committee.js").Committee} committee of which the paper is
 * @returns {import("./pin.js").Pin}
 * @throws {Refused} papers_differ, older_paper
 */
export function withPaper(pin, custodians, committee) {
  const { epoch } = committee;
  const taken = { ...pin, custodians, holders: {}, paper: epoch, seats: seatsOf(committee) };
  const before = pin.paper ?? null;
  if (before === null) return confirmedIn({ ...taken, committees: {} }, committee);
  if (epoch < pin.seats.epoch) olderPaper(epoch, pin.seats.epoch);
  requireOneCommittee(pin, committee);
  if (epoch > before) return confirmedIn(taken, committee);
  requireSameCustodians(pin.custodians, custodians, epoch);
  return pin;
}

function olderPaper(paper, known) {
  const message = `This paper is of the custodians of epoch ${paper}; those that this browser knows are of epoch ${known}.`;
  refuse("older_paper", message, "Seal nothing with this paper: ask the clinic for a new invitation.", "code");
}

function requireOneCommittee({ committees }, committee) {
  const [before, now] = [committees[committee.epoch], toHex(committeeHash(committee))];
  if (before !== undefined && before !== now) differ(committee.epoch, `the committee ${before}`, `the committee ${now}`);
}

function requireSameCustodians(before, now, epoch) {
  const others = (some, all) => some.filter((url) => !all.includes(url)).sort();
  const [gone, come] = [others(before, now), others(now, before)];
  if (gone.length > 0 && come.length > 0) differ(epoch, namedAs(gone), namedAs(come));
}

function namedAs(urls) {
  return urls.length === 0 ? "none" : urls.join(", ");
}

function differ(epoch, before, now) {
  const message =
    "Two papers that were typed in this browser name other custodians of one and the same epoch, " +
    `${epoch}. What they do not share: the paper before: ${before}; this one: ${now}.`;
  refuse("papers_differ", message, `${ASK} ${FORGET}`, "code");
}
