/** A researcher's account: credit and its withdrawal. */

import { offer, sayAt, sayNow, until } from "../acts.js";
import { getJson, postJson } from "../ask.js";
import { facts } from "../dom.js";
import { Messages } from "../messages.js";
import { deployment, signer } from "../session.js";

const { account } = facts();

offer("#withdraw", async ({ to }) => {
  const messages = new Messages(await deployment(), await signer());
  await postJson("/my/messages", { message: await messages.credit(to.trim()) });
  await until(async () => (await getJson(`/api/v1/accounts/${account}`)).credit === "0");
  sayAt("Paid out. The chain shows it.");
});

sayNow();
