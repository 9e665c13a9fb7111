/** The accounts that a browser's keys make in one market, with the words for each. */

import { toHex } from "./bytes.js";

/** In the place of a dataset: the address of these keys that is in none, by which somebody acts as a guardian. */
export const NO_DATASET = `0x${"00".repeat(32)}`;

/** @typedef {import("./keyring.js").Keyring} Keyring */

/**
 * Every account that these keys make, with the words for it.
 * @param {Keyring} keyring
 * @param {{chainId: number, contracts: object}} market keys of datasets of other markets are left out
 * @param {{earlier?: boolean}} [which] `earlier`: also addresses that were moved on from, behind the one in use
 * @returns {Promise<Array<{label: string, dataset: string|null, key: Uint8Array}>>} `dataset` is null for brought keys
 */
export async function accountsOf(keyring, { chainId, contracts }, { earlier = false } = {}) {
  const registry = contracts.DatasetRegistry;
  const here = keyring.datasets.filter((each) => each.chainId === chainId && each.registry === registry);
  const indices = ({ index }) => (earlier ? Array.from({ length: index + 1 }, (_, i) => index - i) : [index]);
  const all = here.flatMap((each) => indices(each).map((index) => ({ each, index })));
  const own = all.map(async ({ each, index }) => ({
    label: toHex(each.dataset) === NO_DATASET ? "Guardian" : "Patient",
    dataset: toHex(each.dataset),
    key: await keyring.root.patientKey(each, index),
  }));
  return [...(await Promise.all(own)), ...keyring.imported.map(({ label, key }) => ({ label, dataset: null, key }))];
}
