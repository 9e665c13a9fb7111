/** Taking everything along: ciphertext and history come from the server, values are opened in this browser. */

import { getJson } from "../ask.js";
import { announce, element, facts, fill, one } from "../dom.js";
import { formAt, onSubmit } from "../forms.js";
import { requireDictionary } from "../joining.js";
import { tableOfValues } from "../preview.js";
import { Refused } from "../refused.js";
import { csv, save } from "../save.js";
import { deployment, requireUnlocked } from "../session.js";
import { exportFile, openedValues, timelineRows, valueRows } from "../taking.js";

const told = facts();
const here = `/me/${told.dataset}`;
const NO_VALUES = ["no_record", "other_keys", "record_unreadable", "bad_dictionary", "wrong_dictionary"];
let taken = null;

onSubmit(formAt("#opening"), async () => {
  const { root } = await requireUnlocked();
  const [market, history] = [await deployment(), await getJson(`${here}/history`)];
  const held = await or(() => getJson(`${here}/record`));
  const [values, why] = held.refused ? [null, held.refused] : await valuesOf(held.found, root);
  taken = { ...told, market, held: held.found, values, ...history };
  showTaken(taken, why);
});

async function valuesOf(held, root) {
  const dictionary = requireDictionary(told.dictionary, told.dictionary_hash);
  const { found, refused } = await or(() => openedValues(held, root, dictionary));
  return [found, refused];
}

/** What may be missing is told, and the rest is exported all the same. */
async function or(work) {
  try {
    return { found: await work(), refused: null };
  } catch (error) {
    if (error instanceof Refused && NO_VALUES.includes(error.code)) return { found: null, refused: error };
    throw error;
  }
}

function showTaken({ values, timeline }, why) {
  fill(one("#values"), values === null ? noValues(why) : tableOfValues("Values of your record", values));
  const number = timeline.length;
  one("#happened").textContent = `${number} ${number === 1 ? "entry" : "entries"}, the newest first in the file.`;
  one("#save-values").hidden = values === null;
  one("#opened").hidden = false;
  one("#values-title").tabIndex = -1;
  one("#values-title").focus();
}

function noValues({ message, remedy }) {
  const title = element("p", { class: "notice-title" }, message);
  return element("div", { class: "notice", "data-kind": "info" }, title, element("p", {}, remedy));
}

function onSave(selector, name, content, type) {
  one(selector).addEventListener("click", () => {
    save(name, content(), type);
    announce(one("#saved"), `${name} is with your downloads.`);
  });
}

onSave("#save-json", "usufruct-export.json", () => exportFile(taken), "application/json");
onSave("#save-values", "usufruct-values.csv", () => csv(valueRows(taken.values)), "text/csv");
onSave("#save-timeline", "usufruct-timeline.csv", () => csv(timelineRows(taken.timeline)), "text/csv");
