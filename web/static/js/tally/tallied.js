/**
 * Opening an answer of the homomorphic lane: from sums that only the researcher's key decrypts to numbers. It becomes the
 * same document as in the vault lane, byte for byte what the command line makes of the same sums.
 */

import { equal, toHex, utf8 } from "../bytes.js";
import { canonical, parse, parseCanonical } from "../canonical.js";
import { SCHEMA } from "../delivery.js";
import { refuse } from "../refused.js";
import { questionOf, requireWithinReach } from "./answer.js";
import { tallyKeyOf } from "./deliverykey.js";
import { openBeside } from "./opener.js";

const MOST_PARAMETERS = 1 << 20; // bytes

/**
 * @param {import("../receiptfile.js").Receipt} receipt of this lane, whose parts belong together
 * @param {import("../hpke.js").SecretKey} delivery
 * @param {import("../dictionary.js").Dictionary} dictionary of its dataset, held against its hash by the caller
 * @param {import("./beside.js").How} [how]
 * @returns {Promise<{result: Uint8Array, document: any}>}
 * @throws {Refused} opened_elsewhere, not_encoded, envelope_unreadable, sum_out_of_range, ...
 */
export async function openTally(receipt, delivery, dictionary, how) {
  if (dictionary.encoding === null) notEncoded();
  const { cost, cohort, tally, committee } = receipt;
  const parameters = parse(utf8(receipt.parameters), { limit: MOST_PARAMETERS });
  const settled = { members: cohort.members, cost, contributors: tally.places.length, quorum: committee.quorum };
  const question = questionOf(receipt.analysis, parameters, dictionary, settled);
  requireWithinReach(question.ranges);
  const { secret } = await tallyKeyOf(delivery);
  const sums = await openBeside({ sealed: receipt.sealedResult, secret, ranges: question.ranges }, how);
  const result = canonical({
    schema: SCHEMA,
    request: toHex(receipt.request),
    analysis: receipt.analysis,
    parameters,
    cohort_size: cohort.members,
    noised: question.noised(sums),
  });
  return { result, document: parseCanonical(result) };
}

/** @param {Uint8Array} found @param {Uint8Array} signed @throws {Refused} result_mismatch unless the chain has the hash that the custodians signed */
export function requireSettled(found, signed) {
  if (equal(found, signed)) return;
  const message = "The delivered result is not the one that custodians signed.";
  refuse("result_mismatch", message, "Do not use it; keep the receipt and ask the operator and the custodians.");
}

function notEncoded() {
  const message = "The data dictionary that this operator shows has no encoding, so these sums mean nothing.";
  refuse("not_encoded", message, "Tell the steward of the dataset; the receipt stays as it is.");
}
