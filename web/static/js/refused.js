/**
 * Refusals: every "no" carries facts and says what to do, under the codes that the servers use too.
 * A refusal never carries a record value, a key or a share: its text may be shown and logged.
 */

/** @typedef {{code: string, message: string, remedy: string, field?: string|null}} Reason */

/** Something that was understood and declined. */
export class Refused extends Error {
  /** @param {Reason} reason `field` names the input at fault, where there is one */
  constructor({ code, message, remedy, field = null }) {
    super(message);
    this.name = "Refused";
    this.code = code;
    this.remedy = remedy;
    this.field = field;
  }

  /** @returns {Reason} as the servers write it */
  reason() {
    return { code: this.code, message: this.message, remedy: this.remedy, field: this.field };
  }
}

/** Several inputs of one form, each declined; as itself it is the first of them. */
class RefusedTogether extends Refused {
  constructor(all) {
    super(all[0].reason());
    this.all = all;
  }
}

/** @param {unknown} error @returns {unknown[]} each refusal that it holds; what is no refusal is alone */
export function eachOf(error) {
  return error instanceof RefusedTogether ? error.all : [error];
}

/**
 * Reads several inputs, so that somebody is told of all that are wrong, and not of one at a time.
 * @param {...(() => unknown)} reads each gives a value or refuses
 * @returns {any[]} the values
 * @throws {Refused}
 */
export function together(...reads) {
  const refusals = [];
  const found = reads.map((read) => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refusals.push(error);
      return null;
    }
  });
  if (refusals.length > 0) throw refusals.length === 1 ? refusals[0] : new RefusedTogether(refusals);
  return found;
}

/**
 * Throws; for use in expressions and at the end of functions.
 * @param {string} code
 * @param {string} message states the facts, never a record's value
 * @param {string} remedy says what to do
 * @param {string|null} [field]
 * @returns {never}
 */
export function refuse(code, message, remedy, field = null) {
  throw new Refused({ code, message, remedy, field });
}

/**
 * The refusal of one field of a signed message, as the servers word it. Never carries the value.
 * @param {string} field
 * @param {string} problem
 * @returns {never}
 */
export function malformed(field, problem) {
  return refuse(
    "malformed_message",
    `The field ${field} ${problem}.`,
    `Correct ${field} and send the whole message again.`,
    field,
  );
}

/**
 * The refusal of one input, as the servers word it. Never carries the value.
 * @param {string} field
 * @param {string} problem
 * @param {string} [remedy]
 * @returns {never}
 */
export function badParameter(field, problem, remedy = "Correct it and send the request again.") {
  return refuse("bad_parameter", `${field} ${problem}.`, remedy, field);
}

/**
 * Runs `work`, and has whatever it refuses said at one input of this page.
 * @template T
 * @param {string} field
 * @param {() => T | Promise<T>} work
 * @param {{of?: string}} [only] `of`: the input that a refusal has to be about to be moved
 * @returns {Promise<T>}
 */
export async function atField(field, work, { of } = {}) {
  try {
    return await work();
  } catch (error) {
    const isMoved = error instanceof Refused && (of === undefined || error.field === of);
    throw isMoved ? new Refused({ ...error.reason(), field }) : error;
  }
}
