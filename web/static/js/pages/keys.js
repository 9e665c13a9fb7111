/** The keys of this browser: saved, added to, put under another passphrase, removed. */

import { commandLineKey } from "../commandkey.js";
import { announce, fill, one, onPress } from "../dom.js";
import { accountOf } from "../eip712.js";
import { factList } from "../figures.js";
import { formAt, forget, onSubmit } from "../forms.js";
import { lock, requireStrong, unlock } from "../keyfile.js";
import { forgetKeyFile, forgetPin, keepKeyFile, keyFile, pinned } from "../keystore.js";
import { Refused, refuse } from "../refused.js";
import { save } from "../save.js";
import { changeKeys, forgetUnlocked, stayUnlocked, whoIsSignedIn } from "../session.js";

const MOST_LABEL = 60; // characters

onPress(one("#save"), async () => {
  save("usufruct-keys.json", await keyFile(), "application/json");
  announce(one("#saved"), "Saved with your downloads.");
});

onSubmit(formAt("#import"), async ({ label, passphrase }) => {
  const key = await keyIn(one("#file").files[0]);
  const name = label.trim();
  if (name === "" || name.length > MOST_LABEL) {
    refuse("bad_parameter", "The name is empty or too long.", `Give 1 to ${MOST_LABEL} characters.`, "label");
  }
  const changed = await changeKeys((keyring) => withKey(keyring, name, key), passphrase);
  if ((await whoIsSignedIn()) !== null) await stayUnlocked(changed);
  formAt("#import").reset();
  announce(one("#imported"), `Added: ${accountOf(key)}. Save a new copy of your keys.`);
});

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
  atField("new", () => requireStrong(passphrase));
  if (passphrase !== again) refuse("bad_parameter", "The two are not the same.", "Type it again.", "again");
  const keyring = await unlockedWith(old);
  await keepKeyFile(await lock(keyring, passphrase));
  formAt("#change").reset();
  announce(one("#changed"), "Changed. Copies saved before still open with the old passphrase: save a new one, delete those.");
});

async function unlockedWith(passphrase) {
  try {
    return await unlock(await keyFile(), passphrase);
  } catch (error) {
    throw error instanceof Refused && error.field === "passphrase" ? new Refused({ ...error.reason(), field: "old" }) : error;
  }
}

function atField(field, work) {
  try {
    work();
  } catch (error) {
    throw error instanceof Refused ? new Refused({ ...error.reason(), field }) : error;
  }
}

onSubmit(formAt("#remove"), async ({ word }) => {
  if (word.trim().toLowerCase() !== "remove") {
    refuse("bad_parameter", "The word is not “remove”.", "Type it to confirm.", "word");
  }
  await forgetKeyFile();
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

function marketFacts({ chainId, contracts, token, custodians }) {
  return factList([
    ["Chain", String(chainId)],
    ["Token", `${token.symbol}, at ${token.address}`],
    ...Object.entries(contracts).sort().map(([name, at]) => [name, at]),
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
}

await begin();
