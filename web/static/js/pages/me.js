/** One consent: Stop, rest, wake, earnings, guardian. */

import { act, keepForStopping, offer, offerPauses, sayAt, sayNow } from "../acts.js";
import { address } from "../address.js";
import { facts } from "../dom.js";
import { refuse } from "../refused.js";
import { offerStop } from "../revoking.js";

const own = facts();

offerStop(own);
offerPauses(own);

offer("#withdraw", async (given) => {
  const to = address(given.to.trim(), "to");
  const pay = (messages, _, dataset) => messages.withdrawal(dataset, to);
  await act(own, pay, (now) => now.owed === "0");
  sayAt(`Paid out: the chain shows it, says this site alone. Custodians know nothing of payments; your wallet at ${to} does.`);
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
