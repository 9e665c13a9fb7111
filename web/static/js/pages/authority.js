/** One account's credential: given or withdrawn by the authority who is signed in. */

import { offer, sayAt, sayNow } from "../acts.js";
import { bytes32, utf8 } from "../bytes.js";
import { facts } from "../dom.js";
import { keccak } from "../hash.js";
import { refuse } from "../refused.js";
import { abiTuple } from "../solidity.js";
import { transact } from "../transact.js";

const COUNTRY = /^[A-Z]{2}$/;
const HASH = /^0x[0-9a-fA-F]{64}$/;
const own = facts();

offer("#give", async (values) => {
  const credential = {
    kind: BigInt(chosen(values, "kind", "Choose a kind of organisation.")),
    country: country(values.country),
    expiry: BigInt(chosen(values, "expiry", "Choose for how long.")),
    withdrawn: false,
    user: hashed(values.user, "user"),
    institution: hashed(values.institution, "institution"),
    evidence: hashed(values.evidence, "evidence"),
  };
  await transact("ResearcherRegistry.give", [own.account, abiTuple("Credential", credential)]);
  sayAt("Given. The chain shows it.");
});

offer("#withdraw", async () => {
  await transact("ResearcherRegistry.withdraw", [own.account]);
  sayAt("Withdrawn. The chain shows it.");
});

function chosen(values, field, remedy) {
  return values[field] || refuse("bad_parameter", "Nothing is chosen.", remedy, field);
}

function country(typed) {
  const code = typed.trim().toUpperCase();
  if (!COUNTRY.test(code)) refuse("bad_parameter", "That is no country.", "Write two letters, like NL.", "country");
  return utf8(code);
}

/** A hash as it is; of anything else, the keccak256: names do not go on chain. */
function hashed(typed, field) {
  const text = typed.trim();
  if (text === "") refuse("bad_parameter", "It is empty.", "Write an identifier, or its hash.", field);
  return HASH.test(text) ? bytes32(text, field) : keccak(utf8(text));
}

sayNow();
