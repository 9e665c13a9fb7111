/**
 * Whose keys a record is sealed to: each custodian is asked for its own, past this operator, before anything is
 * sealed. An operator that names keys of its own as the committee's could open what was sealed to them.
 */

import { getElsewhere } from "./ask.js";
import { bytes32, equal } from "./bytes.js";
import { Refused, refuse } from "./refused.js";

/** @typedef {{epoch: number, quorum: number, members: Array<{place: number, key: string}>}} Committee */
/** @typedef {{place: number, epoch: number, key: string}} Seat what a custodian says of itself */

/**
 * @param {Committee} committee as the operator tells it
 * @param {string[]} urls of custodians
 * @throws {Refused} wrong_committee where one that answers says something else; committee_unconfirmed where fewer
 *   than a quorum answer
 */
export async function requireSaid(committee, urls) {
  const said = await Promise.all(urls.map(seatOf));
  const places = new Set();
  said.forEach((seat, i) => {
    if (seat === null) return;
    if (!isNamed(seat, committee)) contradicted(urls[i]);
    places.add(seat.place);
  });
  if (places.size >= committee.quorum) return;
  const message = `Only ${places.size} of the custodians said that the keys which this site names are theirs; ${committee.quorum} have to.`;
  refuse("committee_unconfirmed", message, "Nothing was sealed. Try again in a few minutes, when more of them answer.");
}

function isNamed({ place, epoch, key }, committee) {
  const member = committee.members.find((each) => each.place === place);
  if (member === undefined || epoch !== committee.epoch) return false;
  return equal(bytes32(key, "key"), bytes32(member.key, "committee"));
}

function contradicted(url) {
  const message = `The custodian at ${new URL(url).host} says another key or epoch than this site names for it.`;
  const remedy = "Nothing was sealed. Where the custodians changed a moment ago, try again in a minute; otherwise tell the steward.";
  refuse("wrong_committee", message, remedy);
}

/** What it says of itself; null where it does not answer, or sits in no committee now. */
async function seatOf(url) {
  try {
    const { place, epoch, key } = await getElsewhere(`${url}/health`);
    bytes32(key, "key");
    return Number.isSafeInteger(place) && Number.isSafeInteger(epoch) ? { place, epoch, key } : null;
  } catch (error) {
    if (error instanceof Refused || error instanceof TypeError) return null;
    throw error;
  }
}
