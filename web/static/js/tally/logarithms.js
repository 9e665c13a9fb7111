/**
 * Small discrete logarithms: v from v G, for v in a known range, negative values included. Baby steps and giant steps (D.
 * Shanks, 1971), from the middle of the range outwards; all arithmetic on points is the library's. The counterpart of
 * `ml.homomorphic.logarithm`.
 *
 * The table holds i G for i = 1..T by x, so that one look finds i and -i, and a giant step passes 2 T + 1 values.
 */

import { Point } from "./points.js";
import { modulo } from "./scalars.js";

const { Fp } = Point;
const BATCH = 256; // points that share one inversion
const LEAST_BITS = 8; // of a table's size
const MOST_BITS = 22; // 64 MB
/**
 * Steps, each an addition of points: beyond these a page refuses. Measured at 2.5 to 5.6 microseconds each in Chromium, half
 * a minute in all; with a slower engine (Node 20: 15 microseconds) it is two minutes.
 */
export const MOST_STEPS = 2 ** 23;
const MARK = 0xffffffffn;
const EMPTY = 0;

/** @typedef {import("./shares.js").Range} Range */
/** @typedef {(steps: number) => void} Told hears of every so many steps */

/** @param {Range[]} ranges @returns {number} bits of a table with which building and searching take about as long */
export function tableBits(ranges) {
  const values = ranges.reduce((sum, [low, high]) => sum + Number(high - low) + 1, 0);
  return Math.max(LEAST_BITS, Math.min(MOST_BITS, Math.ceil(Math.log2(Math.max(2, values) / 2) / 2)));
}

/** @param {Range[]} ranges @returns {number} steps that finding one logarithm in each can take, the table's own among them */
export function stepsFor(ranges) {
  const size = 2 ** tableBits(ranges);
  return ranges.reduce((sum, [low, high]) => sum + stepsOf(low, high, size), size);
}

function stepsOf(low, high, size) {
  return Math.floor(Number(high - low) / (2 * size + 1)) + 1;
}

/** i G for i = 1..size: 32 bits of each x, and i, in a table of open addresses. */
export class Table {
  #slots;
  #marks;
  #indices;

  /** @param {number} bits of its size @param {Told} [told] */
  constructor(bits, told = () => {}) {
    this.size = 2 ** bits;
    this.#slots = 2 * this.size - 1;
    this.#marks = new Uint32Array(2 * this.size);
    this.#indices = new Uint32Array(2 * this.size);
    let point = Point.BASE;
    for (let start = 1; start <= this.size; start += BATCH) {
      const count = Math.min(BATCH, this.size - start + 1);
      const batch = Array.from({ length: count }, () => {
        const here = point;
        point = point.add(Point.BASE);
        return here;
      });
      marksOf(batch).forEach((mark, i) => this.#put(mark, start + i));
      told(count);
    }
  }

  #put(mark, index) {
    let at = mark & this.#slots;
    while (this.#indices[at] !== EMPTY) at = (at + 1) & this.#slots;
    [this.#marks[at], this.#indices[at]] = [mark, index];
  }

  /** @param {number} mark @returns {number[]} every i whose point has it */
  #indicesOf(mark) {
    const found = [];
    for (let at = mark & this.#slots; this.#indices[at] !== EMPTY; at = (at + 1) & this.#slots) {
      if (this.#marks[at] === mark) found.push(this.#indices[at]);
    }
    return found;
  }

  /**
   * @param {Point} point
   * @param {Range} range
   * @param {Told} [told]
   * @returns {bigint|null} its logarithm, which was held against it; null where it has none in the range
   */
  find(point, [low, high], told = () => {}) {
    const stride = BigInt(2 * this.size + 1);
    const middle = (low + high) >> 1n;
    const most = (high - middle) / stride + 1n;
    const sides = [new Walk(point, middle, stride), new Walk(point, middle - stride, -stride)];
    for (let start = 0n; start <= most; start += BigInt(BATCH)) {
      const count = Number(most - start + 1n < BigInt(BATCH) ? most - start + 1n : BigInt(BATCH));
      for (const side of sides) {
        const value = this.#seen(side.next(count), point);
        if (value !== null) return low <= value && value <= high ? value : null;
        told(count);
      }
    }
    return null;
  }

  /** @param {{points: Point[], centres: bigint[]}} steps */
  #seen({ points, centres }, point) {
    const there = points.findIndex((each) => each.is0());
    if (there >= 0) return centres[there];
    for (const [i, mark] of marksOf(points).entries()) {
      for (const index of this.#indicesOf(mark)) {
        const value = [centres[i] + BigInt(index), centres[i] - BigInt(index)].find((each) => isLogarithm(each, point));
        if (value !== undefined) return value;
      }
    }
    return null;
  }
}

/** point - c G for c = first, first + stride, ..., as many as are asked for at a time. */
class Walk {
  #here;
  #centre;
  #stride;
  #back;

  constructor(point, first, stride) {
    this.#here = point.subtract(timesBase(first));
    [this.#centre, this.#stride, this.#back] = [first, stride, timesBase(-stride)];
  }

  next(count) {
    const [points, centres] = [[], []];
    for (let i = 0; i < count; i++) {
      points.push(this.#here);
      centres.push(this.#centre);
      this.#here = this.#here.add(this.#back);
      this.#centre += this.#stride;
    }
    return { points, centres };
  }
}

/** @param {Point[]} points finite ones @returns {number[]} the low 32 bits of each x */
function marksOf(points) {
  const inverses = Fp.invertBatch(points.map(({ Z }) => Z));
  return points.map(({ X }, i) => Number(Fp.mul(X, inverses[i]) & MARK));
}

function isLogarithm(value, point) {
  return timesBase(value).equals(point);
}

function timesBase(value) {
  const reduced = modulo(value);
  return reduced === 0n ? Point.ZERO : Point.BASE.multiply(reduced);
}
