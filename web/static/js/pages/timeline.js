/** The timeline as a file of the patient's own. */

import { facts } from "../dom.js";
import { csv, save } from "../save.js";

const { file, rows } = facts();

document.querySelector("#save")?.addEventListener("click", () => save(file, csv(rows), "text/csv"));
