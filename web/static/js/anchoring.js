/**
 * What ties a receipt to more than itself, without a node: its committee to the custodians' own word, past this operator; the
 * dictionary by which sums are read to the request's dataset, whose id is a hash of it.
 */

import { address } from "./address.js";
import { bytes32, equal } from "./bytes.js";
import { Refused, refuse } from "./refused.js";
import { datasetId } from "./terms.js";

/** @typedef {import("./receiptchecks.js").Check} Check */
/** @typedef {import("./receiptfile.js").Receipt} Receipt */

const COMMITTEE = "The custodians that the receipt names, and how many of them have to sign, are those of its epoch, by custodians' own word.";
const DICTIONARY = "The data dictionary is the one that the request's dataset was published with.";
const BY_NODE = "`usufruct verify-receipt` asks a node.";

/**
 * Whoever names a committee of its own can have signed whatever it likes; whoever names another quorum, another interval.
 * @param {Receipt} receipt
 * @param {() => Promise<import("./committee.js").Committee>} confirmedCommittee that of today, by custodians' word (`pin.js`)
 * @returns {Promise<Check>} `why` where the epoch is another than today's, or too few custodians answer
 * @throws {Refused} another_committee; wrong_committee, where a custodian contradicts this operator; market_changed
 */
export async function committeeCheck({ epoch, committee }, confirmedCommittee) {
  const said = await confirmed(confirmedCommittee);
  if (said instanceof Refused) return { means: COMMITTEE, why: `${said.message} ${BY_NODE}` };
  if (epoch > said.epoch) anotherCommittee(epoch); // nobody was seated in it yet
  if (said.epoch !== epoch) {
    return { means: COMMITTEE, why: `It was answered in epoch ${epoch}, and custodians now speak of epoch ${said.epoch}. ${BY_NODE}` };
  }
  const isSame = committee.quorum === said.quorum && committee.signers.length === said.members.length;
  if (!isSame || !said.members.every(({ signer }, i) => address(signer, "committee") === committee.signers[i])) anotherCommittee(epoch);
  return { means: COMMITTEE, why: null };
}

/** The committee of today; a refusal where nobody can tell. */
async function confirmed(confirmedCommittee) {
  try {
    return await confirmedCommittee();
  } catch (error) {
    if (error instanceof Refused && error.code === "committee_unconfirmed") return error;
    if (!(error instanceof Refused) || error.code !== "wrong_committee") throw error;
    const remedy = "Nothing was opened. Where the custodians changed a moment ago, try again in a minute; otherwise keep the receipt, and tell the steward.";
    throw new Refused({ ...error.reason(), remedy });
  }
}

function anotherCommittee(epoch) {
  const message = `The receipt names other custodians than those of epoch ${epoch}, or another quorum of them.`;
  refuse("another_committee", message, "Do not use its answer. Keep the receipt, and ask the custodians, or a node.", "committee");
}

/**
 * @param {Receipt} receipt whose request is the one that is meant: its id is a hash of the dataset's
 * @param {{contracts: Object<string, string>}} market as this browser knows it
 * @param {string} hash of the dictionary, 0x..
 * @param {{steward: string, salt: string}|null} published who published the dataset, and with which salt; null where this
 *   operator's node does not show it
 * @returns {Check}
 * @throws {Refused} wrong_dictionary, malformed_message
 */
export function dictionaryCheck({ chainId, terms }, { contracts }, hash, published) {
  if ((published ?? null) === null) {
    const why = "This operator does not show how the dataset was published, so that its dictionary is the operator's word. A node tells.";
    return { means: DICTIONARY, why };
  }
  const [steward, salt] = [address(published.steward, "steward"), bytes32(published.salt, "salt")];
  const found = datasetId(chainId, contracts.DatasetRegistry, steward, bytes32(hash, "dictionary_hash"), salt);
  if (equal(found, terms.dataset)) return { means: DICTIONARY, why: null };
  const message = "The data dictionary that this operator shows is not the one that the request's dataset was published with.";
  return refuse("wrong_dictionary", message, "Do not use the answer; keep its receipt, and open it with `usufruct result` and a node.");
}
