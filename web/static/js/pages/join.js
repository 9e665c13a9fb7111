/** Bringing a record: a bundle is read, shown, sealed in this browser, left for a clinic, and followed. */

import { postJson } from "../ask.js";
import { toBase64, toHex } from "../bytes.js";
import { bundleIn, onFile } from "../bundle.js";
import { announce, element, facts, fill, one } from "../dom.js";
import { findings } from "../fhir.js";
import { clearRefusals, formAt, onSubmit, showRefusal } from "../forms.js";
import { isOfAnother, requireDictionary, requirePaper, requireStill, sealedFor } from "../joining.js";
import { parse } from "../json.js";
import { codeHash, readCode, sealOpening } from "../opening.js";
import { confirmedCommittee, signedFor } from "../pin.js";
import { chosenValues, countedIn, previewOf } from "../preview.js";
import { hasLeft, mayLeave, mayTakeBack, saidProgress, shownProgress } from "../progress.js";
import { dump } from "../recordfile.js";
import { Refused, refuse } from "../refused.js";
import { copyWanted } from "../savedcopy.js";
import { accountsOf, deployment, placeOf, requireUnlocked, signer, unlocked } from "../session.js";
import { follow } from "../stream.js";
import { requireOwn } from "../whose.js";

const LARGEST_RECORD = 128 * 1024; // bytes
const told = facts();
const here = `/me/${told.dataset}`;
let now = { progress: told.progress, version: told.version };
let end = null;
let dictionary = null;
let found = null;
let paper = null;

// --- where it is

function showProgress({ progress, version }) {
  const isNews = now.progress?.state !== progress?.state;
  now = { progress, version };
  one("#way").hidden = !hasLeft(progress);
  if (!hasLeft(progress)) return;
  if (isNews) one("#sealing").hidden = true;
  fill(one("#progress"), shownProgress(progress));
  const said = saidProgress(progress);
  if (one("#news").textContent !== said) announce(one("#news"), said);
  one("#onward").hidden = progress.state !== "stored";
  one("#again").hidden = !mayLeave(progress);
  one("#take-back").hidden = !mayTakeBack(progress);
  if (isOver(progress)) stop();
}

one("#again").addEventListener("click", () => {
  one("#sealing").hidden = false;
  one("#asked").scrollIntoView();
});

onSubmit(formAt("#take-back"), async () => {
  const left = await postJson(`${here}/drafts/taken-back`, {});
  stop();
  showProgress(left);
  one("#sealing").hidden = hasLeft(left.progress);
  const where = one("#said");
  announce(where, "Taken back: the record and what was left for the clinic are deleted here. Sealing anew takes another invitation.");
  where.tabIndex = -1;
  where.focus();
});

function isOver({ state }) {
  return state === "stored" || state === "declined";
}

/** While there is something to wait for: a stream holds a place that others need, too. */
function followProgress() {
  stop();
  end = follow(`${here}/progress`, { draft: showProgress }, { otherwise: `${here}/progress/now`, told: showProgress });
}

function stop() {
  end?.();
  end = null;
}

// --- what is sealed

function left() {
  return [...one("#found").querySelectorAll("input:checked")].map(({ value }) => value);
}

function count() {
  announce(one("#counted"), countedIn(found, left()));
}

async function read(file) {
  const form = formAt("#reading");
  clearRefusals(form);
  one("#preview").hidden = true;
  found = null;
  try {
    found = findings(await bundleIn(file), dictionary);
  } catch (error) {
    showRefusal(form, error.field === undefined || error.field === "bundle" ? error : atFile(error));
    return;
  }
  fill(one("#found"), previewOf(dictionary, found));
  one("#preview").hidden = false;
  count();
  one("#preview-title").tabIndex = -1;
  one("#preview-title").focus();
}

