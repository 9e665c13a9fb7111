/** Signing in: keys of this browser, made on the spot where there are none, or a wallet. */

import { commandLineKey } from "../commandkey.js";
import { element, facts, fill, one } from "../dom.js";
import { formAt, onSubmit } from "../forms.js";
import { lock, requireStrong, unlock } from "../keyfile.js";
import { indexIn } from "../keyring.js";
import { Root } from "../keys.js";
import { keepKeyFile, keyFile } from "../keystore.js";
import { Refused, refuse } from "../refused.js";
import { save } from "../save.js";
import { NO_DATASET, accountsOf, knownMarket, placeOf, signIn, stayUnlocked, unlocked, whoIsSignedIn } from "../session.js";
import { localSigner, walletSigner, wallets } from "../wallet.js";

const MOST_FILE = 256 * 1024; // bytes
const DATASET = /^\/(?:me|clinic)\/(0x[0-9a-f]{64})(?:[/?]|$)/;
const { next } = facts();
const isForGuardian = /^\/guardian(?:[/?]|$)/.test(next);
const wanted = isForGuardian ? NO_DATASET : next.startsWith("/me/") ? (DATASET.exec(next)?.[1] ?? null) : null;

/** Shows one part of the page, and puts the reader at its heading. */
function show(id) {
  for (const part of ["unlock-part", "make-part", "save-part", "choose-part"]) one(`#${part}`).hidden = part !== id;
  const heading = one(`#${id} h2`);
  heading.tabIndex = -1;
  heading.focus();
}

/** With the keys open: to the account that the next page needs, or to a choice. */
async function goOn(keyring, passphrase) {
  const market = await knownMarket();
  const known = wanted === null ? keyring : await withDataset(keyring, passphrase);
  const accounts = await accountsOf(known, market);
  const own = accounts.find(({ dataset }) => wanted !== null && dataset === wanted);
  const mayBeAnother = isForGuardian && known.imported.length > 0; // a patient may have appointed a key of the command line
  if (own !== undefined && !mayBeAnother) return passphrase === null ? enterUnlessAnother(known, own) : enter(known, own.key);
  if (accounts.length === 0) return noAccount();
  return choose(known, accounts);
}

/** The same keys, and an address in the dataset that the next page is about. */
async function withDataset(keyring, passphrase) {
  const place = await placeOf(wanted);
  if (indexIn(keyring, place) !== null) return keyring;
  if (passphrase === null) return askAgain();
  const joined = { ...keyring, datasets: [...keyring.datasets, { ...place, index: 0 }] };
  await keepKeyFile(await lock(joined, passphrase));
  return joined;
}

/** A new address has to be kept in the key file, which takes the passphrase. */
function askAgain() {
  show("unlock-part");
  return new Promise(() => {});
}

function noAccount() {
  show("choose-part");
  one("#choose-title").textContent = "Your keys are made; they have no account here yet";
  const way = (href, label, rest) => element("li", {}, element("a", { href }, label), rest);
  one("#choose").replaceWith(
    element(
      "ul",
      { class: "links" },
      way("/datasets", "You are a patient:", " choose the dataset that your clinic told you of, and take part there."),
      way("/keys", "You are a researcher, clinic or steward:", " add your key file of the command line to these keys, and sign in again."),
    ),
  );
}

function choose(keyring, accounts) {
  show("choose-part");
  const shown = accounts.map((account, i) => choice(account, i));
  fill(one("#accounts"), element("fieldset", { class: "choices" }, element("legend", {}, "Accounts of these keys"), ...shown));
  onSubmit(formAt("#choose"), async ({ account }) => {
    if (account === undefined) refuse("bad_parameter", "No account is chosen.", "Choose one.", "account");
    await enter(keyring, accounts[Number(account)].key);
  });
}

function choice({ label, dataset, key }, i) {
  const { address } = localSigner(key);
  const isInNone = dataset === null || dataset === NO_DATASET;
  const more = isInNone ? address : `${address}, in dataset ${dataset.slice(0, 10)}…`;
  return element(
    "label",
    { class: "choice", for: `account-${i}` },
    element("input", { type: "radio", id: `account-${i}`, name: "account", value: i }),
    element("span", {}, label),
    element("span", { class: "hint" }, more),
  );
}

