/** The answer of a settled request: opened with this browser's own key, and held against its receipt and the chain. */

import { committeeCheck, dictionaryCheck } from "./anchoring.js";
import { getJson } from "./ask.js";
import { bytes32, equal, toHex } from "./bytes.js";
import { canonical } from "./canonical.js";
import { openResult, requireSignedResult } from "./delivery.js";
import { requireOpened, requireRequest, requireSignatures } from "./receipt.js";
import { checkedAlone } from "./receiptchecks.js";
import { load } from "./receiptfile.js";
import { requireDictionary } from "./joining.js";
import { confirmedCommittee } from "./pin.js";
import { refuse } from "./refused.js";
import { deployment, requireUnlocked } from "./session.js";
import { deliveryKeyOf } from "./tally/deliverykey.js";
import { openTally, requireSettled } from "./tally/tallied.js";

const CLIPPED = ["mean.v1", "quantile.v1"];

/** @typedef {import("./receiptchecks.js").Check} Check */
/** @typedef {{bytes: Uint8Array, document: any, result: Uint8Array, isOfSums: boolean, checks: Check[]}} Answer */

/**
 * @typedef {object} Shown what this operator shows of the request's dataset: answers are read by it
 * @property {object|null} dictionary null where nobody has it: the vault lane's answers then go without labels
 * @property {string} dictionary_hash
 * @property {{steward: string, salt: string}|null} published as `dictionaryCheck` takes it
 */

/**
 * @param {string} request 0x..
 * @param {string} resultHash as the chain has it, by this operator's node
 * @param {Shown} dataset
 * @param {import("./tally/beside.js").How} [how]
 * @returns {Promise<Answer>}
 * @throws {Refused} another_receipt, another_committee, other_keys, result_mismatch, receipt_invalid, envelope_unreadable, ...
 */
export async function openAnswer(request, resultHash, dataset, how) {
  const { bytes, receipt, market } = await ownReceipt(request);
  const checks = checkedAlone(receipt);
  // Nothing else binds an answer to custodians: the hash of the result on chain is this operator's word here.
  requireSignatures(receipt);
  const [key, signed] = [await keyOf(receipt), bytes32(resultHash, "result_hash")];
  const own = { ...dataset, market };
  const opening = receipt.tally === null ? openVault(receipt, key, signed, own) : openSums(receipt, key, signed, own, how);
  const [seated, opened] = await Promise.all([committeeCheck(receipt, confirmedCommittee), opening]);
  return { bytes, document: opened.document, result: opened.result, isOfSums: receipt.tally !== null, checks: [...checks, seated, ...opened.checks] };
}

async function openVault(receipt, key, signed, own) {
  const read = own.dictionary === null ? [] : [readBy(receipt, own)];
  const opened = await openResult(receipt.sealedResult, key, receipt);
  requireSignedResult(opened, signed);
  requireOpened(receipt, opened);
  const same = "The opened result is the one whose hash the chain keeps, and answers what was asked.";
  return { ...opened, checks: [{ means: same, why: null }, ...read] };
}

async function openSums(receipt, key, signed, own, how) {
  requireSettled(receipt.settlement.resultHash, signed);
  const read = readBy(receipt, own);
  const opened = await openTally(receipt, key, requireDictionary(own.dictionary, own.dictionary_hash), how);
  const settled = "What the custodians signed is the result whose hash the chain keeps.";
  const found = "Every sum lies where this question's sums lie, with all the noise that there can be.";
  return { ...opened, checks: [{ means: settled, why: null }, { means: found, why: null }, read] };
}

/** The dictionary by which an answer is read, its labels included, is the one that the dataset was published with. */
function readBy(receipt, { dictionary, dictionary_hash: hash, published, market }) {
  requireDictionary(dictionary, hash);
  return dictionaryCheck(receipt, market, hash, published);
}

/** @param {string} request 0x.. @returns {Promise<string>} the delivery key of a settled request, as the command line reads it */
export async function deliveryKeyFile(request) {
  const { receipt } = await ownReceipt(request);
  return `${toHex((await keyOf(receipt)).raw()).slice(2)}\n`;
}

/** As it was issued, whatever it is worth: the answer of the server, in its one canonical form. @returns {Promise<Uint8Array>} */
export async function receiptOf(/** @type {string} */ request) {
  return canonical(await getJson(`/api/v1/requests/${request}/receipt`));
}

/** The receipt of this very request of this market. @throws {Refused} another_receipt, receipt_invalid */
async function ownReceipt(request) {
  const bytes = await receiptOf(request);
  const [receipt, market] = [load(bytes), await deployment()];
  const isHere = receipt.chainId === market.chainId && receipt.market === market.contracts.ResearchMarket;
  if (!isHere || !equal(receipt.request, bytes32(request, "request"))) anotherReceipt();
  requireRequest(receipt); // its terms are the request's, and so is the salt that its key is made with
  return { bytes, receipt, market };
}

async function keyOf({ chainId, market, terms }) {
  const { root } = await requireUnlocked();
  const key = await root.deliveryKey(chainId, market, terms.salt);
  if (equal(await deliveryKeyOf(Number(terms.lane), key), terms.deliveryKey)) return key;
  const message = "This answer is sealed to a key that the keys in this browser do not make.";
  const remedy = "Bring the key file with which it was asked here, or open it with `usufruct result` and its delivery key.";
  return refuse("other_keys", message, remedy);
}

function anotherReceipt() {
  const remedy = "Do not use its answer. Ask the operator for the receipt of the request itself.";
  refuse("another_receipt", "This is a receipt of another request, or of another market.", remedy);
}

/**
 * @param {any} document of an answer
 * @returns {number} how many of its intervals are as wide as everything possible, and so tell nothing
 */
export function empty({ analysis, parameters, cohort_size: members, noised }) {
  const [lowest, highest] = possible(analysis, parameters, members);
  return noised.estimates.filter(({ low, high }) => Number(low) <= lowest && Number(high) >= highest).length;
}

/** The lowest and highest true answer of each cell, whoever the members are. */
function possible(analysis, { clip }, members) {
  if (clip === undefined) return [0, members];
  const [low, high] = clip.map(Number);
  if (CLIPPED.includes(analysis)) return [low, high];
  if (analysis === "variance.v1") return [0, ((high - low) / 2) ** 2]; // Popoviciu's inequality
  return [members * Math.min(low, 0), members * Math.max(high, 0)];
}

/** @param {any} document of an answer @returns {string[]} the variables that its labels are categories or cells of */
export function axesOf({ parameters }) {
  if (Array.isArray(parameters.axes)) return parameters.axes.map(({ variable }) => variable);
  return parameters.edges !== undefined || parameters.variable !== undefined ? [parameters.variable] : [];
}
