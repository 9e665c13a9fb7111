/**
 * Accounts as pages list them, and the one that these keys have in no dataset: with it a researcher asks, and a
 * guardian stops. It comes from the root, so that another copy of the same keys makes the same one.
 */

import { NO_DATASET } from "./accounts.js";
import { getJson } from "./ask.js";
import { offerCopy } from "./copy.js";
import { element } from "./dom.js";
import { indexIn } from "./keyring.js";
import { placeOf } from "./session.js";
import { localSigner } from "./wallet.js";

/** @typedef {import("./keyring.js").Keyring} Keyring */

/** @param {Keyring} keyring @returns {Promise<boolean>} whether these keys have their account in no dataset already */
export async function hasOwn(keyring) {
  return indexIn(keyring, await placeOf(NO_DATASET)) !== null;
}

/**
 * @param {Keyring} keyring
 * @param {string} dataset 0x..; NO_DATASET for the account in none
 * @returns {Promise<Keyring>} with an address there; the very same where it has one
 */
export async function joinedTo(keyring, dataset) {
  const place = await placeOf(dataset);
  if (indexIn(keyring, place) !== null) return keyring;
  return { ...keyring, datasets: [...keyring.datasets, { ...place, index: 0 }] };
}

/** @param {Array<{label: string, dataset: string|null, key: Uint8Array}>} accounts @returns {HTMLElement} one of them to be chosen; a single one is */
export function choiceOf(accounts) {
  const shown = accounts.map((each, place) => choice(each, place, accounts.length === 1));
  return element("fieldset", { class: "choices" }, element("legend", {}, "Accounts of these keys"), ...shown);
}

function choice({ label, dataset, key }, place, isChosen) {
  const { address } = localSigner(key);
  const isInNone = dataset === null || dataset === NO_DATASET;
  const more = isInNone ? address : `${address}, in dataset ${dataset.slice(0, 10)}…`;
  const id = `account-${place}`;
  return element(
    "label",
    { class: "choice", for: id },
    element("input", { type: "radio", id, name: "account", value: place, checked: isChosen }),
    element("span", {}, label),
    element("span", { class: "hint" }, more),
  );
}

/** @returns {Promise<Map<string, string|undefined>>} of all datasets at once: asking for one would tell that it is somebody's here */
export async function datasetNames() {
  const { datasets } = await getJson("/api/v1/datasets");
  return new Map(datasets.map(({ dataset, dictionary }) => [dataset, dictionary?.name]));
}

/**
 * Signing in again is what tells the server, and only about the one that is opened.
 * @param {string} dataset
 * @param {Map<string, string|undefined>} names
 * @returns {HTMLElement} leads to it, as the address that it knows this person under
 */
export function linkTo(dataset, names) {
  const next = encodeURIComponent(`/me/${dataset}/enter`);
  return element("a", { href: `/sign-in?next=${next}` }, names.get(dataset) ?? `Dataset ${dataset.slice(0, 10)}…`);
}

/** @param {string} address @returns {HTMLElement} whole, with a button that copies it */
export function copyable(address) {
  const code = element("code", { class: "whole" }, address);
  const shown = element("p", { class: "to-copy" }, code);
  offerCopy(code);
  return shown;
}
