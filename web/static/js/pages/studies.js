/** Announced studies: rest for one of them, which rests the consent now. */

import { keepStudy, offerPauses, rest, sayNow } from "../acts.js";
import { facts } from "../dom.js";
import { onSubmit } from "../forms.js";

const own = facts();

offerPauses(own);

for (const form of document.querySelectorAll(".rest-for")) {
  onSubmit(form, async () => {
    keepStudy(own, Number(form.dataset.until));
    await rest(own, "Resting. The chain shows it: this study cannot count you. Wake it yourself once the study is over.");
  });
}

sayNow();
