/** A researcher's account: credit and its withdrawal. */

import { offer, sayAt, sayNow, until } from "../acts.js";
import { payee } from "../address.js";
import { getJson, postJson } from "../ask.js";
import { signedInAs } from "../keystore.js";
import { Messages } from "../messages.js";
import { deployment, signer } from "../session.js";

offer("#withdraw", async ({ to }) => {
  const who = await signer();
  const messages = new Messages(await deployment(), who);
  await postJson("/my/messages", { message: await messages.credit(payee(to, "to")) });
  await until(async () => (await getJson(`/api/v1/accounts/${who.address}`)).credit === "0");
  sayAt("Paid out. The chain shows it.");
});

/** Whereto is proposed by this browser: a server could name its own address. */
async function propose() {
  const [field, here] = [document.querySelector("#to"), await signedInAs()];
  if (field !== null && here !== null && field.value === "") field.value = here.account;
}

sayNow();
await propose();
