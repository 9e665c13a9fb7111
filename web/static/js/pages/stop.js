/** The consents that this browser knows, and how each of them is stopped while the operator is down. */

import { canonical } from "../canonical.js";
import { announce, element, fill, one } from "../dom.js";
import { onSubmit } from "../forms.js";
import { keepStopFacts, keyFile, pinned, stopFacts } from "../keystore.js";
import { save } from "../save.js";
import { usable } from "../stopfacts.js";
import { beReady, isReady } from "../stopkit.js";
import { Stopping, sentence } from "../stopping.js";
import { signerIn, walletOf } from "../stopsigner.js";
import { doneBy } from "../stopwords.js";
import { wallets } from "../wallet.js";
import { revokeByWallet } from "../walletstop.js";

const KEY_FILE = "usufruct-keys.json";
const MANIFEST = "usufruct-manifest.json";
/** What a command may be made of: a shell reads nothing else into it. */
const PLAIN = /^[a-zA-Z0-9:/._-]+$/;
const UNKNOWN_PLACE = "This browser does not know which contracts hold it, so nothing can sign for it here. The command line does.";

/** @typedef {import("../stopping.js").Kept} Kept */

function when(seconds) {
  return `${new Date(seconds * 1_000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" })} UTC`;
}

// --- one consent

/** @param {Kept} own @param {number} place @param {Uint8Array|null} file @param {object[]} found wallets */
function consent(own, place, file, found) {
  const id = `consent-${place}`;
  const outcome = element("p", { class: "said", role: "status", tabindex: -1 });
  const words = element("ul", { class: "note", hidden: true });
  const shown = { own, outcome, words };
  return element(
    "section",
    { class: "card stop", "aria-labelledby": `${id} ${id}-whose` },
    element("h2", { id }, own.name),
    element("p", { class: "note", id: `${id}-whose` }, known(own)),
    outcome,
    words,
    ...(own.contracts === null ? [element("p", {}, UNKNOWN_PLACE)] : signing(shown, place, file, found)),
    commandLine(own, file),
  );
}

function signing(shown, place, file, found) {
  const byFile = file === null ? element("p", {}, "This browser has no key file, so a wallet or the command line has to sign.") : byKey(shown, place, file);
  return [byFile, ...found.map((wallet, at) => byWallet(shown, `${place}-${at}`, wallet))];
}

/** One entry keeps no other from being shown. */
function offered(own, place, file, found) {
  try {
    if (own !== null) return consent(own, place, file, found);
  } catch {
    // Told below.
  }
  const text = "What this browser kept of it is spoiled. Open its page on this site once more, or stop it by the command line.";
  return element("section", { class: "card" }, element("h2", {}, "A consent that cannot be read"), element("p", {}, text));
}

function known({ address, guardian = null, state, seen_at: seen, stopped_at: stopped }) {
  const looked = seen === null ? "Not known when you last looked" : `Last looked at ${when(seen)}`;
  const last = stopped === undefined ? looked : `Stopped here ${when(stopped)}`;
  const none = state === "none" && stopped === undefined ? ", when you consented to nothing" : "";
  const as = guardian === null ? "" : ` You are its guardian, as ${guardian}.`;
  const moved = state === "moved" ? " By the site's word it has moved on to another address of yours: stop it there, and here, too, if you doubt that." : "";
  return `Under the address ${address}.${as} ${last}${none}.${moved}`;
}

function byKey(shown, place, file) {
  const id = `passphrase-${place}`;
  const form = element(
    "form",
    { id: `stop-${place}`, "data-private": true, novalidate: true },
    element(
      "div",
      { class: "field" },
      element("label", { for: id }, "Your passphrase"),
      element("p", { class: "hint", id: `${id}-hint` }, "It opens the key file in this browser, and stays here."),
      element("input", { id, name: "passphrase", type: "password", autocomplete: "current-password", required: true, "aria-describedby": `${id}-hint` }),
    ),
    actions(button("Stop now", "danger")),
  );
  onSubmit(form, async ({ passphrase }) => {
    await throughCustodians(shown, await signerIn(shown.own, file, passphrase));
    form.reset();
  });
  return form;
}

