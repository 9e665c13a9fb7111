/** One account's credential: given or withdrawn by the authority who is signed in. */

import { offer, sayAt, sayNow } from "../acts.js";
import { bytes32, utf8 } from "../bytes.js";
import { facts, one } from "../dom.js";
import { keccak } from "../hash.js";
import { refuse } from "../refused.js";
import { abiTuple } from "../solidity.js";
import { transact } from "../transact.js";

const HASH = /^0x[0-9a-fA-F]{64}$/;
const own = facts();

offer("#give", async (values) => {
  const credential = {
    kind: BigInt(chosen(values, "kind", "Choose a kind of organisation.")),
    country: utf8(chosen(values, "country", "Choose a country.")),
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

/** A hash as it is; of anything else, the keccak256: names do not go on chain. */
function hashed(typed, field) {
  const text = typed.trim();
  if (text === "") refuse("bad_parameter", "It is empty.", "Write an identifier, or its hash.", field);
  return HASH.test(text) ? bytes32(text, field) : keccak(utf8(text));
}

// --- what is about to be signed, in words

/** @param {HTMLFormElement} form @returns {string} empty until all three are chosen */
function inWords(form) {
  const [kind, where] = ["#kind", "#country"].map((name) => one(name, form).selectedOptions[0]);
  const until = form.querySelector('input[name="expiry"]:checked');
  if (kind.value === "" || where.value === "" || until === null) return "";
  return `You give: ${kind.textContent}, ${where.textContent}, for ${until.closest("label").querySelector("span").textContent}.`;
}

const form = one("#give");
const sayWhat = () => (one("#given-as").textContent = inWords(form));
form.addEventListener("input", sayWhat);
sayWhat();
sayNow();
