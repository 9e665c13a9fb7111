/** A steward's pages: what the server has checked is computed again here, signed, and sent. */

import { offer, sayAt, sayNow } from "../acts.js";
import { address } from "../address.js";
import { postJson } from "../ask.js";
import { bytes32, equal, toHex, utf8 } from "../bytes.js";
import { JSON_LIMIT, parse } from "../canonical.js";
import { PARAGRAPHS, fromJson as readPage, hashOf as hashOfPage } from "../classpage.js";
import { fromJson as readDictionary, hashOf as hashOfDictionary } from "../dictionary.js";
import { announce, facts, one, onPress } from "../dom.js";
import { forget, formAt, remember, showRefusal } from "../forms.js";
import { atField, refuse } from "../refused.js";
import { deployment } from "../session.js";
import { abiTuple, fromJson } from "../solidity.js";
import { classId, datasetId, definitionHash } from "../terms.js";
import { sender, transact } from "../transact.js";

const LONGEST_URI = 300; // characters
const own = facts();

// --- a new dataset

offer("#publish-dataset", async ({ uri }) => {
  const where = uri.trim();
  const fits = where === "" || (where.startsWith("https://") && where.length <= LONGEST_URI);
  if (!fits) refuse("bad_parameter", "That is no address of a page.", "Write one that begins with https://, or nothing.", "uri");
  const hash = hashOfDictionary(readDictionary(own.dictionary));
  if (!equal(hash, bytes32(own.hash, "hash"))) otherWords();
  const salt = crypto.getRandomValues(new Uint8Array(32)); // several datasets may have one dictionary
  const { chainId, contracts } = await deployment();
  const dataset = toHex(datasetId(chainId, contracts.DatasetRegistry, await sender(), hash, salt));
  await transact("DatasetRegistry.publishDataset", [hash, salt, where]);
  forget(formAt("#dictionary-form"));
  const path = `/steward/${dataset}`;
  try {
    await handOver(own.dictionary);
  } catch (refused) {
    sayAt(`Published, but the dictionary has still to be handed over: ${refused.message}`, path);
    return;
  }
  sayAt("Published. Now add the clinics that vouch for records, and a class to consent to.", path);
});

offer("#hand-over-dictionary", async ({ dictionary: text }) => {
  const dictionary = await atField("dictionary", () => parse(utf8(text), { limit: JSON_LIMIT }));
  const hash = await atField("dictionary", () => hashOfDictionary(readDictionary(dictionary)));
  if (!equal(hash, bytes32(own.hash, "hash"))) {
    refuse("bad_dictionary", "This is not the dictionary whose hash is on chain.", "Give the very one that was published.", "dictionary");
  }
  await handOver(dictionary);
  sayAt("Handed over.");
});

function handOver(dictionary) {
  return postJson("/api/v1/dictionaries", { dictionary });
}

/** What was read from a file stands in the field, where it can be looked at and changed. */
async function readFile(input) {
  const [file] = input.files;
  if (file === undefined) return;
  if (file.size > JSON_LIMIT) {
    announce(one("#read"), "That file is too large to be a dictionary.");
    return;
  }
  const field = one("#dictionary");
  field.value = await file.text();
  field.dispatchEvent(new Event("input", { bubbles: true }));
  announce(one("#read"), "Read. Check it below.");
  field.focus();
}

const chosen = document.querySelector("#file");
if (chosen !== null) {
  chosen.addEventListener("change", () => readFile(chosen));
  readFile(chosen); // it may have been chosen before this module ran
}

// --- a dataset's issuers, and its end

offer("#add-issuer", async ({ issuer }) => {
  const trusted = address(issuer.trim(), "issuer");
  await transact("DatasetRegistry.addIssuer", [bytes32(own.dataset, "dataset"), trusted]);
  sayAt(`Trusted: ${trusted}. It can attest records now.`);
});

