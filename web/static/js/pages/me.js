/** One consent: Stop, rest, wake, earnings, guardian. */

import { act, keepForStopping, offer, offerPauses, sayAt, sayNow } from "../acts.js";
import { address, payee } from "../address.js";
import { facts } from "../dom.js";
import { amount } from "../figures.js";
import { refuse } from "../refused.js";
import { offerStop } from "../revoking.js";
import { deployment } from "../session.js";

const own = facts();

offerStop(own);
offerPauses(own);

offer("#withdraw", async (given) => {
  const to = payee(given.to, "to");
  let paid = "";
  const pay = async (messages, { owed }, dataset) => {
    paid = amount(owed, (await deployment()).token);
    return messages.withdrawal(dataset, to);
  };
  await act(own, pay, (now) => now.owed === "0");
  sayAt(`This site says that ${paid} were paid to ${to}. Custodians know nothing of payments: look in that wallet to be sure.`);
});

offer("#appoint", async ({ guardian: named, expiry, may }) => {
  const guardian = address(named.trim(), "guardian");
  if (expiry === undefined) refuse("bad_parameter", "No end is chosen.", "Choose one.", "expiry");
  const appoint = (messages, _, dataset) => messages.guardianship(dataset, guardian, Number(expiry), may === "grant");
  await act(own, appoint, (now) => now.guardian?.expiry === Number(expiry));
  sayAt("Your guardian is appointed. The chain shows it.");
});

offer("#dismiss", async () => {
  await act(own, (messages, _, dataset) => messages.dismissal(dataset), (now) => now.guardian === null);
  sayAt("Dismissed. The chain shows it.");
});

sayNow();
await keepForStopping(own);
