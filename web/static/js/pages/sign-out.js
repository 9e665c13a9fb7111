/** The button in the head of every page of somebody signed in. */

import { one, onPress } from "../dom.js";
import { leaveWithOthers, signOut } from "../session.js";

const button = one("[data-sign-out]");

leaveWithOthers();

onPress(button, async () => {
  button.disabled = true;
  try {
    await signOut();
  } catch {
    button.disabled = false;
    button.textContent = "Not signed out: try again";
  }
});
