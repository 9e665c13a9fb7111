/** The operator's page: asks the worker to look at one request now. */

import { sayAt, sayNow } from "../acts.js";
import { postJson } from "../ask.js";
import { announce, one, onPress } from "../dom.js";
import { Refused } from "../refused.js";

for (const button of document.querySelectorAll("[data-nudge]")) {
  onPress(button, async () => {
    try {
      await postJson(`/operator/requests/${button.dataset.nudge}/nudge`, {});
      sayAt("The worker was told to look now. What it found shows here in a moment: load the page again.");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      announce(one("#said"), `${error.message} ${error.remedy}`);
    }
  });
}

sayNow();
