/** Answers made of opened sums, the sums themselves, and exact numbers: digit for digit what the servers make. */

import { bytes, utf8 } from "./support.mjs";

export async function answered(vectors, checks) {
  const { answers, openings, numbers, noises } = vectors.tally_answers;
  for (const each of numbers.fractions) await fraction(each, checks);
  for (const each of noises.drawn) await noise(each, checks);
  const { dictionary } = checks.modules;
  const read = dictionary.load(utf8(JSON.stringify(answers.dictionary[0])));
  for (const each of answers.cases) await answer(each, read, checks);
  for (const each of openings.sealed) await opening(each, checks);
  await damaged(openings.sealed[0], checks);
  await delivered(vectors.receipt_tally, checks);
  await unasked(answers.cases[0], checks);
  await unanswerable(read, checks);
  for (const each of vectors.tally_delivery.keys.derived) await key(each, checks);
}

async function fraction({ of: [numerator, denominator], float, root, scale, texts }, checks) {
  const { "exact/rational": exact, "exact/intervals": intervals } = checks.modules;
  const value = new exact.Rational(BigInt(numerator), BigInt(denominator));
  const name = `${numerator}/${denominator}`.slice(0, 30);
  await checks.same(`${name} as a float`, () => value.toFloat() === hexFloat(float), true);
  const back = () => exact.Rational.ofFloat(hexFloat(float)).toFloat() === hexFloat(float);
  await checks.same(`${name} and back`, back, true);
  const rooted = () => {
    const found = exact.sqrtUp(value);
    return [String(found.numerator), String(found.denominator)];
  };
  await checks.same(`root of ${name}`, rooted, root);
  await checks.same(`${name} as a scale`, () => intervals.scaleText(value), scale);
  const told = () => ["round", "floor", "ceil"].map((how) => intervals.decimalText(value.negated(), 2, how));
  await checks.same(`minus ${name} as text`, told, texts);
}

async function noise({ cost, squared_sensitivity: squared, quorum, contributors, scale, sigma }, checks) {
  const { "tally/shares": own } = checks.modules;
  const shares = { cost: BigInt(cost), squaredSensitivity: BigInt(squared), quorum };
  const name = `${contributors} of ${quorum} at ${cost}`;
  await checks.same(`scale of ${name}`, () => own.scaleOf(shares, contributors) === hexFloat(scale), true);
  const whole = () => {
    const found = own.sigmaOf(shares, contributors);
    return [String(found.numerator), String(found.denominator)];
  };
  await checks.same(`whole noise of ${name}`, whole, sigma);
}

/** As Python writes one: 0x1.8p+3. */
function hexFloat(text) {
  const [, whole, digits, power] = /^0x([01])\.([0-9a-f]+)p([+-]\d+)$/.exec(text);
  const half = Math.trunc(Number(power) / 2);
  return (Number(whole) + parseInt(digits, 16) / 16 ** digits.length) * 2 ** half * 2 ** (Number(power) - half);
}

async function answer(each, dictionary, checks) {
  const { "tally/answer": answers, canonical } = checks.modules;
  const settled = { members: each.members, cost: BigInt(each.cost), contributors: each.contributors, quorum: each.quorum };
  const name = `${each.analysis} of ${each.members}`;
  const question = answers.questionOf(each.analysis, each.parameters, dictionary, settled);
  await checks.same(`${name}: ranges`, () => question.ranges.map((range) => range.map(String)), each.ranges);
  const made = () => canonical.canonical(question.noised(each.sums.map(BigInt)));
  await checks.same(`${name}: ${each.sums}`.slice(0, 60), made, { b: hex(canonical.canonical(each.noised)) });
}

async function opening({ secret, sealed, ranges, values }, checks) {
  const { "tally/opened": opened } = checks.modules;
  const of = { sealed: bytes(sealed), secret: BigInt(secret), ranges: ranges.map((range) => range.map(BigInt)) };
  await checks.same(`opens ${values} in ${ranges}`.slice(0, 60), () => opened.openedSums(of).map(String), values);
  const beside = of.ranges.map(([low], i) => [low - 3n, BigInt(values[i]) - 1n]);
  const missed = { refused: { code: "sum_out_of_range", field: "sealed_result" } };
  await checks.agrees(`none beside ${values}`.slice(0, 60), () => opened.openedSums({ ...of, ranges: beside }), missed, ["code", "field"]);
}

