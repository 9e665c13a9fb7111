/** Who signs a revocation of a consent that this browser knows: a key of its key file, or a wallet. */

import { accountsOf } from "./accounts.js";
import { unlock } from "./keyfile.js";
import { refuse } from "./refused.js";
import { localSigner, walletSigner } from "./wallet.js";

/** @param {import("./stopping.js").Kept} own @returns {{chainId: number, contracts: Object<string, string>}} where it is */
export function market({ chain_id: chainId, contracts }) {
  return { chainId, contracts };
}

/** @param {import("./stopping.js").Kept} own @returns {string} whose signature ends it: its guardian's, where this browser is the guardian's */
function signing({ address, guardian = null }) {
  return guardian ?? address;
}

/**
 * @param {import("./stopping.js").Kept} own
 * @param {Uint8Array} file the key file of this browser
 * @param {string} passphrase
 * @returns {Promise<import("./wallet.js").Signer>} the key of that very address, also one that was moved on from; of
 *   this dataset or of none, since that of another one could stop nothing that somebody means here
 * @throws {Refused} wrong_passphrase, other_account
 */
export async function signerIn(own, file, passphrase) {
  const accounts = await accountsOf(await unlock(file, passphrase), market(own));
  const may = accounts.filter(({ dataset }) => (own.guardian ?? null) !== null || dataset === null || dataset === own.dataset);
  const found = may.map(({ key }) => localSigner(key)).find(({ address }) => address === signing(own));
  return found ?? otherAccount(own, "The keys of this browser");
}

/** @param {import("./stopping.js").Kept} own @param {object} provider EIP-1193 @returns {Promise<import("./wallet.js").Signer>} */
export async function walletOf(own, provider) {
  const found = await walletSigner(provider, own.chain_id, { byOwnNode: true });
  return found.address === signing(own) ? found : otherAccount(own, "The wallet's account");
}

function otherAccount(own, whose) {
  const remedy = "Choose that account in the wallet, or bring the key file that has it.";
  return refuse("other_account", `${whose} cannot sign for ${signing(own)}.`, remedy);
}
