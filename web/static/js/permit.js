/** ERC-2612: letting the market take its escrow with a signature in place of a transaction. */

import { digest, separator } from "./eip712.js";
import { equal, bytes32 } from "./bytes.js";
import { refuse } from "./refused.js";

/**
 * The token's own domain, held against the separator that it tells.
 * @param {{name: string, version: string}[]} told what it may call itself, the likeliest first
 * @param {number|bigint} chainId
 * @param {string} token
 * @param {Uint8Array|string} toldSeparator its DOMAIN_SEPARATOR
 * @returns {import("./eip712.js").Domain}
 * @throws {Refused} no_permit
 */
export function permitDomain(told, chainId, token, toldSeparator) {
  const wanted = bytes32(toldSeparator, "DOMAIN_SEPARATOR");
  const domains = told.map(({ name, version }) => ({ name, version, chainId, verifyingContract: token }));
  const found = domains.find((domain) => equal(separator(domain), wanted));
  if (found !== undefined) return found;
  const message = "The market's token takes no permit (ERC-2612): it signs for a domain that it does not tell.";
  return refuse("no_permit", message, "Approve the market instead; that takes one more transaction.", "token");
}

/**
 * @param {import("./messages.js").Signer} signer the owner
 * @param {import("./eip712.js").Domain} domain
 * @param {{spender: string, value: bigint, nonce: bigint, deadline: number|bigint}} given token units, unix seconds
 * @returns {Promise<unknown[]>} value, deadline, v, r, s: as `openWithPermit` takes it
 * @throws {Refused} no_permit where a contract wallet signed: a token asks for a key's signature
 */
export async function permitOf(signer, domain, { spender, value, nonce, deadline }) {
  const values = { owner: signer.address, spender, value, nonce, deadline };
  digest("Permit", values, domain);
  const signature = await signer.sign("Permit", values, domain);
  if (signature.length === 65) {
    return [value, deadline, signature[64], signature.slice(0, 32), signature.slice(32, 64)];
  }
  const message = "The market's token takes no permit (ERC-2612) of a contract wallet.";
  return refuse("no_permit", message, "Approve the market instead; that takes one more transaction.", "token");
}