/** A whole receipt, made of real partial decryptions for the key of 0x7e57. */
async function delivered({ receipt, bundle }, checks) {
  const { curve, dictionary, receiptfile, canonical, "tally/answer": answers, "tally/opened": opened } = checks.modules;
  const read = receiptfile.load(canonical.canonical(receipt));
  const { encoding, variables } = dictionary.fromJson(bundle[0].dictionary);
  const settled = { members: read.cohort.members, cost: read.cost, contributors: read.tally.places.length, quorum: read.committee.quorum };
  const question = answers.questionOf(read.analysis, JSON.parse(read.parameters), { encoding, variables }, settled);
  const scalar = 0x7e57n;
  const secret = curve.timesGenerator(scalar)[0] === 2 ? scalar : curve.ORDER - scalar;
  const found = () => {
    const sums = opened.openedSums({ sealed: read.sealedResult, secret, ranges: question.ranges });
    return sums.every((sum, i) => question.ranges[i][0] <= sum && sum <= question.ranges[i][1]);
  };
  await checks.same("a delivered answer opens", found, true);
  const other = { refused: { code: "sum_out_of_range", field: "sealed_result" } };
  const wrong = () => opened.openedSums({ sealed: read.sealedResult, secret: curve.ORDER - secret, ranges: question.ranges });
  await checks.agrees("not by another key", wrong, other, ["code", "field"]);
}

async function damaged({ secret, sealed, ranges }, checks) {
  const { "tally/opened": opened } = checks.modules;
  const whole = bytes(sealed);
  const spoilt = [whole.slice(0, 2), whole.slice(0, -1), whole.with(0, 2), whole.with(2, 0), whole.with(3, 7), new Uint8Array(0)];
  const wrong = { refused: { code: "envelope_unreadable", field: "sealed_result" } };
  for (const each of spoilt) {
    const of = { sealed: each, secret: BigInt(secret), ranges: ranges.map((range) => range.map(BigInt)) };
    await checks.agrees(`no sums: ${each.slice(0, 4)} ${each.length}`, () => opened.openedSums(of), wrong, ["code", "field"]);
  }
}

async function unasked({ parameters }, checks) {
  const { "tally/answer": answers } = checks.modules;
  const settled = { members: 20, cost: 1n, contributors: 2, quorum: 2 };
  const wide = (sums) => () => answers.requireWithinReach(Array(sums).fill([-(2n ** 39n), 2n ** 39n - 1n]));
  await checks.same("sixteen of the widest sums are within reach", wide(16), null);
  await checks.agrees("sixty-four are not", wide(64), { refused: { code: "opened_elsewhere", field: null } }, ["code", "field"]);
  const asked = () => answers.questionOf("logistic.v1", parameters, { variables: [], encoding: null }, settled);
  await checks.agrees("no logistic regression here", asked, { refused: { code: "opened_elsewhere", field: null } }, ["code", "field"]);
}

/** Of a dictionary that is not the question's, or of a question that no server takes: a refusal, and no fault of the page. */
async function unanswerable(dictionary, checks) {
  const { "tally/answer": answers } = checks.modules;
  const settled = { members: 20, cost: 1n, contributors: 2, quorum: 2 };
  const asked = (analysis, parameters) => () => answers.questionOf(analysis, parameters, dictionary, settled).ranges.length;
  const wrong = { refused: { code: "wrong_dictionary", field: null } };
  const of = ["sum.v1", "mean.v1", "variance.v1"].flatMap((analysis) => [[analysis, { variable: "gone" }], [analysis, { variable: "sex" }]]);
  const cells = [["histogram.v1", { variable: "gone" }], ["histogram.v1", { variable: "age" }], ["cross_table.v1", { axes: [{ variable: "sex" }, { variable: "gone" }] }]];
  for (const [analysis, parameters] of [...of, ...cells]) {
    await checks.agrees(`${analysis} of ${JSON.stringify(parameters)}`, asked(analysis, parameters), wrong, ["code", "field"]);
  }
  const axis = (count) => ({ variable: "age", edges: Array.from({ length: count + 1 }, (_, i) => String(i)) });
  await checks.same("1,024 cells", asked("cross_table.v1", { axes: [axis(32), axis(32)] }), { n: "1024" });
  const many = { refused: { code: "sums_too_many", field: null } };
  for (const axes of [[axis(41), axis(25)], [axis(1e5), axis(1e5), axis(1e5)]]) {
    await checks.agrees(`${axes.map(({ edges }) => edges.length)} are too many`, asked("cross_table.v1", { axes }), many, ["code", "field"]);
  }
}

async function key({ delivery, secret, public: publicKey }, checks) {
  const { hpke, "tally/deliverykey": keys } = checks.modules;
  const own = new hpke.SecretKey(bytes(delivery));
  await checks.same(`delivery key ${delivery.slice(0, 8)}`, async () => (await keys.tallyKeyOf(own)).publicKey, { b: publicKey });
  await checks.same(`its secret`, async () => String((await keys.tallyKeyOf(own)).secret), String(BigInt(secret)));
  await checks.same(`in the homomorphic lane`, () => keys.deliveryKeyOf(2, own), { b: publicKey });
  await checks.same(`in the vault lane`, async () => keys.deliveryKeyOf(1, own), { b: hex(await own.publicKey()) });
}

function hex(raw) {
  return "0x" + Array.from(raw, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
