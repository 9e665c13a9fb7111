/** The dialog that asks for the passphrase of this browser's keys, on whatever page needs them. */

import { element } from "./dom.js";
import { onSubmit } from "./forms.js";
import { Refused } from "./refused.js";

/**
 * @template T
 * @param {(passphrase: string) => Promise<T>} open refuses a wrong one, which is then typed again
 * @returns {Promise<T>} what it opened
 * @throws {Refused} keys_locked where somebody closed the dialog
 */
export function unlockedInDialog(open) {
  return new Promise((resolve, reject) => {
    const { dialog, form } = passphraseDialog();
    onSubmit(form, async ({ passphrase }) => {
      resolve(await open(passphrase));
      dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      reject(locked());
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

function locked() {
  const remedy = "Type their passphrase to go on.";
  return new Refused({ code: "keys_locked", message: "Your keys are locked.", remedy });
}

function passphraseDialog() {
  const form = element(
    "form",
    { id: "unlock", class: "form", "data-private": true },
    element("h2", { id: "unlock-title" }, "Unlock your keys"),
    element("p", {}, "They lock after 15 minutes, and in each new tab. Your passphrase stays in this browser."),
    element(
      "div",
      { class: "field" },
      element("label", { for: "unlock-passphrase" }, "Passphrase"),
      element("input", { id: "unlock-passphrase", name: "passphrase", type: "password", autocomplete: "current-password", required: true }),
    ),
    element(
      "p",
      { class: "actions" },
      element("button", { class: "button", "data-kind": "primary", type: "submit" }, "Unlock"),
      element("button", { class: "button", "data-kind": "plain", type: "button", on: { click: () => dialog.close() } }, "Not now"),
    ),
  );
  const dialog = element("dialog", { "aria-labelledby": "unlock-title" }, form);
  return { dialog, form };
}
