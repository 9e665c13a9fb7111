/** The button in the head of every page of somebody signed in. */

import { one } from "../dom.js";
import { signOut } from "../session.js";

const button = one("[data-sign-out]");

button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    await signOut();
  } catch {
    button.disabled = false;
    button.textContent = "Not signed out: try again";
  }
});
