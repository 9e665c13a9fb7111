/**
 * Stops a consent, also without the operator: custodians carry a signed revocation, or a wallet sends it to the contract.
 *
 * One word may be a lie, this site's as well as a custodian's, so that "stopped" takes two, each with a view of the
 * chain of its own.
 */

import { getJson, postElsewhere } from "./ask.js";
import { bytes32 } from "./bytes.js";
import { HIGHEST_TOLD, Messages } from "./messages.js";
import { Refused } from "./refused.js";
import { market } from "./stopsigner.js";

/** Words of the contract's SupersededRevocation, which says what the chain has (`marketplace.chain.sentences`). */
const IN_FORCE = /\bbut (\d+) is in force\b/;
/** How far a consent's sequence comes in a few revocations, each of which reaches 2^20 at most. */
const NEAR = 2 ** 22;
const MOST_SIGNED = 4; // revocations at one press
/** How many have to say so. */
export const ENOUGH = 2;
const OPERATOR = "this site";
const AGAIN = 1_000; // milliseconds between two looks of this site at the chain
const PATIENCE = 180_000; // milliseconds in which it shows what it took
const IN_PASSING = 10_000; // milliseconds, where custodians have said so already

/** @typedef {{dataset: string, name: string, address: string, sequence: number, chain_id: number,
 *   contracts: Object<string, string>, custodians: string[], manifest: object, state: string, seen_at: number,
 *   guardian?: string|null}} Kept
 *   what this browser keeps of one consent, as `acts.js` puts it there */
/** @typedef {{who: string, yes: boolean, text: string}} Word what one of them said */

/**
 * @param {unknown} told a sequence, by somebody
 * @param {number} [kept] what this browser knew last
 * @returns {number} the told one, where it is near; else the kept one: custodians say what it is before more is signed
 */
export function believable(told, kept = 0) {
  return Number.isInteger(told) && told >= 0 && told <= kept + NEAR ? told : kept;
}

/**
 * One revocation, and who says that the chain has it. It may be signed more than once: again, and farther, where what
 * this browser knew turns out to be old. Whoever said yes to one of them has said yes.
 */
export class Stopping {
  #own;
  #signer;
  #say;
  #messages = [];
  #saying = new Set();
  #claims = new Map();
  #carried = 0;

  /**
   * @param {Kept} own
   * @param {import("./wallet.js").Signer} signer of the address itself, or of its guardian
   * @param {(word: Word) => void} say
   */
  constructor(own, signer, say) {
    this.#own = own;
    this.#signer = signer;
    this.#say = say;
  }