/** A refusal names a place in the file; it stands at the file's field, after what it means to a patient. */
function atFile(error) {
  if (!(error instanceof Refused)) return error;
  const message = `That file is no FHIR bundle as this page reads one. For whoever made it: ${error.message}`;
  const remedy = `${error.remedy} You get one from your clinic or insurer: ask for your results as a FHIR R4 bundle in JSON.`;
  return new Refused({ code: error.code, message, remedy, field: "bundle" });
}

one("#found").addEventListener("change", count);
formAt("#reading").addEventListener("submit", (event) => event.preventDefault());

// --- for whom

onSubmit(formAt("#invitation"), async (given) => {
  for (const part of ["#desk", "#last"]) one(part).hidden = true;
  paper = null;
  const code = readCode(given.code);
  const market = await signedFor();
  const answer = await postJson(`${here}/invitations`, { code: toHex(codeHash(code)) });
  const checked = await requirePaper(answer, code, market, told);
  fill(
    one("#desk"),
    element("p", {}, "This invitation is of the clinic with the address ", element("code", { class: "whole" }, checked.desk.issuer), "."),
    element("p", { class: "note" }, "By the code of your paper this browser checked that the clinic saw the same market, desk and custodians as you do now."),
  );
  one("#desk").hidden = false;
  const { members, quorum } = await confirmedCommittee();
  one("#custodians").textContent =
    `Will be sealed for ${members.length} custodians, of whom ${quorum} have to act together: ` +
    "your clinic vouches for their keys, and so many at least told this browser the same. They are shown on the page of the dataset.";
  paper = checked;
  one("#last").hidden = false;
});

onSubmit(formAt("#seal"), async () => {
  const values = chosenValues(found ?? [], left());
  if (Object.keys(values).length === 0) {
    refuse("nothing_to_seal", "There is no value to seal.", "Choose a file with at least one of the values, and leave one in.");
  }
  const keyring = await requireUnlocked();
  if (await isElsewhere(keyring)) return signInHere();
  requireOwn(told, await signer()); // whoever's address it is bound to has the record, its consent and its earnings
  const { root } = keyring;
  const [place, committee] = [await placeOf(told.dataset), await confirmedCommittee()];
  const { code, desk } = requireStill(paper, committee);
  const whose = { place, patient: told.account, version: now.version };
  const { record, secret } = await sealedFor(root, dictionary, values, whose, committee);
  const opening = await sealOpening({ code, secret }, desk.key, record);
  const document = parse(dump(record), { limit: LARGEST_RECORD });
  const draft = { record: document, opening: toBase64(opening), code: toHex(codeHash(code)) };
  const progress = await postJson(`${here}/drafts`, draft);
  forgetValues();
  const copy = await copyWanted();
  fill(one("#said"), copy === null ? "" : element("a", { href: copy.href }, copy.label));
  showProgress({ ...now, progress });
  followProgress();
  one("#progress-title").tabIndex = -1;
  one("#progress-title").focus();
});

/** One address a dataset: with that of another, whoever reads the chain would see that both are one person's. */
async function isElsewhere(keyring) {
  return isOfAnother(await accountsOf(keyring, await deployment()), told.account, told.dataset);
}

function signInHere() {
  location.replace(`/sign-in?next=${here}/join`);
}

/** What was read lives in this page's memory alone, and no longer than it is needed. */
function forgetValues() {
  [found, paper] = [null, null];
  for (const form of ["#reading", "#invitation"]) formAt(form).reset();
  fill(one("#found"));
  for (const part of ["#preview", "#desk", "#last"]) one(part).hidden = true;
}

async function begin() {
  const keyring = await unlocked();
  if (keyring !== null && (await isElsewhere(keyring))) return signInHere();
  try {
    dictionary = requireDictionary(told.dictionary, told.dictionary_hash);
  } catch (error) {
    showRefusal(formAt("#reading"), error);
  }
  if (dictionary !== null) onFile(one("#bundle"), read);
  one("#sealing").hidden = hasLeft(told.progress);
  showProgress(told);
  if (told.progress !== null && !isOver(told.progress)) followProgress();
  return undefined;
}

await begin();
