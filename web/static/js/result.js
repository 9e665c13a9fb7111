/** The answer of a settled request: opened with this browser's own key, and held against its receipt and the chain. */

import { getJson } from "./ask.js";
import { bytes32, equal, toHex } from "./bytes.js";
import { canonical } from "./canonical.js";
import { openResult, requireSignedResult } from "./delivery.js";
import { requireOpened } from "./receipt.js";
import { checkedAlone } from "./receiptchecks.js";
import { load } from "./receiptfile.js";
import { requireDictionary } from "./joining.js";
import { refuse } from "./refused.js";
import { deployment, requireUnlocked } from "./session.js";
import { deliveryKeyOf } from "./tally/deliverykey.js";
import { openTally, requireSettled } from "./tally/tallied.js";

const CLIPPED = ["mean.v1", "quantile.v1"];

/** @typedef {import("./receiptchecks.js").Check} Check */
/** @typedef {{bytes: Uint8Array, document: any, result: Uint8Array, checks: Check[]}} Answer */

/**
 * @param {string} request 0x..
 * @param {string} resultHash as the chain has it, by this operator's node
 * @param {{dictionary: object, dictionary_hash: string}} dataset as this operator shows it: sums are read by it
 * @param {import("./tally/beside.js").How} [how]
 * @returns {Promise<Answer>}
 * @throws {Refused} another_receipt, other_keys, result_mismatch, receipt_invalid, envelope_unreadable, opened_elsewhere, ...
 */
export async function openAnswer(request, resultHash, dataset, how) {
  const bytes = await receiptOf(request);
  const receipt = load(bytes);
  if (!equal(receipt.request, bytes32(request, "request"))) anotherReceipt();
  const market = await deployment();
  requireHere(receipt, market);
  const checks = checkedAlone(receipt);
  const [key, signed] = [await keyOf(receipt), bytes32(resultHash, "result_hash")];
  if (receipt.tally !== null) return openSums({ bytes, receipt, checks, key, signed }, dataset, how);
  const opened = await openResult(receipt.sealedResult, key, receipt);
  requireSignedResult(opened, signed);
  requireOpened(receipt, opened);
  const same = "The opened result is the one whose hash the chain keeps, and answers what was asked.";
  return { bytes, document: opened.document, result: opened.result, checks: [...checks, { means: same, why: null }] };
}

async function openSums({ bytes, receipt, checks, key, signed }, { dictionary, dictionary_hash: hash }, how) {
  requireSettled(receipt.settlement.resultHash, signed);
  const opened = await openTally(receipt, key, requireDictionary(dictionary, hash), how);
  const settled = "What the custodians signed is the result whose hash the chain keeps.";
  const found = "Every sum lies where this question's sums lie, with all the noise that there can be.";
  const read = { means: "The data dictionary is the one whose hash this operator names.", why: "That the chain has that hash, only a node tells." };
  return { bytes, ...opened, checks: [...checks, { means: settled, why: null }, { means: found, why: null }, read] };
}

/** @param {string} request 0x.. @returns {Promise<string>} the delivery key of a settled request, as the command line reads it */
export async function deliveryKeyFile(request) {
  const receipt = load(await receiptOf(request));
  return `${toHex((await keyOf(receipt)).raw()).slice(2)}\n`;
}

/** As it was issued: the answer of the server, in its one canonical form. @returns {Promise<Uint8Array>} */
async function receiptOf(request) {
  return canonical(await getJson(`/api/v1/requests/${request}/receipt`));
}

async function keyOf({ chainId, market, terms }) {
  const { root } = await requireUnlocked();
  const key = await root.deliveryKey(chainId, market, terms.salt);
  if (equal(await deliveryKeyOf(Number(terms.lane), key), terms.deliveryKey)) return key;
  const message = "This answer is sealed to a key that the keys in this browser do not make.";
  const remedy = "Bring the key file with which it was asked here, or open it with `usufruct result` and its delivery key.";
  return refuse("other_keys", message, remedy);
}

function requireHere({ chainId, market }, { chainId: here, contracts }) {
  if (chainId !== here || market !== contracts.ResearchMarket) anotherReceipt();
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