for (const button of document.querySelectorAll("[data-withdraw]")) {
  onPress(button, async () => {
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true";
    try {
      await transact("DatasetRegistry.withdrawIssuer", [bytes32(own.dataset, "dataset"), button.dataset.withdraw]);
      sayAt(`Withdrawn: ${button.dataset.withdraw}. It can attest nothing more.`);
    } catch (error) {
      button.ariaDisabled = "false";
      showRefusal(formAt("#withdraw"), error);
    }
  });
}

offer("#suspend", async ({ patient }) => {
  const whose = address(patient.trim(), "patient");
  await transact("DatasetRegistry.suspendRecord", [bytes32(own.dataset, "dataset"), whose]).catch(noRecord);
  sayAt(`Suspended: the record of ${whose}. The chain shows it.`);
});

/** The contract's word for it is said to patients, who have a record to upload. */
function noRecord(error) {
  if (error.code !== "record_not_stored") throw error;
  refuse(error.code, "This address has no record in this dataset.", "Copy it as the chain has it.", "patient");
}

offer("#retire", async ({ word }) => {
  if (word.trim().toLowerCase() !== "retire") {
    refuse("bad_parameter", "The word is not “retire”.", "Type it to confirm.", "word");
  }
  await transact("DatasetRegistry.retire", [bytes32(own.dataset, "dataset")]);
  sayAt("Retired. The chain shows it.");
});

// --- a new class

offer("#publish-class", async () => {
  const { page, terms } = whatIsShown();
  const hasPage = await held(own.page);
  await transact("DatasetRegistry.publishClass", [bytes32(own.dataset, "dataset"), abiTuple("ClassTerms", terms)]);
  forget(formAt("#class-form"));
  if (!hasPage) await postJson("/api/v1/class-pages", { page: own.page });
  sayAt(`Published: ${page.title}. Whoever has a record here can consent to it now.`, `/steward/${own.dataset}`);
});

/**
 * The page is with the operator before the class is on chain, so that it cannot be lost in between. A steward to
 * whom a dataset was handed over may lack the role for that: then it is handed over afterwards.
 */
async function held(page) {
  try {
    await postJson(`/steward/${own.dataset}/pages`, { page });
    return true;
  } catch (error) {
    if (error.code === "not_a_steward") return false;
    throw error;
  }
}

/** Page and terms, held against what stands on this page and against both hashes. */
function whatIsShown() {
  const page = readPage(own.page);
  const terms = fromJson("ClassTerms", own.terms);
  const id = classId(bytes32(own.dataset, "dataset"), own.index);
  const same =
    PARAGRAPHS.every((key) => one(`[data-paragraph="${key}"]`).textContent === page[key]) &&
    one("h1").textContent === page.title &&
    equal(hashOfPage(page), terms.termsHash) &&
    equal(definitionHash(terms, id), bytes32(own.definition, "definition"));
  return same ? { page, terms } : otherWords();
}

function otherWords() {
  const message = "This page does not show what its hash stands for, so nothing was signed.";
  return refuse("other_words", message, "Load it again; if it stays so, publish with the command line, and ask the operator.");
}

/** A field that belongs to a condition is there once that is chosen, or while something stands in it. */
function showNeeded() {
  for (const part of document.querySelectorAll("[data-needs]")) {
    const [name, value] = part.dataset.needs.split(" ");
    const asked = document.querySelector(`input[name="${name}"][value="${value}"]`).checked;
    const controls = [...part.querySelectorAll("input, textarea")];
    const filled = controls.some((each) => (each.type === "checkbox" ? each.checked : each.value.trim() !== ""));
    part.hidden = !(asked || filled || part.querySelector(".error") !== null);
  }
}

// --- forms that the browser itself sends: what is half written survives a page that is left

for (const form of document.querySelectorAll("form[method='post']")) remember(form);
document.addEventListener("change", showNeeded);
showNeeded();
sayNow();
