/**
 * Stopping straight from a wallet: past this site and every custodian. Where the contract is, this browser was told
 * some day, and a call to an address without code "succeeds": so the contract itself has to say that it is done.
 */

import { bytes32, toHex } from "./bytes.js";
import { callData } from "./call.js";
import { keccakText } from "./hash.js";
import { refuse } from "./refused.js";

const REVOKED = toHex(keccakText("Revoked(address,bytes32,uint32)"));

/**
 * Returns once the wallet's own node shows it in a block.
 * @param {import("./stopping.js").Kept} own
 * @param {import("./wallet.js").Signer} wallet looks by its own node (`byOwnNode`)
 * @throws {Refused} no_contract, not_stopped, transaction_failed; whatever the wallet refuses
 */
export async function revokeByWallet(own, wallet) {
  const to = own.contracts.ConsentRegistry;
  requireCode(await wallet.codeAt(to), to);
  const receipt = await wallet.send({ to, data: callData("ConsentRegistry.revoke", [own.address, bytes32(own.dataset, "dataset")]) });
  if ((receipt?.logs ?? []).some((log) => isOf(log, own, to))) return;
  const message = "The transaction is in a block, but the contract does not say that this consent is revoked.";
  refuse("not_stopped", message, OTHERWISE);
}

const OTHERWISE = "Take another way on this page, and compare the contract's address with the one that the market's operator publishes elsewhere.";

function requireCode(code, to) {
  if (typeof code === "string" && code.length > 2) return;
  refuse("no_contract", `By the wallet's node there is no contract at ${to}, so nothing was sent.`, OTHERWISE);
}

/** Revoked(address indexed patient, bytes32 indexed dataset, uint32 sequence), of that contract. */
function isOf({ address: by, topics }, own, to) {
  const patient = `0x${own.address.slice(2).padStart(64, "0")}`;
  const wanted = [to, REVOKED, patient, own.dataset];
  const told = [by, ...(topics ?? [])];
  return told.length === wanted.length && wanted.every((each, i) => String(told[i]).toLowerCase() === each.toLowerCase());
}
