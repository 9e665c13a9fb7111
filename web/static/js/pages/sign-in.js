/** Signing in: keys of this browser, made on the spot where there are none, or a wallet. */

import { commandLineKey } from "../commandkey.js";
import { element, facts, fill, one } from "../dom.js";
import { formAt, onSubmit } from "../forms.js";
import { lock, requireStrong, unlock, unlockFile } from "../keyfile.js";
import { Root } from "../keys.js";
import { addKeyFile, keyFile } from "../keystore.js";
import { choiceOf, copyable, joinedTo } from "../ownaccount.js";
import { atField, refuse } from "../refused.js";
import { keepAsSaved, saveCopy } from "../savedcopy.js";
import { NO_DATASET, accountsOf, changeKeys, knownMarket, signIn, stayUnlocked, unlocked, whoIsSignedIn } from "../session.js";
import { localSigner, walletSigner, wallets } from "../wallet.js";

const MOST_FILE = 256 * 1024; // bytes
const DATASET = /^\/(?:me|clinic)\/(0x[0-9a-f]{64})(?:[/?]|$)/;
const { next } = facts();
const isForGuardian = /^\/guardian(?:[/?]|$)/.test(next);
const wanted = isForGuardian ? NO_DATASET : next.startsWith("/me/") ? (DATASET.exec(next)?.[1] ?? null) : null;

/** Shows one part of the page, and puts the reader at its heading. */
function show(id) {
  for (const part of ["unlock-part", "make-part", "save-part", "choose-part", "own-part"]) one(`#${part}`).hidden = part !== id;
  const heading = one(`#${id} h2`);
  heading.tabIndex = -1;
  heading.focus();
}

/** With the keys open: to the account that the next page needs, or to a choice. */
async function goOn(keyring, passphrase) {
  const market = await knownMarket();
  const known = wanted === null ? keyring : await withDataset(keyring, passphrase, wanted);
  const accounts = await accountsOf(known, market);
  const own = accounts.find(({ dataset }) => wanted !== null && dataset === wanted);
  const mayBeAnother = isForGuardian && known.imported.length > 0; // a patient may have appointed a key of the command line
  if (own !== undefined && !mayBeAnother) return passphrase === null ? enterUnlessAnother(known, own) : enter(known, own.key);
  if (accounts.length === 0) return passphrase === null ? askAgain() : noAccount(known, passphrase);
  return choose(known, accounts);
}

/** The same keys, and an address in that dataset. */
async function withDataset(keyring, passphrase, dataset) {
  if ((await joinedTo(keyring, dataset)) === keyring) return keyring;
  if (passphrase === null) return askAgain();
  return changeKeys((kept) => joinedTo(kept, dataset), passphrase); // another tab may have added to what was opened here
}

/** A new address has to be kept in the key file, which takes the passphrase. */
function askAgain() {
  show("unlock-part");
  return new Promise(() => {});
}

/** Where each kind of person goes on; whoever needs a credential or a role makes the account for it here. */
function noAccount(keyring, passphrase) {
  show("choose-part");
  one("#choose-title").textContent = "Your keys are here; no account of theirs is known yet";
  one("#choose").hidden = true;
  one("#no-account").hidden = false;
  onSubmit(formAt("#make-own"), async () => offerOwn(await withDataset(keyring, passphrase, NO_DATASET)));
}

async function offerOwn(keyring) {
  const accounts = await accountsOf(keyring, await knownMarket());
  const own = accounts.find(({ dataset }) => dataset === NO_DATASET);
  fill(one("#own-address"), copyable(localSigner(own.key).address));
  show("own-part");
  one("#own-save").addEventListener("click", saveCopy);
  onSubmit(formAt("#enter-own"), () => enter(keyring, own.key));
}

function choose(keyring, accounts) {
  show("choose-part");
  fill(one("#accounts"), choiceOf(accounts));
  onSubmit(formAt("#choose"), async ({ account }) => {
    if (account === undefined) refuse("bad_parameter", "No account is chosen.", "Choose one.", "account");
    await enter(keyring, accounts[Number(account)].key);
  });
}

/** Nobody typed anything here: another site's link may have led to this page, so another account takes a press. */
async function enterUnlessAnother(keyring, own) {
  const now = await whoIsSignedIn();
  if (now === null || now.account === localSigner(own.key).address) return enter(keyring, own.key);
  choose(keyring, [own]);
  one("#choose-title").textContent = "Sign in as another of your accounts?";
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
  await atField("new", () => requireStrong(passphrase));
  if (passphrase !== again) refuse("bad_parameter", "The two are not the same.", "Type it again.", "again");
  const fresh = { root: Root.generate(), datasets: [], imported: [] };
  const keyring = wanted === null ? fresh : await joinedTo(fresh, wanted); // so that the copy knows it, too
  await addKeyFile(await lock(keyring, passphrase));
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
  const keyring = await atField("brought", () => unlockFile(document, brought), { of: "passphrase" });
  await addKeyFile(document);
  keepAsSaved(document);
  await goOn(keyring, brought);
});

function offerCopy() {
  show("save-part");
  return new Promise((done) => {
    one("#later").addEventListener("click", () => done(), { once: true });
    one("#save").addEventListener("click", async () => done(await saveCopy()), { once: true });
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
