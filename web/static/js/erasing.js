/**
 * One erasure, and which custodians see by themselves that the chain has it: each carries it where nobody did. The
 * chain shows it to all, so it may be handed to anybody.
 */

import { postElsewhere } from "./ask.js";
import { ENOUGH, hostOf } from "./stopwords.js";

/** @typedef {{erasure: object|null, isCarried: boolean, isKnown: boolean}} Kept what a page that is loaded again goes on from */

/** What custodians said of one erasure, and what was signed. */
export class Erasing {
  #custodians;
  #isKnown;
  #erasure;
  #isCarried;
  #seeing = new Set();
  #missing = new Set();

  /**
   * @param {string[]} custodians
   * @param {{isKnown: boolean, before?: Kept|null}} known `isKnown`: whether this browser itself knows that there was
   *   something to erase
   */
  constructor(custodians, { isKnown, before = null }) {
    this.#custodians = custodians.filter((url) => hostOf(url) !== null);
    this.#isKnown = isKnown || (before?.isKnown ?? false);
    this.#erasure = before?.erasure ?? null;
    this.#isCarried = before?.isCarried ?? false;
  }

  /**
   * @param {object} erasure as it was signed
   * @param {boolean} [isDerived] whether by the key that this browser made for this very dataset, and uses there
   */
  begin(erasure, isDerived = false) {
    this.#erasure = erasure;
    this.#isKnown ||= isDerived;
    this.#isCarried = false;
    this.#seeing.clear();
  }

  /** @returns {Kept} */
  get kept() {
    return { erasure: this.#erasure, isCarried: this.#isCarried, isKnown: this.#isKnown };
  }

  /** @returns {string[]} URLs of those that see that the chain has it */
  get seeing() {
    return this.#custodians.filter((url) => this.#sees(url));
  }

  /** @returns {boolean} whether enough of them do */
  get isConfirmed() {
    return this.seeing.length >= ENOUGH;
  }

  /** @returns {boolean} whether one of them may be asked what it has done; without an erasure of this tab's, any */
  mayTell(url) {
    return this.#erasure === null || this.#sees(url);
  }

  /**
   * That there is nothing is what an honest one says of whatever else, too. So it is a yes only where one of them
   * carried this very erasure, or this browser knows that there was something.
   */
  #sees(url) {
    return this.#seeing.has(url) || (this.#missing.has(url) && (this.#isCarried || this.#isKnown));
  }

  /** Asks those that have not seen it yet, one after another: the first that does not see it carries it. */
  async ask() {
    if (this.#erasure === null) return;
    for (const url of this.#custodians) {
      if (!this.#sees(url)) await this.#askOne(url);
    }
  }

  async #askOne(url) {
    const { message, signature } = this.#erasure;
    try {
      const told = await postElsewhere(`${url}/erasures`, { erasure: message, signature });
      if (!Number.isSafeInteger(told?.block)) return;
      this.#seeing.add(url);
      this.#isCarried = true;
    } catch (error) {
      if (error.code === "nothing_to_erase") this.#missing.add(url); // its own node shows nothing, or nothing any more
    }
  }
}
