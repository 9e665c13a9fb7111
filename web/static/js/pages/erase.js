/** Erasing a record: signed in this browser, carried by the operator, then asked of each custodian. */

import { getElsewhere, getJson, postJson } from "../ask.js";
import { bytes32 } from "../bytes.js";
import { announce, facts, fill, one, onPress } from "../dom.js";
import { Erasing } from "../erasing.js";
import { formAt, onSubmit } from "../forms.js";
import { stopFactsOf } from "../keystore.js";
import { Messages } from "../messages.js";
import { refuse } from "../refused.js";
import { deployment, knownMarket } from "../session.js";
import { stages } from "../stages.js";
import { listed, named } from "../stopwords.js";
import { requireOwn, stopSigner } from "../whose.js";

const AGAIN = 3_000; // milliseconds between two looks
const LATER = 30_000; // milliseconds, once somebody has waited for a while: until it is final takes a chain minutes
const SOON = 20; // looks
const told = facts();
const here = `/me/${told.dataset}`;
const [SIGNED, WHICH] = [`erasure ${here}`, `erased ${here}`];
/** Once it is erased the chain names it no more: whether the operator's copy is gone is asked of the one that was. */
const commitment = told.commitment ?? sessionStorage.getItem(WHICH);
const asked = commitment === null ? `${here}/erasure` : `${here}/erasure?commitment=${commitment}`;
const name = (await stopFactsOf({ dataset: told.dataset, address: told.account }))?.name ?? told.name;
const { custodians } = await deployment().catch(knownMarket);
/** As it was signed in this tab, so that custodians can be asked whether the chain has it. */
const erasing = new Erasing(custodians, told.account, JSON.parse(sessionStorage.getItem(SIGNED) ?? "null"));
let following = false;

onSubmit(formAt("#erase"), async ({ confirmation }) => {
  if (confirmation.trim() !== name) {
    refuse("bad_parameter", "That is not the name of the dataset.", `Type ${name} to erase your record in it.`, "confirmation");
  }
  const market = await knownMarket();
  const who = await stopSigner(market);
  requireOwn(told, who);
  const sign = (version) => new Messages(market, who).erasure(bytes32(told.dataset, "dataset"), version);
  const refused = await erasing.handIn(told.version, sign, (message) => postJson(`${here}/messages`, { message }));
  sessionStorage.setItem(SIGNED, JSON.stringify(erasing.kept)); // whoever has it may carry it, whatever is said now
  if (commitment !== null) sessionStorage.setItem(WHICH, commitment);
  if (refused !== null && erasing.seeing.length === 0) throw refused;
  formAt("#erase").reset();
  one("#asking").hidden = true;
  one("#after").hidden = false;
  one("#gone-title").tabIndex = -1;
  one("#gone-title").focus();
  if (following) await look();
  else follow();
});

onPress(one("#again button"), () => {
  one("#asking").hidden = false;
  one("#confirmation").focus();
});

/** Looks again until all of it is gone, as far as anybody can tell; one at a time. */
async function follow() {
  if (following) return;
  following = true;
  for (let looks = 1; !(await look()); looks++) {
    await new Promise((done) => setTimeout(done, looks < SOON ? AGAIN : LATER));
  }
  following = false;
}

/** What this site says of it. No answer, or one of another shape, says nothing. */
async function siteSays() {
  const said = await getJson(asked).catch(() => null);
  const deleted = typeof said?.deleted === "boolean" ? said.deleted : null;
  return { erased: said?.erased === true, final: said?.final === true, deleted };
}

async function look() {
  const site = await siteSays();
  await erasing.ask();
  const said = await Promise.all(custodians.map(isDone));
  const steps = [
    { label: "Erased on chain", means: whoSays(site), state: erasing.isConfirmed ? "done" : "now" },
    { label: "Final", means: whoSaysFinal(site), state: erasing.isFinal ? "done" : erasing.isConfirmed ? "now" : "ahead" },
    ...said.map((done, place) => custodian(place, done)),
    ...operatorsCopy(site.deleted),
  ];
  fill(one("#gone"), stages(steps, "What is gone"));
  one("#again").hidden = erasing.isConfirmed;
  const number = said.filter(Boolean).length;
  announce(one("#said"), erasing.isSigned ? `${number} of ${said.length} custodians say that their share is destroyed.` : "");
  return erasing.isSigned ? said.every(Boolean) && site.deleted !== false : site.final && site.deleted !== false;
}

function whoSays({ erased }) {
  const names = [...(erased ? ["this site"] : []), ...erasing.seeing.map(named)];
  const ended = names.length === 0 ? "Nobody shows it yet." : `Your consent ended with it. So says ${listed(names)}.`;
  return `${ended}${erasing.isConfirmed ? " Each looked for itself." : " Not confirmed by two custodians."}`;
}

function whoSaysFinal({ final }) {
  const names = [...(final ? ["this site"] : []), ...erasing.final.map(named)];
  return `No later block can take it back.${names.length === 0 ? "" : ` So says ${listed(names)}.`}`;
}

function custodian(place, done) {
  const label = `Custodian ${place + 1}`;
  const url = custodians[place];
  if (done) return { label, means: "By its own word it has carried out every final erasure: its share is destroyed.", state: "done" };
  if (erasing.final.includes(url)) {
    return { label, means: "Sees that it is final, and is behind: it destroys its share before it does anything else.", state: "now" };
  }
  if (erasing.seeing.includes(url)) return { label, means: "Destroys its share as soon as the erasure is final.", state: "ahead" };
  return { label, means: erasing.isSigned ? "Has not said that it sees the erasure." : "Was not asked: that takes your signature.", state: "ahead" };
}

function operatorsCopy(deleted) {
  if (deleted === null) return [];
  const label = "The operator's ciphertext";
  if (deleted) return [{ label, means: "Deleted, as the operator says.", state: "done" }];
  const means = "Kept while a study that was frozen before goes on; without shares it opens no more.";
  return [{ label, means, state: erasing.isFinal ? "now" : "ahead" }];
}

/** By whose view this very erasure is final, and who is ready: that is one only once it has destroyed each such share. */
async function isDone(url) {
  try {
    return erasing.final.includes(url) && (await getElsewhere(`${url}/health`)).ready === true;
  } catch {
    return false;
  }
}

if (one("#asking").hidden) await follow();
