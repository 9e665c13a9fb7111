/** Everything that is this person's: other datasets by the browser's own keys, which the server never learns. */

import { sayNow } from "../acts.js";
import { getJson } from "../ask.js";
import { element, facts, fill, one } from "../dom.js";
import { NO_DATASET, accountsOf, knownMarket, unlocked } from "../session.js";
import { localSigner } from "../wallet.js";

const { account } = facts();

async function others() {
  const keyring = await unlocked();
  if (keyring === null) return [];
  const accounts = await accountsOf(keyring, await knownMarket());
  const isElsewhere = ({ dataset, key }) => dataset !== NO_DATASET && localSigner(key).address !== account;
  return accounts.filter((each) => each.dataset !== null && isElsewhere(each));
}

/** Of all datasets at once: asking for one would tell that it is somebody's here. */
async function namesOf() {
  const { datasets } = await getJson("/api/v1/datasets");
  return new Map(datasets.map(({ dataset, dictionary }) => [dataset, dictionary?.name]));
}

/** Signing in again is what tells the server, and only about the one that is opened. */
function link({ dataset, key }, names) {
  const next = encodeURIComponent(`/me/${dataset}/enter`);
  const name = names.get(dataset) ?? `Dataset ${dataset.slice(0, 10)}…`;
  return element(
    "li",
    {},
    element("a", { href: `/sign-in?next=${next}` }, name),
    element("span", { class: "note" }, ` as ${localSigner(key).address.slice(0, 10)}…`),
  );
}

sayNow();
const found = await others();
one("#others").hidden = found.length === 0;
if (found.length > 0) {
  const names = await namesOf();
  fill(one("#list"), ...found.map((each) => link(each, names)));
}
