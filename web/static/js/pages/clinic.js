/** A clinic's desk: its key, its invitations, and the records that wait for it. */

import { postJson } from "../ask.js";
import { attested, openedDraft } from "../attesting.js";
import { fromHex, equal, toHex } from "../bytes.js";
import { canonical } from "../canonical.js";
import { announce, element, facts, fill, one, onPress } from "../dom.js";
import { clearRefusals, formAt, onSubmit, showRefusal } from "../forms.js";
import { requireDictionary } from "../joining.js";
import { domainOf } from "../messages.js";
import { codeText, newCode } from "../opening.js";
import { confirmedCommittee, signedFor } from "../pin.js";
import { tableOfValues } from "../preview.js";
import { badParameter, refuse, together } from "../refused.js";
import { save } from "../save.js";
import { deployment, placeOf, requireUnlocked, signer, unlocked } from "../session.js";
import { toJson } from "../solidity.js";
import { wholeIn } from "../typed.js";
import { invitationsOf } from "../voucher.js";

const DAY = 86_400;
const told = facts();
const here = `/clinic/${told.dataset}`;
const dictionary = requireDictionary(told.dictionary, told.dictionary_hash);
let open = null;

// --- the desk

onSubmit(formAt("#desk"), async ({ for_days: days }) => {
  const [place, market, issuer] = [await placeOf(told.dataset), await deployment(), await signer()];
  const key = await ownDesk(await requireUnlocked());
  const until = now() + numberIn(days, 1, 365, "for_days") * DAY;
  const values = { dataset: place.dataset, issuer: issuer.address, key, until };
  const signature = await issuer.sign("IssuerDesk", values, domainOf("DatasetRegistry", market));
  await postJson(`${here}/desk`, { desk: toJson("IssuerDesk", values), signature: toHex(signature) });
  location.reload();
});

async function sayWhoseDesk() {
  const keyring = told.desk === null ? null : await unlocked();
  if (keyring === null) return;
  one("#other-keys").hidden = equal(await ownDesk(keyring), fromHex(told.desk.desk.key, "key", 32));
}

// --- invitations

if (told.desk !== null) {
  onSubmit(formAt("#invite"), async ({ number_of_codes: number, days, clinic_name: name }) => {
    const [length, good] = together(() => numberIn(number, 1, 100, "number_of_codes"), () => numberIn(days, 1, 30, "days"));
    const codes = Array.from({ length }, newCode);
    const seen = await seenHere();
    const { invitations } = await postJson(`${here}/invitations`, { ...(await invitationsOf(codes, seen)), days: good });
    const paper = { issuer: seen.issuer, name: name.trim(), expiresAt: invitations[0].expires_at };
    fill(one("#slips"), ...codes.map((code) => slip(codeText(code), paper)));
    one("#made").hidden = false;
    one("#print").focus();
  });
  one("#print").addEventListener("click", () => window.print());
}

/** What this browser knows and confirmed: patients hold against it what this server tells them. */
async function seenHere() {
  const [place, issuer] = [await placeOf(told.dataset), (await signer()).address];
  const desk = await ownDesk(await requireUnlocked());
  if (!equal(desk, fromHex(told.desk.desk.key, "key", 32))) {
    const message = "Your desk was opened with other keys than those of this browser.";
    refuse("other_desk", message, "Bring that key file to this browser, or open the desk anew.");
  }
  const committee = await confirmedCommittee();
  return { market: await signedFor(), dataset: place.dataset, issuer, desk, committee };
}

async function ownDesk({ root }) {
  return (await root.deskKey(await placeOf(told.dataset))).publicKey();
}

