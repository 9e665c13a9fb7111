/**
 * What is made of opened sums, digit for digit as the servers would: count, sum, mean, variance and tables. The
 * counterpart of `analyses.tallies` and of the answers in `ml.dp`, where the proofs stand.
 */

import { CONFIDENCE, estimateOf, halfWidth, scaleText, within, clamp } from "../exact/intervals.js";
import { Rational } from "../exact/rational.js";
import { refuse } from "../refused.js";
import { countWeight, meanInterval, meanOf, varianceAnswer, varianceWeights } from "./moments.js";

const MOST_SUMS = 1024;
const EXTRA_DIGITS = 3; // behind the point, beyond the variable's own, for a mean
const ONE = { low: 0n, high: 1n }; // what a record adds to a count

/**
 * @typedef {object} Asked a question that is answered by sums
 * @property {import("./shares.js").Wanted[]} wanted
 * @property {bigint} squaredSensitivity of all of them together, in L2
 * @property {(noised: bigint[], sigma: Rational, members: bigint) => Made} finish never fails, whatever the noised sums are
 */
/** @typedef {{quantity: string, unit: string, estimates: import("../exact/intervals.js").Estimate[], noise: string[][]}} Made */
/** @typedef {import("../dictionary.js").Dictionary} Dictionary with an encoding */

/** Of each analysis that is opened here: its question, from canonical parameters. @type {Object<string, (parameters: any, dictionary: Dictionary) => Asked>} */
export const QUESTIONS = {
  "count.v1": count,
  "sum.v1": sum,
  "mean.v1": mean,
  "variance.v1": variance,
  "histogram.v1": ({ variable, edges }, dictionary) => cells([{ variable, edges }], dictionary),
  "cross_table.v1": ({ axes }, dictionary) => cells(axes, dictionary),
};

/**
 * @param {Made} made
 * @param {number} cost nano-rho
 * @param {number} members
 * @returns {object} the `noised` of a result, as JSON values
 */
export function noisedDocument({ quantity, unit, estimates, noise }, cost, members) {
  return { confidence: CONFIDENCE, cost_nano_rho: cost, covers: "noise", estimates, format: 1, members, noise, quantity, unit };
}

// --- counts

function count() {
  const finish = ([noised], sigma, members) => counted("count", [cell([], noised, sigma, members)], "count", sigma);
  return { wanted: [ONE], squaredSensitivity: 1n, finish };
}

/** @throws {Refused} sums_too_many */
function cells(axes, dictionary) {
  const listed = axes.map((axis) => labelsOf(axis, dictionary));
  if (listed.reduce((count, { length }) => count * length, 1) > MOST_SUMS) tooMany();
  const labels = listed.reduce(outer, [[]]);
  const finish = (noised, sigma, members) =>
    counted("counts", labels.map((label, i) => cell(label, noised[i], sigma, members)), "cell", sigma);
  return { wanted: labels.map(() => ONE), squaredSensitivity: 2n, finish };
}

function counted(quantity, estimates, name, sigma) {
  return { quantity, unit: "members", estimates, noise: [[name, scaleText(sigma)]] };
}

function cell(label, noised, sigma, members) {
  const { value, bounds } = aroundOne(noised, sigma, new Rational(0n), new Rational(members));
  return estimateOf(value, bounds, 0, label);
}

/** One noised whole number, clamped to what is possible, with its interval. */
function aroundOne(noised, sigma, low, high) {
  const wide = halfWidth(sigma);
  const value = clamp(new Rational(noised), low, high);
  return { value, bounds: within([new Rational(noised - wide), new Rational(noised + wide)], value, low, high) };
}

function labelsOf({ variable, edges }, { variables }) {
  if (edges === undefined) return named(variable, variables).categories ?? anotherDictionary();
  return edges.slice(1).map((edge, i) => `[${edges[i]}, ${edge}${i === edges.length - 2 ? "]" : ")"}`);
}

/** The last axis runs fastest. */
function outer(rows, labels) {
  return rows.flatMap((row) => labels.map((label) => [...row, label]));
}

