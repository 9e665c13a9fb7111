/** What a receipt proves: computed here, and compared with what this operator says that the chain has. */

import { getJson } from "../ask.js";
import { onFile } from "../bundle.js";
import { toHex } from "../bytes.js";
import { canonical } from "../canonical.js";
import { element, fill, one, onPress } from "../dom.js";
import { amount, badge, factList, grouped } from "../figures.js";
import { clearRefusals, formAt, onSubmit, showRefusal } from "../forms.js";
import { checkedAlone, compared } from "../receiptchecks.js";
import { LARGEST, load } from "../receiptfile.js";
import { Refused, refuse } from "../refused.js";
import { save } from "../save.js";
import { deployment } from "../session.js";

const FIELD = "receipt";
const PLAIN_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/; // that a shell takes as it is
const form = formAt("#check");
const input = /** @type {HTMLInputElement} */ (one("#receipt"));

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

async function verified() {
  one("#found").hidden = true;
  const { name = "" } = input.files[0] ?? {};
  one("#file").textContent = PLAIN_NAME.test(name) ? name : "receipt.json";
  const receipt = await atField(async () => load(await bytesOf(input.files[0])));
  const alone = await atField(() => checkedAlone(receipt));
  const anchored = await anchoredIn(receipt);
  fill(one("#alone"), ...alone.map(({ means, why }) => line(why === null ? "Holds" : "Needs a node", why === null, `${means} ${why ?? ""}`)));
  fill(one("#anchored"), ...anchored.map(({ means, holds }) => line(holds ? "Agrees" : "Differs", holds, means)));
  await tell(receipt, alone.every(({ why }) => why === null), anchored.every(({ holds }) => holds));
}

async function bytesOf(file) {
  if (file === undefined) return refuse("receipt_missing", "There is no file yet.", "Drop a receipt here, or choose it.", FIELD);
  if (file.size > LARGEST) {
    const message = `That file has ${grouped(file.size)} bytes; a receipt has at most ${grouped(LARGEST)}.`;
    return refuse("receipt_too_large", message, "Choose the receipt as it was saved.", FIELD);
  }
  return new Uint8Array(await file.arrayBuffer());
}

/** Whatever a receipt is refused for is said at the one field there is. */
async function atField(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    throw new Refused({ ...error.reason(), field: FIELD });
  }
}

/** Of a request of another market this operator has nothing to say. */
async function anchoredIn(receipt) {
  const { chainId, contracts } = await deployment();
  const means = "It is a receipt of the market that these pages belong to.";
  if (receipt.chainId !== chainId || receipt.market !== contracts.ResearchMarket) return [{ means, holds: false }];
  return [{ means, holds: true }, ...compared(receipt, await getJson(`/verify/${toHex(receipt.request)}`))];
}

function line(label, isGood, text) {
  return element("li", {}, badge(label, isGood ? "good" : "bad"), ` ${text}`);
}

async function tell(receipt, isWhole, agrees) {
  const [title, means] = verdict(isWhole, agrees);
  one("#verdict").textContent = title;
  one("#verdict-means").textContent = means;
  fill(one("#states"), factList(await statements(receipt)));
  one("#found").hidden = false;
  one("#verdict").focus();
}

function verdict(isWhole, agrees) {
  if (!agrees) return ["Do not rely on it", "It does not agree with what this operator says that the chain has. One of the two is wrong: ask a node of your own."];
  if (!isWhole) return ["Not decided here", "A signature is not by the key that is named. Where that custodian is a contract wallet, only a node can tell."];
  return ["It holds together, and agrees with this operator's node", "On whose word that is stands below; with a node of your own you need nobody's."];
}

/** What it states, if it is true. */
async function statements({ request, researcher, analysis, parameters, cohort, cost, price, fee, terms, signatures, committee }) {
  const { token } = await deployment();
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
