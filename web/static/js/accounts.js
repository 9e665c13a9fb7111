/** The accounts that a browser's keys make in one market, with the words for each. */

import { toHex } from "./bytes.js";

/** In the place of a dataset: the address of these keys that is in none, by which somebody asks as a researcher or acts as a guardian. */
export const NO_DATASET = `0x${"00".repeat(32)}`;

/** @typedef {import("./keyring.js").Keyring} Keyring */

/**
 * Every account that these keys make, with the words for it.
 * @param {Keyring} keyring
 * @param {{chainId: number, contracts: object}} market keys of datasets of other markets are left out
 * @param {{earlier?: boolean}} [which] `earlier`: also addresses before the one in use, behind it. That a record moved
 *   on from them may be one word alone: somebody has to reach them all the same
 * @returns {Promise<Array<{label: string, dataset: string|null, key: Uint8Array}>>} `dataset` is null for brought keys
 */
export async function accountsOf(keyring, { chainId, contracts }, { earlier = true } = {}) {
  const registry = contracts.DatasetRegistry;
  const here = keyring.datasets.filter((each) => each.chainId === chainId && each.registry === registry);
  const indices = ({ index }) => (earlier ? Array.from({ length: index + 1 }, (_, i) => index - i) : [index]);
  const all = here.flatMap((each) => indices(each).map((index) => ({ each, index })));
  const own = all.map(async ({ each, index }) => ({
    label: labelOf(each, index),
    dataset: toHex(each.dataset),
    key: await keyring.root.patientKey(each, index),
  }));
  return [...(await Promise.all(own)), ...keyring.imported.map(({ label, key }) => ({ label, dataset: null, key }))];
}

function labelOf({ dataset, index: inUse }, index) {
  if (toHex(dataset) === NO_DATASET) return "Research or guardian account";
  return index === inUse ? "Patient" : "Patient, an earlier address";
}