function slip(code, { issuer, name, expiresAt }) {
  const until = new Date(Number(expiresAt) * 1_000).toISOString().slice(0, 10);
  return element(
    "section",
    { class: "slip" },
    element("p", {}, `Invitation to bring your record to “${told.name}”`),
    element("p", { class: "slip-code" }, code),
    ...(name === "" ? [] : [element("p", {}, `From ${name}`)]),
    element("p", {}, "Go to ", element("span", { class: "whole" }, `${location.origin}/datasets`), `, choose “${told.name}”, then Take part.`),
    element("p", {}, "You need your results as a file, too: ask us for them as “FHIR, as JSON”."),
    element("p", { class: "note" }, "It is there at once at ", element("span", { class: "whole" }, told.address)),
    element("p", {}, "Our address: ", element("code", { class: "whole" }, issuer)),
    element("p", { class: "note" }, "Type the code yourself, and send it to nobody. If the page says that it shows something else than we saw, seal nothing there: tell us."),
    element("p", { class: "note" }, `Good until ${until}, for one record, for you alone.`),
  );
}

// --- records that wait

for (const button of document.querySelectorAll("[data-open]")) {
  onPress(button, () => show(button.dataset.open));
}

async function show(commitment) {
  const form = formAt("#opening");
  clearRefusals(form);
  forgetDraft();
  try {
    const { root } = await requireUnlocked();
    const place = await placeOf(told.dataset);
    const draft = await postJson(`${here}/drafts/${commitment}/open`, {});
    const mine = { commitment, draft };
    open = mine;
    one("#draft").hidden = false;
    const seen = await openedDraft(draft, { place, desk: await root.deskKey(place), dictionary });
    if (open !== mine) return; // another was asked for meanwhile
    open = { ...mine, place, root, ...seen };
  } catch (error) {
    showRefusal(form, error);
    return;
  }
  formAt("#attest").hidden = false;
  showOpened(open);
}

function showOpened({ code, shown }) {
  fill(one("#draft-code"), "It came with the invitation ", element("code", {}, code), ". Look up to whom you gave it.");
  fill(one("#draft-values"), tableOfValues("Values of this record", shown));
  one("#draft-title").tabIndex = -1;
  one("#draft-title").focus();
}

/** As it came, sealed: for `usufruct attest`. */
one("#save-draft").addEventListener("click", () => {
  if (open === null) return;
  const { record, opening } = open.draft;
  save(`draft-${open.commitment}.json`, canonical({ record, opening }), "application/json");
});

/** What was opened lives in this page's memory alone; nothing can be attested that is not open. */
function forgetDraft() {
  open = null;
  formAt("#attest").hidden = true;
  fill(one("#draft-values"));
  fill(one("#draft-code"));
  one("#draft").hidden = true;
}

onSubmit(formAt("#attest"), async ({ number }) => {
  if (!open?.record) return refuse("nothing_open", "No record is open.", "Open one of those that wait.");
  const { commitment, place, root, record } = open;
  const person = await root.person(place, number);
  const word = await attested(record, person, await signer(), await deployment(), now());
  const { state } = await postJson(`${here}/drafts/${commitment}/attest`, word);
  finish(commitment, state === "stored" ? "Attested; the custodians hold it." : "Attested; it goes on by itself.");
});

onSubmit(formAt("#decline"), async ({ why }) => {
  if (open === null) return refuse("nothing_open", "No record is open.", "Open one of those that wait.");
  if (why === "") return badParameter("why", "is not chosen", "Choose the reason that fits.");
  await postJson(`${here}/drafts/${open.commitment}/decline`, { why });
  finish(open.commitment, "Declined, and deleted here.");
});

function finish(commitment, said) {
  forgetDraft();
  for (const form of ["#attest", "#decline"]) formAt(form).reset();
  const row = document.querySelector(`[data-open="${commitment}"]`)?.closest("tr");
  const frame = row?.closest(".table-frame");
  row?.remove();
  if (frame?.querySelector("tbody tr") === null) frame.remove(); // a head over nothing
  one("#look-again").hidden = false;
  announce(one("#done"), said);
}

function numberIn(text, least, most, field) {
  const number = Number(wholeIn(text) ?? Number.NaN);
  if (number >= least && number <= most) return number;
  return badParameter(field, `is no whole number from ${least} to ${most}`, "Correct it.");
}

function now() {
  return Math.floor(Date.now() / 1_000);
}

await sayWhoseDesk();
