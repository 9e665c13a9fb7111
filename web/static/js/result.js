/** The answer of a settled request: opened with this browser's own key, and held against its receipt and the chain. */

import { getJson } from "./ask.js";
import { bytes32, equal } from "./bytes.js";
import { canonical } from "./canonical.js";
import { openResult, requireSignedResult } from "./delivery.js";
import { requireOpened } from "./receipt.js";
import { checkedAlone } from "./receiptchecks.js";
import { load } from "./receiptfile.js";
import { refuse } from "./refused.js";
import { deployment, requireUnlocked } from "./session.js";

const CLIPPED = ["mean.v1", "quantile.v1"];

/** @typedef {import("./receiptchecks.js").Check} Check */
/** @typedef {{bytes: Uint8Array, document: any, result: Uint8Array, checks: Check[]}} Answer */

/**
 * @param {string} request 0x..
 * @param {string} resultHash as the chain has it, by this operator's node
 * @returns {Promise<Answer>}
 * @throws {Refused} another_receipt, other_keys, result_mismatch, receipt_invalid, envelope_unreadable, ...
 */
export async function openAnswer(request, resultHash) {
  const bytes = await receiptOf(request);
  const receipt = load(bytes);
  if (!equal(receipt.request, bytes32(request, "request"))) anotherReceipt();
  const market = await deployment();
  requireHere(receipt, market);
  const checks = checkedAlone(receipt);
  const opened = await openResult(receipt.sealedResult, await keyOf(receipt), receipt);
  requireSignedResult(opened, bytes32(resultHash, "result_hash"));
  requireOpened(receipt, opened);
  const same = "The opened result is the one whose hash the chain keeps, and answers what was asked.";
  return { bytes, document: opened.document, result: opened.result, checks: [...checks, { means: same, why: null }] };
}

/** As it was issued: the answer of the server, in its one canonical form. @returns {Promise<Uint8Array>} */
async function receiptOf(request) {
  return canonical(await getJson(`/api/v1/requests/${request}/receipt`));
}

async function keyOf({ chainId, market, terms }) {
  const { root } = await requireUnlocked();
  const key = await root.deliveryKey(chainId, market, terms.salt);
  if (equal(await key.publicKey(), terms.deliveryKey)) return key;
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
