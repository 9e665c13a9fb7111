/** Erasing a record: signed in this browser, carried by the operator, then asked of each custodian. */

import { getJson, postElsewhere, postJson } from "../ask.js";
import { bytes32 } from "../bytes.js";
import { announce, facts, fill, one } from "../dom.js";
import { formAt, onSubmit } from "../forms.js";
import { Messages } from "../messages.js";
import { Refused, refuse } from "../refused.js";
import { deployment, signer } from "../session.js";
import { stages } from "../stages.js";
import { ENOUGH, listed, named } from "../stopping.js";

const AGAIN = 3_000; // milliseconds
const told = facts();
const here = `/me/${told.dataset}`;
const asked = told.commitment === null ? `${here}/erasure` : `${here}/erasure?commitment=${told.commitment}`;
const SIGNED = `erasure ${here}`;
/** As it was signed in this tab, so that custodians can be asked whether the chain has it: the chain shows it to all. */
let erasure = JSON.parse(sessionStorage.getItem(SIGNED) ?? "null");
/** URLs of custodians that see by themselves that the chain has it. */
const seeing = new Set();

onSubmit(formAt("#erase"), async ({ confirmation }) => {
  if (confirmation.trim() !== told.name) {
    refuse("bad_parameter", "That is not the name of the dataset.", `Type ${told.name} to erase your record in it.`, "confirmation");
  }
  const market = await deployment();
  const messages = new Messages(market, await signer());
  await handIn(await messages.erasure(bytes32(told.dataset, "dataset"), told.version));
  formAt("#erase").reset();
  one("#asking").hidden = true;
  one("#after").hidden = false;
  one("#gone-title").tabIndex = -1;
  one("#gone-title").focus();
  await follow();
});

/** To this site, and to custodians, who carry it where it did not. @throws {Refused} this site's, where they do not */
async function handIn(message) {
  const refused = await postJson(`${here}/messages`, { message }).then(() => null, (error) => error);
  erasure = message;
  await askCustodians();
  if (refused !== null && seeing.size < ENOUGH) throw refused;
  sessionStorage.setItem(SIGNED, JSON.stringify(message));
}

/** Those that have not seen it yet, one after another: the first that does not see it carries it. */
async function askCustodians() {
  if (erasure === null) return;
  for (const url of (await deployment()).custodians) {
    if (!seeing.has(url) && (await sees(url))) seeing.add(url);
  }
}

async function sees(url) {
  try {
    const told = await postElsewhere(`${url}/erasures`, { erasure: erasure.message, signature: erasure.signature });
    return Number.isSafeInteger(told?.block);
  } catch (error) {
    if (error instanceof Refused) return error.code === "nothing_to_erase"; // its own node shows nothing any more
    throw error;
  }
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
  const { erased, final, deleted } = await getJson(asked);
  const { custodians } = await deployment();
  await askCustodians();
  const said = final ? await Promise.all(custodians.map(isDone)) : custodians.map(() => false);
  const steps = [
    { label: "Erased on chain", means: whoSays(erased), state: erased || seeing.size >= ENOUGH ? "done" : "now" },
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
  const names = [...(erased ? ["this site"] : []), ...[...seeing].map(named)];
  const ended = names.length === 0 ? "Nobody shows it yet." : `Your consent ended with it. So says ${listed(names)}.`;
  const more = seeing.size < ENOUGH ? " Not yet confirmed by two custodians." : " Each looked for itself.";
  return erasure === null ? ended : `${ended}${more}`;
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
    return (erasure === null || seeing.has(url)) && (await getJson(`${url}/health`)).ready === true;
  } catch {
    return false;
  }
}

if (one("#asking").hidden) await follow();
