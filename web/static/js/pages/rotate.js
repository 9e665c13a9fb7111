/**
 * Another address for a record: both keys sign, the chain moves everything, then this browser's key file follows. That
 * it moved is this site's word alone, so what the key file leaves behind stays within reach (`accounts.js`).
 */

import { consentNow, sayAt, until } from "../acts.js";
import { postJson } from "../ask.js";
import { bytes32, toHex } from "../bytes.js";
import { facts } from "../dom.js";
import { formAt, onSubmit } from "../forms.js";
import { unlock } from "../keyfile.js";
import { indexIn } from "../keyring.js";
import { keepStopFacts, keyFile, stopFactsOf } from "../keystore.js";
import { Messages } from "../messages.js";
import { refuse } from "../refused.js";
import { changeKeys, deployment, placeOf, signIn, stayUnlocked } from "../session.js";
import { localSigner } from "../wallet.js";
import { requirePage } from "../whose.js";

const own = facts();
const COPY = { href: "/keys", label: "Save a new copy of your key file" };

onSubmit(formAt("#rotate"), async ({ passphrase }) => {
  requirePage(own);
  const { from, to } = await bothKeys(passphrase);
  if (own.state !== "moved") await move(from, to);
  await requireThere(to);
  const keyring = await changeKeys(follow, passphrase);
  await keepAsMoved(from.address);
  const onward = await signIn(to, `/me/${own.dataset}`);
  await stayUnlocked(keyring);
  sayAt(`Moved to ${to.address}. The chain shows it, says this site. The old address stays among the accounts that your keys sign in with; older copies of your key file lead to it alone.`, onward, COPY);
});

/** The key of the address that is signed in, and the next of the same root. @throws {Refused} no_keys, other_account */
async function bothKeys(passphrase) {
  const file = await keyFile();
  if (file === null) refuse("no_keys", "This browser has no keys.", "Bring your key file here, on the page Keys.");
  const [keyring, place] = [await unlock(file, passphrase), await placeOf(own.dataset)];
  const index = indexIn(keyring, place) ?? 0;
  const [from, to] = [await keyring.root.patientKey(place, index), await keyring.root.patientKey(place, index + 1)].map((key) => localSigner(key));
  if (from.address === own.account) return { from, to };
  const message = "The address that is signed in is not the one that these keys use in this dataset.";
  return refuse("other_account", message, "Sign in with the keys of this browser; any other key moves by the command line: usufruct rotate.");
}

async function move(from, to) {
  const messages = new Messages(await deployment(), from);
  const message = await messages.rotation(to, bytes32(own.dataset, "dataset"));
  await postJson(`/me/${own.dataset}/messages`, { message });
  await until(async () => (await consentNow(own)).state === "moved");
}

/** That it has moved is this site's word: with these facts the old address can still be stopped past it. */
async function keepAsMoved(address) {
  const kept = await stopFactsOf({ dataset: own.dataset, address });
  if (kept !== null) await keepStopFacts({ ...kept, state: "moved" });
}

/** Before the key file follows: it must lead to where the record is. @throws {Refused} not_there */
async function requireThere(to) {
  const { record } = await consentNow({ dataset: own.dataset, account: to.address });
  if (record.version > 0 || record.pending_version > 0) return;
  const message = "The next address of these keys has no record here: it was moved to another one.";
  refuse("not_there", message, "Bring the key file of that address, on the page Keys.");
}

function follow(keyring) {
  const datasets = keyring.datasets.map((each) => (toHex(each.dataset) === own.dataset ? { ...each, index: each.index + 1 } : each));
  return { ...keyring, datasets };
}
