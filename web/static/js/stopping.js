/**
 * Stops a consent without the operator: custodians carry a signed revocation, or a wallet sends it to the contract.
 *
 * One custodian's word may be a lie, so that "stopped" takes two of them, each with a view of the chain of its own.
 */

import { getJson, postElsewhere } from "./ask.js";
import { bytes32 } from "./bytes.js";
import { callData } from "./call.js";
import { unlock } from "./keyfile.js";
import { Messages } from "./messages.js";
import { Refused, refuse } from "./refused.js";
import { accountsOf } from "./session.js";
import { localSigner, walletSigner } from "./wallet.js";

/** Words of the contract's SupersededRevocation, which says what the chain has (`marketplace.chain.sentences`). */
const IN_FORCE = /\bbut (\d+) is in force\b/;
/** How many have to say so. */
export const ENOUGH = 2;
const OPERATOR = "this site";

/** @typedef {{dataset: string, name: string, address: string, sequence: number, chain_id: number,
 *   contracts: Object<string, string>, custodians: string[], manifest: object, state: string, seen_at: number}} Kept
 *   what this browser keeps of one consent, as `acts.js` puts it there */
/** @typedef {{who: string, yes: boolean, text: string}} Word what one of them said */

/** @param {Kept} own @returns {{chainId: number, contracts: Object<string, string>}} where it is */
function market({ chain_id: chainId, contracts }) {
  return { chainId, contracts };
}

/**
 * @param {Kept} own
 * @param {Uint8Array} file the key file of this browser
 * @param {string} passphrase
 * @returns {Promise<import("./wallet.js").Signer>} the key of that very address
 * @throws {Refused} wrong_passphrase, other_account
 */
export async function signerIn(own, file, passphrase) {
  const accounts = await accountsOf(await unlock(file, passphrase), market(own));
  const found = accounts.map(({ key }) => localSigner(key)).find(({ address }) => address === own.address);
  return found ?? otherAccount(own, "The keys of this browser");
}

/** @param {Kept} own @param {object} provider EIP-1193 @returns {Promise<import("./wallet.js").Signer>} */
export async function walletOf(own, provider) {
  const found = await walletSigner(provider, own.chain_id, { byOwnNode: true });
  return found.address === own.address ? found : otherAccount(own, "The wallet's account");
}

function otherAccount({ address }, whose) {
  const remedy = "Choose that account in the wallet, or bring the key file that has it.";
  return refuse("other_account", `${whose} cannot sign for ${address}.`, remedy);
}

/** Straight to the contract; returns once the wallet's own node shows it in a block. @throws {Refused} */
export async function revokeByWallet(own, wallet) {
  const data = callData("ConsentRegistry.revoke", [own.address, bytes32(own.dataset, "dataset")]);
  await wallet.send({ to: own.contracts.ConsentRegistry, data });
}

/** One revocation, and who says that the chain has it. */
export class Stopping {
  #own;
  #signer;
  #say;
  #message = null;
  #saying = new Set();

  /** @param {Kept} own @param {import("./wallet.js").Signer} signer @param {(word: Word) => void} say */
  constructor(own, signer, say) {
    this.#own = own;
    this.#signer = signer;
    this.#say = say;
  }

  /** @returns {string[]} who says that the chain has it */
  get saying() {
    return [...this.#saying];
  }

  /** @returns {number} the sequence that the chain has once it has this revocation */
  get sequence() {
    return Number(this.#message.message.sequence) + 1;
  }

  /** Asks every custodian in turn, so that one that is honest and there suffices; then this site. @throws {Refused} */
  async askAll() {
    if (this.#message === null) await this.#sign(this.#own.sequence);
    for (const url of this.#own.custodians) {
      this.#hear(await this.#custodian(`the custodian at ${new URL(url).host}`, url));
    }
    this.#hear(await this.#operator());
  }

  async #sign(sequence) {
    const messages = new Messages(market(this.#own), this.#signer);
    this.#message = await messages.revocation(bytes32(this.#own.dataset, "dataset"), sequence);
    this.#saying.clear(); // what anybody said was about another message
  }

  #hear(word) {
    if (word.yes) this.#saying.add(word.who);
    this.#say(word);
  }

  async #custodian(who, url, again = true) {
    try {
      const { message, signer, signature } = this.#message;
      const told = await postElsewhere(`${url}/revocations`, { revocation: message, signer, signature });
      return carried(who, told?.block);
    } catch (error) {
      const current = sequenceIn(error);
      if (current === null) return refusedBy(who, error);
      if (current === this.sequence) return { who, yes: true, text: `${who}: the chain has it.` };
      if (again) return this.#afterAll(who, url, current);
      return refusedBy(who, error);
    }
  }

  /** What this browser knew was old, or this custodian lies: a signature that reaches farther does no harm. */
  async #afterAll(who, url, current) {
    try {
      await this.#sign(current);
    } catch (error) {
      return refusedBy(who, error);
    }
    return this.#custodian(who, url, false);
  }

  async #operator() {
    const { dataset, address } = this.#own;
    try {
      const { state, sequence } = await getJson(`/api/v1/datasets/${dataset}/consents/${address}`);
      const yes = state === "none" && sequence >= this.sequence;
      return { who: OPERATOR, yes, text: yes ? `${OPERATOR}: the chain has it.` : `${OPERATOR}: not on the chain yet.` };
    } catch (error) {
      return refusedBy(OPERATOR, error);
    }
  }
}

function carried(who, block) {
  if (Number.isSafeInteger(block)) return { who, yes: true, text: `${who}: carried, in block ${block}.` };
  return { who, yes: false, text: `${who}: answered something else than a block.` };
}

function sequenceIn(error) {
  if (!(error instanceof Refused) || error.code !== "superseded_revocation") return null;
  const found = IN_FORCE.exec(error.message);
  return found === null ? null : Number(found[1]);
}

function refusedBy(who, error) {
  if (!(error instanceof Refused)) throw error;
  return { who, yes: false, text: `${who}: no. ${error.message}` };
}
