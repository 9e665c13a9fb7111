/** Bringing a record: a bundle is read, shown, sealed in this browser, left for a clinic, and followed. */

import { postJson } from "../ask.js";
import { toHex } from "../bytes.js";
import { atBundle, bundleIn, onFile } from "../bundle.js";
import { announce, element, facts, fill, one } from "../dom.js";
import { findings } from "../fhir.js";
import { clearRefusals, formAt, onSubmit, showRefusal } from "../forms.js";
import { draftOf, isOfAnother, requireDictionary, requirePaper, requireStill, sealedFor } from "../joining.js";
import { codeHash, readCode } from "../opening.js";
import { confirmedCommittee, signedFor } from "../pin.js";
import { chosenValues, countedIn, previewOf } from "../preview.js";
import { hasLeft, mayLeave, mayTakeBack, saidProgress, shownProgress } from "../progress.js";
import { refuse } from "../refused.js";
import { copyWanted } from "../savedcopy.js";
import { accountsOf, deployment, placeOf, requireUnlocked, signer, unlocked } from "../session.js";
import { follow } from "../stream.js";
import { underWay } from "../underway.js";
import { requireOwn } from "../whose.js";

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
    showRefusal(form, atBundle(error));
    return;
  }
  fill(one("#found"), previewOf(dictionary, found));
  one("#preview").hidden = false;
  count();
  one("#preview-title").tabIndex = -1;
  one("#preview-title").focus();
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
  const { members, quorum } = await committeeNow();
  one("#custodians").textContent =
    `Will be sealed for ${members.length} custodians, of whom ${quorum} have to act together: ` +
    "your clinic vouches for their keys, and so many at least told this browser the same" +
    `${dictionary.encoding === null ? "" : ", and which key they made together"}. They are shown on the page of the dataset.`;
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
  const [place, committee] = [await placeOf(told.dataset), await committeeNow()];
  const mine = requireStill(paper, committee);
  const whose = { place, patient: told.account, version: now.version };
  const draft = await underWay(one("#under-way"), one("#how-it-goes"), async (how) => {
    const sealed = await sealedFor(keyring.root, dictionary, values, whose, committee, how);
    return draftOf(sealed, mine, how.signal);
  });
  if (draft === null) return one("#seal button").focus();
  const progress = await postJson(`${here}/drafts`, draft);
  forgetValues();
  const copy = await copyWanted();
  fill(one("#said"), copy === null ? "" : element("a", { href: copy.href }, copy.label));
  showProgress({ ...now, progress });
  followProgress();
  one("#progress-title").tabIndex = -1;
  one("#progress-title").focus();
});

function committeeNow() {
  return confirmedCommittee({ isTallied: dictionary.encoding !== null });
}

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
