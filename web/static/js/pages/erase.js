/** Erasing a record: signed in this browser, carried by the operator, then asked of each custodian. */

import { getElsewhere, getJson, postJson } from "../ask.js";
import { bytes32 } from "../bytes.js";
import { announce, facts, fill, one } from "../dom.js";
import { Erasing } from "../erasing.js";
import { formAt, onSubmit } from "../forms.js";
import { stopFactsOf } from "../keystore.js";
import { Messages } from "../messages.js";
import { refuse } from "../refused.js";
import { deployment, knownMarket } from "../session.js";
import { stages } from "../stages.js";
import { listed, named } from "../stopwords.js";
import { requireOwn, stopSigner } from "../whose.js";

const AGAIN = 3_000; // milliseconds
const told = facts();
const here = `/me/${told.dataset}`;
const asked = told.commitment === null ? `${here}/erasure` : `${here}/erasure?commitment=${told.commitment}`;
const SIGNED = `erasure ${here}`;
/** Of a site that says nothing. */
const NOTHING_TOLD = { erased: false, final: false, deleted: null };
const known = await stopFactsOf({ dataset: told.dataset, address: told.account });
const name = known?.name ?? told.name;
const { custodians } = await deployment().catch(knownMarket);
/** As it was signed in this tab, so that custodians can be asked whether the chain has it. */
const erasing = new Erasing(custodians, { isKnown: known !== null, before: JSON.parse(sessionStorage.getItem(SIGNED) ?? "null") });

onSubmit(formAt("#erase"), async ({ confirmation }) => {
  if (confirmation.trim() !== name) {
    refuse("bad_parameter", "That is not the name of the dataset.", `Type ${name} to erase your record in it.`, "confirmation");
  }
  const market = await knownMarket();
  const who = await stopSigner(market);
  requireOwn(told, who);
  const message = await new Messages(market, who).erasure(bytes32(told.dataset, "dataset"), told.version);
  await handIn(message, who.dataset === told.dataset);
  formAt("#erase").reset();
  one("#asking").hidden = true;
  one("#after").hidden = false;
  one("#gone-title").tabIndex = -1;
  one("#gone-title").focus();
  await follow();
});

/** To this site, and to custodians, who carry it where it did not. @throws {Refused} this site's, where they do not */
async function handIn(message, isDerived) {
  const refused = await postJson(`${here}/messages`, { message }).then(() => null, (error) => error);
  erasing.begin(message, isDerived);
  await erasing.ask();
  if (refused !== null && !erasing.isConfirmed) throw refused;
  keep();
}

function keep() {
  if (erasing.kept.erasure !== null) sessionStorage.setItem(SIGNED, JSON.stringify(erasing.kept));
}

/** Looks again until all of it is gone, as far as anybody can tell. */
async function follow() {
  for (;;) {
    const isOver = await look().catch(() => false);
    if (isOver) return;
    await new Promise((done) => setTimeout(done, AGAIN));
  }
}

async function look() {
  const { erased, final, deleted } = await getJson(asked).catch(() => NOTHING_TOLD);
  await erasing.ask();
  keep();
  const said = final ? await Promise.all(custodians.map(isDone)) : custodians.map(() => false);
  const steps = [
    { label: "Erased on chain", means: whoSays(erased), state: erased || erasing.isConfirmed ? "done" : "now" },
    { label: "Final", means: "No later block can take it back.", state: final ? "done" : erased ? "now" : "ahead" },
    ...said.map((done, place) => custodian(place, done, final)),
    ...operatorsCopy(deleted, final),
  ];
  fill(one("#gone"), stages(steps, "What is gone"));
  const number = said.filter(Boolean).length;
  announce(one("#said"), `${number} of ${said.length} custodians say that their share is destroyed.`);
  return final && said.every(Boolean) && deleted !== false;
}

function whoSays(erased) {
  const names = [...(erased ? ["this site"] : []), ...erasing.seeing.map(named)];
  const ended = names.length === 0 ? "Nobody shows it yet." : `Your consent ended with it. So says ${listed(names)}.`;
  const more = erasing.isConfirmed ? " Each looked for itself." : " Not yet confirmed by two custodians.";
  return erasing.kept.erasure === null ? ended : `${ended}${more}`;
}

function custodian(place, done, final) {
  const label = `Custodian ${place + 1}`;
  if (done) return { label, means: "By its own word it has carried out every final erasure: its share is destroyed.", state: "done" };
  if (!final) return { label, means: "Destroys its share as soon as the erasure is final.", state: "ahead" };
  return { label, means: "Does not answer, or is behind: it destroys its share before it does anything else.", state: "now" };
}

function operatorsCopy(deleted, final) {
  if (deleted === null) return [];
  const label = "The operator's ciphertext";
  if (deleted) return [{ label, means: "Deleted, as the operator says.", state: "done" }];
  const means = "Kept while a study that was frozen before goes on; without shares it opens no more.";
  return [{ label, means, state: final ? "now" : "ahead" }];
}

/** A custodian is ready only once it has destroyed every share whose erasure is final. */
async function isDone(url) {
  try {
    return erasing.mayTell(url) && (await getElsewhere(`${url}/health`)).ready === true;
  } catch {
    return false;
  }
}

if (one("#asking").hidden) await follow();
