/**
 * One proof that ElGamal columns encrypt a vector's forms, and that the vector satisfies a relation.
 *
 * Statement: columns (A_j, B_j) under public key Y, and a relation over a vector v in Z_n^m. The prover knows v
 * and r_j with A_j = r_j G, B_j = r_j Y + column_j(v) G, and left_k(v) right_k(v) = result_k(v) for every k:
 *
 *     V = sum v_i G_i + w H                           vector commitment (T. Pedersen, CRYPTO 1991)
 *     <- delta, whose powers weigh columns:           r' = sum delta^j r_j
 *     W = sum a_i G_i + u H, S = s G,                 announcements, with a, u, s uniform
 *     S' = s Y + (sum delta^j column_j(a)) G
 *     <- y, whose powers weigh products:              sum y^k (left right - x result)(x v + a) = x T_1 + T_0
 *     C_1 = T_1 K + t_1 H, C_0 = T_0 K + t_0 H
 *     <- x
 *     f = x v + a, phi = x w + u, z = x r' + s, tau = x t_1 + t_0
 *
 * where a form's constant is multiplied by x. Verifiers and the argument that this convinces them are in
 * `ml/homomorphic/validity.py`. It is perfect zero knowledge: nothing is said but that the statement is true.
 */

import { concat } from "../bytes.js";
import { randomScalar, scalarBytes } from "../curve.js";
import * as generators from "./generators.js";
import { Point, bytesOf, secretSums, timesSecret } from "./points.js";
import { digestOf, evaluate, holds } from "./relation.js";
import { modulo, weighed } from "./scalars.js";
import { Transcript } from "./transcript.js";

const PROTOCOL = "usufruct/validity/1";
const DRAWN = 5;

/**
 * @typedef {object} Statement what one proof is about
 * @property {Uint8Array} context 32 bytes
 * @property {Point} publicKey
 * @property {import("./relation.js").Relation} relation
 * @property {Uint8Array} columns 66 bytes each, A then B
 */
/**
 * @typedef {object} Blinds what is drawn afresh for every proof; never use any of it twice
 * @property {bigint[]} entries a_i
 * @property {bigint[]} drawn w, u, s, t_1, t_0, each in [1, n - 1]
 */

/**
 * @param {Statement} statement
 * @param {bigint[]} vector v
 * @param {bigint[]} randomness r_j of each column, in [1, n - 1]
 * @param {(fraction: number) => void} [told] how far it is
 * @returns {Uint8Array} a proof, fresh each time
 * @throws {RangeError} where the vector does not satisfy the relation, or the lists do not fit it
 */
export function prove(statement, vector, randomness, told) {
  const draw = (length) => Array.from({ length }, randomScalar);
  return proveWith({ entries: draw(statement.relation.size), drawn: draw(DRAWN) }, statement, vector, randomness, told);
}

/**
 * As `prove`, with what it would draw given: for test vectors.
 * @param {Blinds} blinds
 * @param {Statement} statement
 * @param {bigint[]} vector
 * @param {bigint[]} randomness
 * @param {(fraction: number) => void} [told]
 * @returns {Uint8Array}
 */
export function proveWith({ entries, drawn: [w, u, s, t1, t0] }, statement, vector, randomness, told) {
  requireTrue(statement, vector, randomness);
  const { relation, publicKey } = statement;
  const talk = new Talk(statement);
  const [ofVector, ofBlinds] = sumsOf(vector, entries, told);
  const committed = hidden(ofVector, w);
  const delta = talk.columns(committed);
  const blinded = hidden(ofBlinds, u);
  const key = Point.BASE.multiply(s);
  const ofColumns = weighed(relation.columns.map((column) => evaluate(column, entries, 0n)), delta);
  const column = publicKey.multiply(s).add(timesSecret(Point.BASE, ofColumns));
  const y = talk.products(blinded, key, column);
  const [t1Value, t0Value] = crossTerms(relation, y, vector, entries);
  const linear = hidden(timesSecret(generators.single(), t1Value), t1);
  const constant = hidden(timesSecret(generators.single(), t0Value), t0);
  const x = talk.answers(linear, constant);
  const answers = vector.map((value, i) => x * value + entries[i]);
  const scalars = [...answers, x * w + u, x * weighed(randomness, delta) + s, x * t1 + t0];
  const points = [committed, blinded, key, column, linear, constant];
  return concat(...points.map(bytesOf), ...scalars.map((scalar) => scalarBytes(modulo(scalar))));
}

/** The conversation of prover and verifier: one order, one place. */
class Talk {
  #talk;

  constructor({ context, publicKey, relation, columns }) {
    this.#talk = new Transcript(PROTOCOL, context);
    this.#talk.absorb("relation", digestOf(relation));
    this.#talk.absorb("key", bytesOf(publicKey));
    this.#talk.absorb("columns", columns);
  }

  /** delta */
  columns(vector) {
    return this.#asked("vector", [vector], "columns");
  }

  /** y */
  products(blinds, key, column) {
    return this.#asked("announced", [blinds, key, column], "products");
  }

  /** x */
  answers(linear, constant) {
    return this.#asked("terms", [linear, constant], "answers");
  }

  #asked(label, points, challenge) {
    this.#talk.absorb(label, concat(...points.map(bytesOf)));
    return this.#talk.challenge(challenge);
  }
}

function requireTrue({ relation }, vector, randomness) {
  if (!holds(relation, vector)) throw new RangeError("the vector does not satisfy the relation");
  if (randomness.length !== relation.columns.length) throw new RangeError("one random scalar for each column");
}

/**
 * sum v_i G_i and sum a_i G_i. The former as sum (v_i + a_i) G_i less the latter: many v_i are 0, and products
 * with them would show it. Each v_i + a_i is as uniform as a_i.
 */
function sumsOf(vector, entries, told) {
  const together = vector.map((value, i) => value + entries[i]);
  const [ofBoth, ofBlinds] = secretSums(generators.vector(vector.length), [together, entries], told);
  return [ofBoth.subtract(ofBlinds), ofBlinds];
}

function hidden(point, scalar) {
  return point.add(generators.blinding().multiply(scalar));
}

/** T_1 and T_0: what the products leave over at x v + a, by powers of x. */
function crossTerms({ products }, y, vector, blinds) {
  const terms = products.map(({ left, right, result }) => {
    const [value, other] = [evaluate(left, vector, 1n), evaluate(right, vector, 1n)];
    const [blind, otherBlind] = [evaluate(left, blinds, 0n), evaluate(right, blinds, 0n)];
    const cross = value * otherBlind + blind * other - evaluate(result, blinds, 0n);
    return [cross, blind * otherBlind];
  });
  return [0, 1].map((power) => weighed(terms.map((term) => term[power]), y));
}