function byWallet(shown, id, { name, provider }) {
  const send = element("form", { id: `send-${id}`, novalidate: true }, actions(button("Send it from the wallet", "danger")));
  const sign = element("form", { id: `sign-${id}`, novalidate: true }, actions(button("Sign only, a custodian sends it", "plain")));
  onSubmit(send, async () => {
    await revokeByWallet(shown.own, await walletOf(shown.own, provider));
    await stopped(shown, "Stopped. The wallet's own node shows it on the chain.", shown.own.sequence + 1);
  });
  onSubmit(sign, async () => throughCustodians(shown, await walletOf(shown.own, provider)));
  const text = "If this consent is under an address of your wallet: it goes straight to the contract, asks no custodian, and costs a small fee of the chain.";
  return element("details", {}, element("summary", {}, `With the wallet: ${name}`), element("p", {}, text), send, sign);
}

// --- what is said

async function throughCustodians(shown, signer) {
  fill(shown.words);
  const stopping = new Stopping(shown.own, signer, (word) => hear(shown, stopping, word));
  announce(shown.outcome, "Asking the custodians…");
  await stopping.askAll();
  await conclude(shown, stopping);
}

function hear({ outcome, words }, stopping, { text }) {
  words.hidden = false;
  words.append(element("li", {}, sentence(text)));
  if (stopping.custodians.length === 1) announce(outcome, "One custodian has it. Asking another whether the chain does…");
}

async function conclude(shown, stopping) {
  if (!stopping.isConfirmed) announce(shown.outcome, "");
  await stopped(shown, doneBy(stopping), stopping.sequence);
}

async function stopped({ own, outcome }, text, sequence) {
  announce(outcome, text);
  outcome.focus();
  const kept = { ...own, state: "none", sequence, stopped_at: Math.floor(Date.now() / 1_000) };
  await keepStopFacts(kept);
}

// --- the last resort

function commandLine(own, file) {
  const custodian = own.custodians.find((each) => PLAIN.test(each)) ?? "URL";
  const isGuardian = (own.guardian ?? null) !== null;
  const keys = [`--browser-key ${KEY_FILE}`, ...(isGuardian ? [`--patient ${plain(own.address)}`] : [])];
  const command = [
    "usufruct revoke",
    ...keys,
    `--dataset ${plain(own.dataset)}`,
    "--node URL",
    `--manifest ${MANIFEST}`,
    `--custodian ${custodian}`,
  ].join(" \\\n  ");
  return element(
    "details",
    {},
    element("summary", {}, "By the command line"),
    element("p", {}, "On a computer that has the program, with a node of the chain that you trust in place of URL. Without --custodian, your own account sends and pays."),
    element("pre", { tabindex: 0, "aria-label": "Command" }, element("code", {}, command)),
    element(
      "p",
      { class: "actions" },
      file === null ? "" : saving("Save the key file", KEY_FILE, () => file),
      own.manifest === undefined ? "" : saving("Save the manifest", MANIFEST, () => canonical(own.manifest)),
    ),
    own.manifest === undefined ? element("p", {}, "This browser has no manifest to save: take the one that the market's operator publishes elsewhere.") : "",
  );
}

function plain(text) {
  return PLAIN.test(text) ? text : "…";
}

/** Written at the press: what was kept before may not be writable, which may not keep a consent from being shown. */
function saving(label, name, written) {
  return button(label, "plain", { type: "button", on: { click: () => save(name, written(), "application/json") } });
}

function button(label, kind, attributes = { type: "submit" }) {
  return element("button", { class: "button", "data-kind": kind, ...attributes }, label);
}

function actions(...buttons) {
  return element("p", { class: "actions" }, ...buttons);
}

// --- the page

async function begin() {
  const [file, all, pin, found] = await Promise.all([keyFile(), stopFacts(), pinned(), wallets()]);
  fill(one("#consents"), ...all.map((kept, place) => offered(usable(kept, pin), place, file, found)));
  one("#none").hidden = all.length > 0;
  const kept = (await isReady()) || (await beReady());
  announce(one("#kept"), kept ? "This page is kept in your browser: it opens here whatever is down." : "Your browser does not keep this page. Leave it open, or save your key file for the command line.");
}

await begin();
