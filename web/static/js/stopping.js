/**
 * Stops a consent, also without the operator: custodians carry a signed revocation, or a wallet sends it to the contract.
 *
 * One word may be a lie, this site's as well as a custodian's, so that "stopped" takes two, each with a view of the
 * chain of its own.
 */

import { getJson, postElsewhere } from "./ask.js";
import { bytes32 } from "./bytes.js";
import { HIGHEST_SEQUENCE, HIGHEST_TOLD, Messages } from "./messages.js";
import { Refused } from "./refused.js";
import { market } from "./stopsigner.js";
import { ENOUGH, OPERATOR, hostOf, named, shortened } from "./stopwords.js";

export { ENOUGH, listed, named, sentence } from "./stopwords.js";

/** Words of the contract's SupersededRevocation, which says what the chain has (`marketplace.chain.sentences`). */
const IN_FORCE = /\bbut (\d+) is in force\b/;
/** How far a consent's sequence comes in a few revocations, each of which reaches 2^20 at most. */
const NEAR = 2 ** 22;
const MOST_SIGNED = 4; // revocations at one press
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
  return isSequence(told) && told <= Math.min(kept + NEAR, HIGHEST_TOLD) ? told : kept;
}

function isSequence(value) {
  return Number.isInteger(value) && value >= 0 && value <= HIGHEST_SEQUENCE;
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
    this.#own = { ...own, sequence: isSequence(own.sequence) ? own.sequence : 0 }; // else custodians say what it is
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

  /** @returns {boolean} whether enough of them do */
  get isConfirmed() {
    return this.custodians.length >= ENOUGH;
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
    const patience = this.isConfirmed ? IN_PASSING : isTaken ? PATIENCE : 0;
    this.#hear(await this.#operatorWithin(patience));
  }

  /** Once as this browser knows the sequence, then farther for as long as what others say calls for it. */
  async #rounds(carry, enough) {
    let isTaken = false;
    for (let from = this.#own.sequence; from !== null; from = this.#farther()) {
      if (!(await this.#isSigned(from))) break;
      if (carry !== null) isTaken = (await this.#handed(carry)) || isTaken;
      await this.#askCustodians(enough);
    }
    return isTaken;
  }

  async #askCustodians(enough) {
    for (const url of this.#own.custodians.filter((each) => hostOf(each) !== null)) {
      if (this.custodians.length >= enough) return;
      if (!this.#saying.has(named(url))) this.#hear(await this.#custodian(named(url), url));
    }
  }

  /**
   * The sequence to sign for next, or null. That a higher one is in force may be a lie, which signed would reach
   * farther than anybody needs: two custodians have to say so; one word goes on near what this browser knew, or where
   * none took what was signed, this site's then too, and only so far that everything can still be signed afterwards.
   */
  #farther() {
    if (this.#messages.length === MOST_SIGNED || this.isConfirmed) return null;
    const last = Number(this.#messages.at(-1).message.sequence);
    const higher = [...this.#claims].filter(([, claim]) => claim > last).sort(([, one], [, other]) => other - one);
    const theirs = higher.filter(([who]) => who !== OPERATOR);
    if (theirs.length >= ENOUGH) return theirs[ENOUGH - 1][1];
    const [said, most] = this.custodians.length === 0 ? [higher, HIGHEST_TOLD] : [theirs, this.#own.sequence + NEAR];
    return said.find(([, claim]) => claim <= most)?.[1] ?? null;
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

  /** Where it cannot be signed once more, as by a wallet that was told not to, what was signed before stays. */
  async #isSigned(sequence) {
    const messages = new Messages(market(this.#own), this.#signer);
    const { dataset, address } = this.#own;
    try {
      this.#messages.push(await messages.revocation(bytes32(dataset, "dataset"), sequence, address));
      return true;
    } catch (error) {
      if (this.#messages.length === 0) throw error;
      return false;
    }
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

function sequenceIn(error) {
  if (!(error instanceof Refused) || error.code !== "superseded_revocation") return null;
  const found = Number(IN_FORCE.exec(error.message)?.[1]);
  return isSequence(found) ? found : null;
}

/** Whatever went wrong with one of them holds nothing back from the next. */
function refusedBy(who, error) {
  const why = error instanceof Refused ? shortened(error.message) : "Its answer was not understood.";
  return { who, yes: false, text: `${who}: no. ${why}` };
}
