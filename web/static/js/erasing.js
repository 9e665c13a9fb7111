/**
 * One erasure, and which custodians see by themselves that the chain has it: each carries it where nobody did. The
 * chain shows it to all, so it may be handed to anybody.
 *
 * That there is nothing to erase is no yes, whoever says it: one whose node has not seen the record yet says so, too.
 */

import { postElsewhere } from "./ask.js";
import { ENOUGH, hostOf } from "./stopwords.js";

/** Words of the contract's WrongRecordVersion (`marketplace.chain.sentences`). */
const LATEST = /\bthe latest is (\d+)\b/;
const HIGHEST_VERSION = 2 ** 32 - 1;

/** @typedef {{message: {dataset: string, patient: string, version: number}, signature: string}} Signed */
/** @typedef {{erasure: Signed|null}} Kept what a page that is loaded again goes on from */

/** @param {unknown} told @returns {boolean} whether a record's version can be that */
function isVersion(told) {
  return Number.isInteger(told) && told >= 0 && told <= HIGHEST_VERSION;
}

/** What custodians say of one erasure, and what was signed. The latest word of each counts. */
export class Erasing {
  #custodians;
  #erasure;
  #seeing = new Set();
  #final = new Set();
  #versions = new Map();

  /**
   * @param {string[]} custodians
   * @param {string} patient whose record the page is about; what was kept of another one's is left
   * @param {Kept|null} [before]
   */
  constructor(custodians, patient, before = null) {
    this.#custodians = custodians.filter((url) => hostOf(url) !== null);
    this.#erasure = before?.erasure?.message?.patient === patient ? before.erasure : null;
  }

  /** @param {Signed} erasure as it was signed: whatever was said of another one is forgotten */
  begin(erasure) {
    this.#erasure = erasure;
    for (const said of [this.#seeing, this.#final, this.#versions]) said.clear();
  }

  /** @returns {Kept} */
  get kept() {
    return { erasure: this.#erasure };
  }

  /** @returns {boolean} whether there is one that custodians can be asked about */
  get isSigned() {
    return this.#erasure !== null;
  }

  /** @returns {string[]} URLs of those that see that the chain has it */
  get seeing() {
    return this.#custodians.filter((url) => this.#seeing.has(url));
  }

  /** @returns {boolean} whether enough of them do */
  get isConfirmed() {
    return this.#seeing.size >= ENOUGH;
  }

  /** @returns {string[]} URLs of those by whose view no later block can take it back */
  get final() {
    return this.#custodians.filter((url) => this.#final.has(url));
  }

  /** @returns {boolean} whether enough of them say so */
  get isFinal() {
    return this.#final.size >= ENOUGH;
  }

  /** @returns {number|null} the version that enough of them say the record has, where another one was signed for */
  get otherVersion() {
    const told = [...this.#versions.values()];
    return told.find((one) => told.filter((other) => other === one).length >= ENOUGH) ?? null;
  }

  /**
   * Signs it, hands it to this site, then to custodians, who carry it where this site did not. Which version the record
   * has is this site's word: where enough custodians say another one, it is signed for that.
   * @param {unknown} version as this site tells it
   * @param {(version: number) => Promise<Signed>} sign
   * @param {(erasure: Signed) => Promise<unknown>} carry
   * @returns {Promise<Error|null>} why this site did not take it
   * @throws {Refused} where it could not be signed
   */
  async handIn(version, sign, carry) {
    this.begin(await sign(isVersion(version) ? version : 0));
    const refused = await carry(this.#erasure).then(() => null, (error) => error);
    await this.ask();
    const other = this.otherVersion;
    if (this.isConfirmed || other === null) return refused;
    this.begin(await sign(other));
    await this.ask();
    return refused;
  }

  /** Asks those that do not see yet that it is final, one after another: the first that does not see it carries it. */
  async ask() {
    if (this.#erasure === null) return;
    for (const url of this.#custodians) {
      if (!this.#final.has(url)) await this.#askOne(url);
    }
  }

  async #askOne(url) {
    const { message, signature } = this.#erasure;
    try {
      const told = await postElsewhere(`${url}/erasures`, { erasure: message, signature });
      if (Number.isSafeInteger(told?.block)) this.#seeing.add(url);
    } catch (error) {
      this.#hear(url, error);
    }
  }

  #hear(url, { code, message }) {
    if (code === "already_erased" || code === "erased_for_good") this.#seeing.add(url);
    if (code === "erased_for_good") this.#final.add(url);
    if (code === "nothing_to_erase") this.#seeing.delete(url); // its chain has it no more: a block was taken back
    if (code !== "wrong_record_version") return;
    this.#seeing.delete(url);
    const latest = Number(LATEST.exec(message)?.[1]);
    if (isVersion(latest) && latest !== this.#erasure.message.version) this.#versions.set(url, latest);
  }
}
