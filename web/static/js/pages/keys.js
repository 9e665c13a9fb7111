/** The keys of this browser: saved, added to, put under another passphrase, removed. */

import { commandLineKey } from "../commandkey.js";
import { announce, element, fill, one, onPress } from "../dom.js";
import { accountOf } from "../eip712.js";
import { factList, table } from "../figures.js";
import { formAt, forget, onSubmit } from "../forms.js";
import { lock, requireStrong, unlock } from "../keyfile.js";
import { forgetKeyFile, forgetPin, keepKeyFile, keyFile, pinned } from "../keystore.js";
import { copyable, datasetNames, hasOwn, joinedTo, linkTo } from "../ownaccount.js";
import { atField, refuse } from "../refused.js";
import { copyWanted, forgetCopy, saveCopy } from "../savedcopy.js";
import { NO_DATASET, accountsOf, changeKeys, forgetUnlocked, knownMarket, requireUnlocked, stayUnlocked, unlocked, whoIsSignedIn } from "../session.js";
import { localSigner } from "../wallet.js";

const MOST_LABEL = 60; // characters

onPress(one("#save"), async () => {
  await saveCopy();
  announce(one("#saved"), "Saved with your downloads.");
});

onSubmit(formAt("#import"), async ({ label, passphrase }) => {
  const key = await keyIn(one("#file").files[0]);
  const name = label.trim();
  if (name === "" || name.length > MOST_LABEL) {
    refuse("bad_parameter", "The name is empty or too long.", `Give 1 to ${MOST_LABEL} characters.`, "label");
  }
  const changed = await changeKeys((keyring) => withKey(keyring, name, key), passphrase);
  await keepUnlocked(changed);
  formAt("#import").reset();
  announce(one("#imported"), `Added: ${accountOf(key)}. Save a new copy of your keys.`);
  one("#now-sign-in").hidden = false;
});

async function keepUnlocked(keyring) {
  if ((await whoIsSignedIn()) !== null) await stayUnlocked(keyring);
  await showAccounts(keyring);
}

// --- what they make

onSubmit(formAt("#list"), async () => showAccounts(await requireUnlocked()));

onSubmit(formAt("#make-own"), async ({ own_passphrase: passphrase }) => {
  const withOwn = (keyring) => joinedTo(keyring, NO_DATASET);
  await keepUnlocked(await atField("own_passphrase", () => changeKeys(withOwn, passphrase), { of: "passphrase" }));
  formAt("#make-own").reset();
  announce(one("#made"), "Made. Its address stands above: give it to the credential authority, then sign in with it. Save a new copy of your keys.");
});

async function showAccounts(keyring) {
  const accounts = await accountsOf(keyring, await knownMarket());
  const names = await datasetNames();
  const where = (dataset) => (dataset === null || dataset === NO_DATASET ? "In no dataset" : linkTo(dataset, names));
  const rows = accounts.map(({ label, dataset, key }) => [label, where(dataset), copyable(localSigner(key).address)]);
  fill(one("#accounts"), rows.length > 0 ? table("Accounts of these keys", ["Account", "Where", "Address"], rows) : "None yet.");
  one("#list").hidden = true;
  one("#own").hidden = await hasOwn(keyring);
}


function withKey(keyring, label, key) {
  if (keyring.imported.some((each) => each.label === label)) {
    refuse("bad_parameter", "There is a key of that name already.", "Give another name.", "label");
  }
  return { ...keyring, imported: [...keyring.imported, { label, key }] };
}

async function keyIn(file) {
  if (file === undefined) {
    refuse("key_file", "There is no key file of the command line.", "Choose the file that `usufruct key` made.", "file");
  }
  const key = await commandLineKey(file);
  return key ?? refuse("key_file", "That file holds no signing key.", "Choose the file that `usufruct key` made.", "file");
}

onSubmit(formAt("#change"), async ({ old, new: passphrase, again }) => {
  await atField("new", () => requireStrong(passphrase));
  if (passphrase !== again) refuse("bad_parameter", "The two are not the same.", "Type it again.", "again");
  const keyring = await atField("old", async () => unlock(await keyFile(), old), { of: "passphrase" });
  await keepKeyFile(await lock(keyring, passphrase));
  formAt("#change").reset();
  announce(one("#changed"), "Changed. Copies saved before still open with the old passphrase: save a new one, delete those.");
});

onSubmit(formAt("#remove"), async ({ word }) => {
  if (word.trim().toLowerCase() !== "remove") {
    refuse("bad_parameter", "The word is not “remove”.", "Type it to confirm.", "word");
  }
  await forgetKeyFile();
  forgetCopy();
  forgetUnlocked();
  forget(formAt("#remove"));
  location.reload();
});

onSubmit(formAt("#forget-market"), async ({ sure }) => {
  if (sure.trim().toLowerCase() !== "forget") {
    refuse("bad_parameter", "The word is not “forget”.", "Type it to confirm.", "sure");
  }
  await forgetPin();
  forget(formAt("#forget-market"));
  location.reload();
});

function whole(address) {
  return element("code", { class: "whole" }, address);
}

function marketFacts({ chainId, contracts, token, custodians }) {
  return factList([
    ["Chain", String(chainId)],
    ["Token", element("span", {}, `${token.symbol}, at `, whole(token.address))],
    ...Object.entries(contracts).sort().map(([name, at]) => [name, whole(at)]),
    ["Custodians", custodians.join(", ")],
  ]);
}

async function showMarket() {
  const pin = await pinned();
  one("#market").hidden = pin === null;
  if (pin !== null) fill(one("#market-facts"), marketFacts(pin));
}

async function begin() {
  await showMarket();
  const has = (await keyFile()) !== null;
  one("#here").hidden = !has;
  one("#none").hidden = has;
  const [copy, keyring] = has ? [await copyWanted("all of these keys"), await unlocked()] : [null, null];
  if (copy !== null) announce(one("#saved"), copy.label);
  if (keyring !== null) await showAccounts(keyring);
}

await begin();
