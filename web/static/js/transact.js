/** Calls of this market's contracts, signed and paid for by the account that is signed in. */

import { callData } from "./call.js";
import { deployment, signer } from "./session.js";

/**
 * Returns once it is in a block.
 * @param {string} name `Contract.function`, one of CALLS
 * @param {unknown[]} values as `encode` takes them
 * @throws {Refused} what the contract refuses it with; and whatever signing and sending meet
 */
export async function transact(name, values) {
  const { contracts } = await deployment();
  const [contract] = name.split(".");
  const who = await signer();
  await who.send({ to: contracts[contract], data: callData(name, values) });
}

/** The account that will sign: for what depends on it. @returns {Promise<string>} checksummed */
export async function sender() {
  return (await signer()).address;
}
