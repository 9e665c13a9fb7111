/**
 * Exact decimals, as measurements are written: what a floating-point number would round, this keeps.
 * The digits are private, so that a value does not show when something prints it.
 */

const FORM = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([-+]?[0-9]{1,20}))?$/;
/** Of the first digit. Far beyond any measurement, and far below what arithmetic cannot carry. */
export const FARTHEST_EXPONENT = 9_999;

/** coefficient * 10^exponent. */
export class Decimal {
  #coefficient;
  #exponent;

  /** @param {bigint} coefficient @param {number} exponent */
  constructor(coefficient, exponent) {
    this.#coefficient = coefficient;
    this.#exponent = exponent;
  }

  /**
   * @param {string} text digits, perhaps with a sign, a fraction and an exponent
   * @returns {Decimal|null} null for anything else, and for an exponent beyond FARTHEST_EXPONENT
   */
  static parse(text) {
    const found = FORM.exec(text);
    if (found === null) return null;
    const [, sign, whole, fraction = "", power = "0"] = found;
    const digits = (whole + fraction).replace(/^0+(?=[0-9])/, "");
    const exponent = Number(power) - fraction.length;
    if (Math.abs(exponent + digits.length - 1) > FARTHEST_EXPONENT) return null;
    const magnitude = BigInt(digits);
    return new Decimal(sign === "-" ? -magnitude : magnitude, exponent);
  }

  /** @param {number|bigint} integer exactly representable @returns {Decimal} */
  static of(integer) {
    return new Decimal(BigInt(integer), 0);
  }

  /** @param {Decimal} other @returns {-1|0|1} */
  compare(other) {
    const exponent = Math.min(this.#exponent, other.#exponent);
    const mine = this.#coefficient * power10(this.#exponent - exponent);
    const its = other.#coefficient * power10(other.#exponent - exponent);
    return mine < its ? -1 : mine > its ? 1 : 0;
  }

  /**
   * @param {number} decimals
   * @returns {bigint|null} value * 10^decimals; null where that is no whole number
   */
  scaled(decimals) {
    const shift = this.#exponent + decimals;
    if (shift >= 0) return this.#coefficient * power10(shift);
    const divisor = power10(-shift);
    return this.#coefficient % divisor === 0n ? this.#coefficient / divisor : null;
  }

  /** @param {number} decimals @returns {Decimal} rounded half to even */
  rounded(decimals) {
    const shift = this.#exponent + decimals;
    if (shift >= 0) return new Decimal(this.#coefficient * power10(shift), -decimals);
    return new Decimal(halfEven(this.#coefficient, power10(-shift)), -decimals);
  }

  /** @returns {string} plain digits with the decimals that it has; no exponent */
  toText() {
    const sign = this.#coefficient < 0n ? "-" : "";
    const digits = String(sign ? -this.#coefficient : this.#coefficient);
    if (this.#exponent >= 0) return sign + (digits === "0" ? digits : digits + "0".repeat(this.#exponent));
    const padded = digits.padStart(1 - this.#exponent, "0");
    return `${sign}${padded.slice(0, this.#exponent)}.${padded.slice(this.#exponent)}`;
  }
}

function power10(/** @type {number} */ exponent) {
  return 10n ** BigInt(exponent);
}

/** @param {bigint} value @param {bigint} divisor @returns {bigint} the nearest, the even one of two */
function halfEven(value, divisor) {
  const magnitude = value < 0n ? -value : value;
  const floor = magnitude / divisor;
  const twice = 2n * (magnitude % divisor);
  const up = twice > divisor || (twice === divisor && floor % 2n === 1n);
  const rounded = up ? floor + 1n : floor;
  return value < 0n ? -rounded : rounded;
}