// --- numbers

function sum({ variable }, dictionary) {
  const { number, unit, size } = placed(variable, dictionary);
  const common = gcd(number.step, number.lower);
  const [lower, upper] = [number.lower / common, (number.lower + number.step * number.steps) / common];
  const [low, high] = [lower < 0n ? lower : 0n, upper > 0n ? upper : 0n];
  const whole = size.times(common).over(number.step);
  const finish = ([noised], sigma, members) => {
    const { value, bounds } = aroundOne(noised, sigma, new Rational(members * low), new Rational(members * high));
    const estimate = estimateOf(value.times(whole), bounds.map((end) => end.times(whole)), unit.decimals);
    return { quantity: "sum", unit: unit.unit, estimates: [estimate], noise: [["sum", scaleText(sigma.times(whole))]] };
  };
  return { wanted: [{ low, high }], squaredSensitivity: (high - low) ** 2n, finish };
}

function mean({ variable }, dictionary) {
  const { number, unit, size, origin } = placed(variable, dictionary);
  const [width, weight] = [number.steps, countWeight(number.steps)];
  const inUnit = (value) => origin.plus(size.times(value));
  const finish = (noised, sigma, members) => {
    const value = meanOf(noised, width, members);
    const bounds = within(meanInterval(noised, width, sigma), value, new Rational(0n), new Rational(width));
    const estimate = estimateOf(inUnit(value), bounds.map(inUnit), unit.decimals + EXTRA_DIGITS);
    const noise = [["count", scaleText(sigma.over(weight))], ["sum of deviations from the middle", scaleText(sigma.times(size).over(2n))]];
    return { quantity: "mean", unit: unit.unit, estimates: [estimate], noise };
  };
  const wanted = [{ low: -width, high: width }, { low: 0n, high: weight }];
  return { wanted, squaredSensitivity: (2n * width) ** 2n, finish };
}

function variance({ variable }, dictionary) {
  const { number, unit, size } = placed(variable, dictionary);
  const width = number.steps;
  const { linear, count: weight } = varianceWeights(width);
  const finish = (noised, sigma, members) => {
    const { value, bounds } = varianceAnswer(noised, width, sigma, members);
    const scaled = bounds.map((end) => end.times(size.squared()));
    const estimate = estimateOf(value.times(size.squared()), scaled, 2 * unit.decimals + EXTRA_DIGITS);
    const noise = [
      ["count", scaleText(sigma.over(weight))],
      ["sum of deviations from the middle", scaleText(sigma.times(size).over(2n * linear))],
      ["sum of squared deviations", scaleText(sigma.times(size.squared()).over(8n))],
    ];
    return { quantity: "variance", unit: `(${unit.unit})^2`, estimates: [estimate], noise };
  };
  const wanted = [
    { low: -linear * width, high: linear * width },
    { low: 0n, high: weight },
    { low: -(width ** 2n), high: width ** 2n },
  ];
  return { wanted, squaredSensitivity: (2n * linear * width) ** 2n, finish };
}

/** A number's place on the encoding's grid: q stands for origin + size q, in its unit. */
function placed(name, { variables, encoding }) {
  const unit = named(name, variables);
  if (unit.kind !== "number") anotherDictionary();
  const number = named(name, encoding.variables);
  const one = 10n ** BigInt(unit.decimals);
  return { unit, number, size: new Rational(number.step, one), origin: new Rational(number.lower, one) };
}

function named(name, list) {
  return list.find((each) => each.name === name) ?? anotherDictionary();
}

function anotherDictionary() {
  const message = "The data dictionary that this operator shows does not have what was asked for, so these sums mean nothing.";
  return refuse("wrong_dictionary", message, "Do not use it; keep the receipt, and tell the steward of the dataset.");
}

function tooMany() {
  const message = `The question has more cells than an answer of sums can have, which is ${MOST_SUMS}.`;
  refuse("sums_too_many", message, "Keep the receipt and ask the operator: such a question should have been refused.");
}

function gcd(one, other) {
  let [a, b] = [one, other < 0n ? -other : other];
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}