  /** @returns {string[]} who says that the chain has it */
  get saying() {
    return [...this.#saying];
  }

  /** @returns {string[]} those of them who are custodians */
  get custodians() {
    return this.saying.filter((who) => who !== OPERATOR);
  }

  /** @returns {boolean} whether this site says so */
  get isShownHere() {
    return this.#saying.has(OPERATOR);
  }

  /** @returns {number} the sequence that the chain has by what was said; of one that nobody has yet, what it leads to */
  get sequence() {
    return this.#carried || after(this.#messages.at(-1));
  }

  /** A guardian's raises the sequence by one, to the one that it names; carried again, to the next. */
  get #least() {
    return after(this.#messages[0]) - (this.#signer.address === this.#own.address ? 0 : 1);
  }

  /** Asks every custodian in turn, so that one that is honest and there suffices; then this site. @throws {Refused} */
  async askAll() {
    await this.#rounds(null, Infinity);
    this.#hear(await this.#operator());
  }

  /**
   * Hands it to this site, then asks custodians until enough of them say that the chain has it, then this site. What
   * one refuses, denies or does not answer holds nothing back: the next one is asked, and carries it where nobody did.
   * @param {(message: object) => Promise<unknown>} carry
   * @throws {Refused} where nothing could be signed
   */
  async askHereFirst(carry) {
    const isTaken = await this.#rounds(carry, ENOUGH);
    const patience = this.custodians.length >= ENOUGH ? IN_PASSING : isTaken ? PATIENCE : 0;
    this.#hear(await this.#operatorWithin(patience));
  }

  /** Once as this browser knows the sequence, then farther for as long as what others say calls for it. */
  async #rounds(carry, enough) {
    let isTaken = false;
    for (let from = this.#own.sequence; from !== null; from = this.#farther()) {
      await this.#sign(from);
      if (carry !== null) isTaken = (await this.#handed(carry)) || isTaken;
      await this.#askCustodians(enough);
    }
    return isTaken;
  }

  async #askCustodians(enough) {
    for (const url of this.#own.custodians) {
      if (this.custodians.length >= enough) return;
      if (!this.#saying.has(named(url))) this.#hear(await this.#custodian(named(url), url));
    }
  }

  /**
   * The sequence to sign for next, or null. That a higher one is in force may be a lie, which signed would reach
   * farther than anybody needs: two have to say so; one word goes on near what this browser knew, or where nobody took
   * what was signed, and then only so far that everything can still be signed afterwards.
   */
  #farther() {
    if (this.#messages.length === MOST_SIGNED) return null;
    const named = Number(this.#messages.at(-1).message.sequence);
    const higher = [...this.#claims.values()].filter((claim) => claim > named).sort((one, other) => other - one);
    if (higher.length >= ENOUGH) return higher[ENOUGH - 1];
    if (higher.length === 0 || this.#saying.size >= ENOUGH) return null;
    const most = this.#saying.size === 0 ? HIGHEST_TOLD : this.#own.sequence + NEAR;
    return higher[0] <= most ? higher[0] : null;
  }

  async #handed(carry) {
    try {
      await carry(this.#messages.at(-1));
      return true;
    } catch (error) {
      this.#hear(this.#denied(OPERATOR, error));
      return false;
    }
  }

  async #operatorWithin(patience) {
    const end = Date.now() + patience;
    for (;;) {
      const word = await this.#operator();
      if (word.yes || Date.now() >= end) return word;
      await new Promise((done) => setTimeout(done, AGAIN));
    }
  }

  async #sign(sequence) {
    const messages = new Messages(market(this.#own), this.#signer);
    const { dataset, address } = this.#own;
    this.#messages.push(await messages.revocation(bytes32(dataset, "dataset"), sequence, address));
  }

  #hear(word) {
    if (word.yes) this.#saying.add(word.who);
    this.#say(word);
  }

  async #custodian(who, url) {
    const { message, signer, signature } = this.#messages.at(-1);
    try {
      const told = await postElsewhere(`${url}/revocations`, { revocation: message, signer, signature });
      return this.#taken(who, told?.block, Number(message.sequence) + 1);
    } catch (error) {
      return this.#denied(who, error);
    }
  }

  #taken(who, block, sequence) {
    if (!Number.isSafeInteger(block)) return { who, yes: false, text: `${who}: answered something else than a block.` };
    this.#carried = Math.max(this.#carried, sequence);
    return { who, yes: true, text: `${who}: carried, in block ${block}.` };
  }

  /** A no; but that a later one than ours is in force is a yes where ours led to it, and else a claim. */
  #denied(who, error) {
    const current = sequenceIn(error);
    if (current === null) return refusedBy(who, error);
    if (after(this.#messages.at(-1)) === current) {
      this.#carried = Math.max(this.#carried, current);
      return { who, yes: true, text: `${who}: the chain has it.` };
    }
    this.#claims.set(who, current);
    return refusedBy(who, error);
  }

  async #operator() {
    const { dataset, address } = this.#own;
    try {
      const { state, sequence } = await getJson(`/api/v1/datasets/${dataset}/consents/${address}`);
      const yes = state === "none" && sequence >= this.#least;
      return { who: OPERATOR, yes, text: yes ? `${OPERATOR}: the chain has it.` : `${OPERATOR}: not on the chain yet.` };
    } catch (error) {
      return refusedBy(OPERATOR, error);
    }
  }
}

/** The sequence that the chain has once it has this revocation, however often it was carried. */
function after({ message }) {
  return Number(message.sequence) + 1;
}

/** @param {string} url of a custodian @returns {string} what a page calls it */
export function named(url) {
  return `the custodian at ${new URL(url).host}`;
}

/** @param {string[]} names @returns {string} */
export function listed(names) {
  const last = names.at(-1) ?? "";
  return names.length < 2 ? last : `${names.slice(0, -1).join(", ")} and ${last}`;
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
