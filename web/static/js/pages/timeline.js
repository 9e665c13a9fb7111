/** The timeline as a file of the patient's own. */

import { facts, onPress } from "../dom.js";
import { csv, save } from "../save.js";

const { file, rows } = facts();

const button = document.querySelector("#save");
if (button !== null) onPress(button, () => save(file, csv(rows), "text/csv"));
