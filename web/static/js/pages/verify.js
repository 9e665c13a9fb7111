/** What a receipt proves: computed here, and compared with what this operator says that the chain has. */

import { getJson } from "../ask.js";
import { onFile } from "../bundle.js";
import { toHex } from "../bytes.js";
import { canonical } from "../canonical.js";
import { element, fill, one, onPress } from "../dom.js";
import { amount, badge, factList, grouped } from "../figures.js";
import { clearRefusals, formAt, onSubmit, showRefusal } from "../forms.js";
import { knownManifest } from "../manifest.js";
import { checkedAlone, compared, isOf, verdictOf } from "../receiptchecks.js";
import { LARGEST, load } from "../receiptfile.js";
import { atField, refuse } from "../refused.js";
import { save } from "../save.js";
import { deployment } from "../session.js";

const FIELD = "receipt";
const PLAIN_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/; // that a shell takes as it is
const VERDICTS = {
  differs: ["Do not rely on it", "It does not agree with what this operator says that the chain has. One of the two is wrong: ask a node of your own."],
  open: ["Not decided here", "Below stands what only a node of your own can tell, or what this operator's node does not tell, or not yet."],
  sums: ["All that a page can check holds", "It holds together and agrees with this operator's node. What a page cannot compute, adding up and decrypting encrypted records, is named below as not checked here, with the commands that do it."],
  holds: ["It holds together, and agrees with this operator's node", "On whose word that is stands below; with a node of your own you need nobody's."],
};
const form = formAt("#check");
const input = /** @type {HTMLInputElement} */ (one("#receipt"));
let round = 0;

onSubmit(form, verified);
onFile(input, () => {
  clearRefusals(form);
  verified().catch((error) => showRefusal(form, error));
});

/** As this operator tells it, for whoever compares it with somebody else's. */
onPress(one("#save-manifest"), async () => {
  const { manifest } = await getJson("/api/v1/market");
  save("manifest.json", canonical(manifest), "application/json");
});

/** A late word about one file never stands beside another. */
async function verified() {
  const mine = ++round;
  one("#found").hidden = true;
  try {
    const found = await judged(input.files[0]);
    if (mine === round) tell(found);
  } catch (error) {
    if (mine === round) throw error;
  }
}

async function judged(file) {
  one("#file").textContent = PLAIN_NAME.test(file?.name ?? "") ? file.name : "receipt.json";
  const receipt = await atField(FIELD, async () => load(await bytesOf(file)));
  const alone = await atField(FIELD, () => checkedAlone(receipt));
  const market = await deployment();
  return { receipt, alone, anchored: await anchoredIn(receipt, market), token: market.token };
}

async function bytesOf(file) {
  if (file === undefined) return refuse("receipt_missing", "There is no file yet.", "Drop a receipt here, or choose it.", FIELD);
  if (file.size > LARGEST) {
    const message = `That file has ${grouped(file.size)} bytes; a receipt has at most ${grouped(LARGEST)}.`;
    return refuse("receipt_too_large", message, "Choose the receipt as it was saved.", FIELD);
  }
  return new Uint8Array(await file.arrayBuffer());
}

/** Of a request of another market this operator has nothing to say. */
async function anchoredIn(receipt, market) {
  const holds = isOf(receipt, market, await knownManifest(market));
  const here = { means: "It is a receipt of the market that this browser knows.", holds };
  return holds ? [here, ...compared(receipt, await getJson(`/verify/${toHex(receipt.request)}`))] : [here];
}

function line(label, isGood, text) {
  return element("li", {}, badge(label, isGood ? "good" : "bad"), ` ${text}`);
}

function compare({ means, holds }) {
  if (holds === null) return element("li", {}, badge("Open", "care"), ` Not told, or not yet: ${means}`);
  return line(holds ? "Agrees" : "Differs", holds, means);
}

function tell({ receipt, alone, anchored, token }) {
  const [title, means] = VERDICTS[verdictOf(alone, anchored)];
  fill(one("#alone"), ...alone.map(({ means: text, why }) => line(why === null ? "Holds" : "Not checked here", why === null, `${text} ${why ?? ""}`)));
  fill(one("#anchored"), ...anchored.map(compare));
  one("#verdict").textContent = title;
  one("#verdict-means").textContent = means;
  fill(one("#states"), factList(statements(receipt, token)));
  one("#sums").hidden = receipt.tally === null;
  one("#sums-file").textContent = one("#file").textContent;
  for (const place of document.querySelectorAll("[data-request]")) place.textContent = toHex(receipt.request);
  one("#found").hidden = false;
  one("#verdict").focus();
}

/** What it states, if it is true. */
function statements({ request, researcher, analysis, parameters, cohort, cost, price, fee, terms, signatures, committee }, token) {
  const link = element("a", { href: `/requests/${toHex(request)}` }, toHex(request));
  return [
    ["Request", link],
    ["Asked by", researcher],
    ["Dataset", element("a", { href: `/datasets/${toHex(terms.dataset)}` }, toHex(terms.dataset))],
    ["Analysis", analysis],
    ["Parameters", parameters],
    ["Patients counted", grouped(cohort.members)],
    ["Privacy cost", `${grouped(cost)} nano-rho of each`],
    ["Paid", `${amount(price, token)} to each, ${amount(fee, token)} to the operator`],
    ["Signed by", `${signatures.length} of ${committee.signers.length} custodians; ${committee.quorum} have to`],
  ];
}
