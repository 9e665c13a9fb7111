/** One consent: Stop, rest, wake, earnings, guardian. */

import { act, keepForStopping, offer, offerPauses, offerStop, sayAt, sayNow } from "../acts.js";
import { facts } from "../dom.js";
import { refuse } from "../refused.js";

const own = facts();

offerStop(own);
offerPauses(own);

offer("#withdraw", async ({ to }) => {
  const pay = (messages, _, dataset) => messages.withdrawal(dataset, to.trim());
  await act(own, pay, (now) => now.owed === "0");
  sayAt("Paid out. The chain shows it.");
});

offer("#appoint", async ({ guardian, expiry, may }) => {
  if (expiry === undefined) refuse("bad_parameter", "No end is chosen.", "Choose one.", "expiry");
  const appoint = (messages, _, dataset) => messages.guardianship(dataset, guardian.trim(), Number(expiry), may === "grant");
  await act(own, appoint, (now) => now.guardian?.expiry === Number(expiry));
  sayAt("Your guardian is appointed. The chain shows it.");
});

offer("#dismiss", async () => {
  await act(own, (messages, _, dataset) => messages.dismissal(dataset), (now) => now.guardian === null);
  sayAt("Dismissed. The chain shows it.");
});

sayNow();
await keepForStopping(own);
