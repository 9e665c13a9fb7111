/** Everything that is this person's: other datasets by the browser's own keys, which the server never learns. */

import { sayNow } from "../acts.js";
import { element, facts, fill, one } from "../dom.js";
import { datasetNames, linkTo } from "../ownaccount.js";
import { NO_DATASET, accountsOf, knownMarket, unlocked } from "../session.js";
import { localSigner } from "../wallet.js";

const { account } = facts();

async function others() {
  const keyring = await unlocked();
  if (keyring === null) return [];
  const accounts = await accountsOf(keyring, await knownMarket(), { earlier: false });
  const isElsewhere = ({ dataset, key }) => dataset !== NO_DATASET && localSigner(key).address !== account;
  return accounts.filter((each) => each.dataset !== null && isElsewhere(each));
}

function link({ dataset, key }, names) {
  return element(
    "li",
    {},
    linkTo(dataset, names),
    element("span", { class: "note" }, ` as ${localSigner(key).address.slice(0, 10)}…`),
  );
}

sayNow();
const found = await others();
one("#others").hidden = found.length === 0;
if (found.length > 0) {
  const names = await datasetNames();
  fill(one("#list"), ...found.map((each) => link(each, names)));
}