/** Nobody typed anything here: another site's link may have led to this page, so another account takes a press. */
async function enterUnlessAnother(keyring, own) {
  const now = await whoIsSignedIn();
  if (now === null || now.account === localSigner(own.key).address) return enter(keyring, own.key);
  choose(keyring, [own]);
  one("#choose-title").textContent = "Sign in as another of your accounts?";
  one("#account-0").checked = true;
  const text = `You are signed in as ${now.account}. If you did not ask for another account, leave this page.`;
  one("#accounts").prepend(element("p", {}, text));
  return undefined;
}

async function enter(keyring, key) {
  const onward = await signIn(localSigner(key), next);
  await stayUnlocked(keyring);
  location.assign(onward);
}

// --- the parts

onSubmit(formAt("#unlock-keys"), async ({ passphrase }) => {
  await goOn(await unlock(await keyFile(), passphrase), passphrase);
});

onSubmit(formAt("#make"), async ({ new: passphrase, again }) => {
  requireStrongHere(passphrase, "new");
  if (passphrase !== again) refuse("bad_parameter", "The two are not the same.", "Type it again.", "again");
  const keyring = { root: Root.generate(), datasets: [], imported: [] };
  await keepKeyFile(await lock(keyring, passphrase));
  await offerCopy();
  await goOn(keyring, passphrase);
});

onSubmit(formAt("#bring"), async ({ brought }) => {
  const [file] = one("#file").files;
  if (file === undefined || file.size > MOST_FILE) {
    refuse("bad_parameter", "There is no key file.", "Choose the file that you saved.", "file");
  }
  if ((await commandLineKey(file)) !== null) {
    const remedy = "Make keys here first; then add this file to them on the page Keys.";
    refuse("key_file", "That is a key of the command line, not a saved key file of a browser.", remedy, "file");
  }
  const document = new Uint8Array(await file.arrayBuffer());
  const keyring = await renamed(() => unlock(document, brought), "brought");
  await keepKeyFile(document);
  await goOn(keyring, brought);
});

function requireStrongHere(passphrase, field) {
  try {
    requireStrong(passphrase);
  } catch (error) {
    throw error instanceof Refused ? new Refused({ ...error.reason(), field }) : error;
  }
}

async function renamed(work, field) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Refused && error.field === "passphrase") throw new Refused({ ...error.reason(), field });
    throw error;
  }
}

function offerCopy() {
  show("save-part");
  return new Promise((done) => {
    one("#later").addEventListener("click", () => done(), { once: true });
    one("#save").addEventListener("click", async () => done(save("usufruct-keys.json", await keyFile(), "application/json")), { once: true });
  });
}

async function offerWallets() {
  const found = await wallets();
  one("#wallet-part").hidden = found.length === 0;
  const shown = found.map(({ name }, i) =>
    element(
      "label",
      { class: "choice", for: `wallet-${i}` },
      element("input", { type: "radio", id: `wallet-${i}`, name: "wallet", value: i }),
      element("span", {}, name),
    ),
  );
  fill(one("#wallets"), element("fieldset", { class: "choices" }, element("legend", {}, "Wallets of this browser"), ...shown));
  onSubmit(formAt("#wallet"), async ({ wallet }) => {
    if (wallet === undefined) refuse("bad_parameter", "No wallet is chosen.", "Choose one.", "wallet");
    const { chainId } = await knownMarket();
    const who = await walletSigner(found[Number(wallet)].provider, chainId);
    const keyring = await unlocked();
    const onward = await signIn(who, next);
    if (keyring !== null) await stayUnlocked(keyring);
    location.assign(onward);
  });
}

async function begin() {
  const keyring = await unlocked();
  if (keyring !== null) await goOn(keyring, null);
  else show((await keyFile()) === null ? "make-part" : "unlock-part");
  await offerWallets();
}

await begin();
