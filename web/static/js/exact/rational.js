/**
 * Exact fractions, and the one way from them to a float and back: the servers compute answers with these, so that the
 * same noised sums give the same digits on every machine.
 */

const MANTISSA = 53n; // bits of a float
const LEAST_EXPONENT = -1074n; // of a float's last bit
const SIGN_BITS = 64n; // that a root has at least

/** numerator / denominator in lowest terms, the denominator positive. */
export class Rational {
  /** @param {bigint} numerator @param {bigint} [denominator] @throws {RangeError} for a denominator of 0 */
  constructor(numerator, denominator = 1n) {
    if (denominator === 0n) throw new RangeError("a fraction has no denominator of 0");
    const common = gcd(numerator, denominator) * (denominator < 0n ? -1n : 1n);
    this.numerator = numerator / common;
    this.denominator = denominator / common;
  }

  /** @param {Rational|bigint} value @returns {Rational} */
  static of(value) {
    return value instanceof Rational ? value : new Rational(value);
  }

  /** @param {number} float a finite one @returns {Rational} the very number that it is */
  static ofFloat(float) {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, float);
    const bits = view.getBigUint64(0);
    const [exponent, fraction] = [(bits >> 52n) & 0x7ffn, bits & ((1n << 52n) - 1n)];
    const mantissa = exponent === 0n ? fraction : fraction | (1n << 52n);
    const power = (exponent === 0n ? 1n : exponent) - 1075n;
    const size = power >= 0n ? new Rational(mantissa << power) : new Rational(mantissa, 1n << -power);
    return float < 0 ? size.negated() : size;
  }

  /** @param {string} text digits, perhaps with a sign and a point @returns {Rational} */
  static ofText(text) {
    const [whole, decimals = ""] = text.split(".");
    return new Rational(BigInt(whole + decimals), 10n ** BigInt(decimals.length));
  }

  plus(/** @type {Rational|bigint} */ other) {
    const { numerator, denominator } = Rational.of(other);
    return new Rational(this.numerator * denominator + numerator * this.denominator, this.denominator * denominator);
  }

  minus(/** @type {Rational|bigint} */ other) {
    return this.plus(Rational.of(other).negated());
  }

  times(/** @type {Rational|bigint} */ other) {
    const { numerator, denominator } = Rational.of(other);
    return new Rational(this.numerator * numerator, this.denominator * denominator);
  }

  over(/** @type {Rational|bigint} */ other) {
    const { numerator, denominator } = Rational.of(other);
    return new Rational(this.numerator * denominator, this.denominator * numerator);
  }

  squared() {
    return this.times(this);
  }

  negated() {
    return new Rational(-this.numerator, this.denominator);
  }

  /** @param {Rational|bigint} other @returns {-1|0|1} */
  compare(other) {
    const { numerator } = this.minus(other);
    return numerator < 0n ? -1 : numerator > 0n ? 1 : 0;
  }

  /** @returns {bigint} the greatest whole number that is not above it */
  floor() {
    const whole = this.numerator / this.denominator;
    return this.numerator < 0n && whole * this.denominator !== this.numerator ? whole - 1n : whole;
  }

  /** @returns {bigint} */
  ceil() {
    return -this.negated().floor();
  }

  /** @returns {bigint} the nearest whole number, the even one of two */
  round() {
    const floor = this.floor();
    const side = this.minus(floor).compare(new Rational(1n, 2n));
    return side > 0 || (side === 0 && floor % 2n !== 0n) ? floor + 1n : floor;
  }

  /** @returns {number} the nearest float, the even one of two */
  toFloat() {
    const size = this.numerator < 0n ? this.negated() : this;
    if (size.numerator === 0n) return 0;
    let power = bitsOf(size.numerator) - bitsOf(size.denominator) - MANTISSA;
    if (power < LEAST_EXPONENT) power = LEAST_EXPONENT;
    if (size.over(powerOf2(power)).compare(1n << MANTISSA) >= 0) power += 1n;
    const mantissa = size.over(powerOf2(power)).round();
    // A power too small for a float alone is reached in two steps; both are exact, as the mantissa has its bits.
    const half = power / 2n;
    const float = Number(mantissa) * 2 ** Number(half) * 2 ** Number(power - half);
    return this.numerator < 0n ? -float : float;
  }
}

/** @param {Rational} one @param {Rational} other @returns {Rational} */
export function least(one, other) {
  return one.compare(other) <= 0 ? one : other;
}

/** @param {Rational} one @param {Rational} other @returns {Rational} */
export function most(one, other) {
  return one.compare(other) >= 0 ? one : other;
}

/** @param {bigint} whole not negative @returns {bigint} the greatest whole number whose square is not above it */
export function isqrt(whole) {
  if (whole < 2n) return whole;
  let root = 1n << ((bitsOf(whole) + 1n) / 2n);
  for (;;) {
    const next = (root + whole / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** @param {Rational} value not negative @returns {Rational} at least its square root, less than 2^-60 (relative) above */
export function sqrtUp(value) {
  const { numerator, denominator } = value;
  if (numerator < 0n) throw new RangeError("no square root of a negative number");
  if (numerator === 0n) return value;
  const shift = 2n * SIGN_BITS - bitsOf(numerator) + bitsOf(denominator);
  const places = shift > 0n ? shift : 0n;
  return new Rational(isqrt((numerator << (2n * places)) / denominator) + 1n, 1n << places);
}

/** @param {number} float positive and finite @returns {number} the next one above */
export function nextUp(float) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, float);
  view.setBigUint64(0, view.getBigUint64(0) + 1n);
  return view.getFloat64(0);
}

/** @param {bigint} whole positive, or 0 @returns {bigint} bits of it */
export function bitsOf(whole) {
  return whole === 0n ? 0n : BigInt(whole.toString(2).length);
}

function powerOf2(power) {
  return power >= 0n ? new Rational(1n << power) : new Rational(1n, 1n << -power);
}

function gcd(one, other) {
  let [a, b] = [one < 0n ? -one : one, other < 0n ? -other : other];
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}
