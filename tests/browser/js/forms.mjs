/** What every format is made of. */

import { CODE_AND_FIELD, bytes, fromUtf8, untagged, utf8 } from "./support.mjs";

export async function forms(vectors, checks) {
  const cases = vectors.web.forms;
  await json(cases, checks);
  await decimals(cases, checks);
  await fields(cases, checks);
  await encodings(cases, checks);
  await amounts(checks);
  await typed(checks);
  await rounded(checks);
}

/** To what the numbers that a question looks at were rounded before they were encrypted: said of each, once. */
async function rounded(checks) {
  const { roundingOf } = checks.modules.rounding;
  const number = (name, unit) => ({ name, label: name.toUpperCase(), kind: "number", unit });
  const variables = [number("age", "a"), number("lab", "mmol/L"), { name: "sex", label: "Sex", kind: "category" }, number("plain", ""), number("years", "a"), number("count", "")];
  const encoding = { variables: [{ name: "age", step: "5" }, { name: "lab", step: "0.004" }, { name: "sex" }, { name: "plain", step: "2" }, { name: "years", step: "1" }, { name: "count", step: "1" }] };
  const told = (parameters, dictionary = { variables, encoding }) => roundingOf(parameters, dictionary).match(/encoding: (.*)\. The answer/)?.[1] ?? "";
  const filters = [{ variable: "age" }, { variable: "sex" }, { variable: "age" }];
  const cases = [
    [{ variable: "lab", filters: [] }, "LAB to the nearest 0.004 mmol/L"],
    [{ variable: "lab", filters }, "LAB to the nearest 0.004 mmol/L; AGE to the nearest 5 years"],
    [{ axes: [{ variable: "sex" }, { variable: "age" }] }, "AGE to the nearest 5 years"],
    ...[[{ filters }, "AGE to the nearest 5 years"], [{ variable: "plain" }, "PLAIN to the nearest 2"]],
    ...[[{ variable: "years" }, "YEARS to whole years"], [{ variable: "count" }, "COUNT to whole numbers"]],
    ...[[{ variable: "sex" }, ""], [{ filters: [] }, ""], [{ variable: "gone" }, ""]],
  ];
  for (const [parameters, wanted] of cases) await checks.same(`rounding of ${JSON.stringify(parameters)}`, () => told(parameters), wanted);
  await checks.same("without an encoding nothing is rounded", () => told({ variable: "age" }, { variables }), "");
}

/** What somebody typed: a comma that means a fraction is never left out, which would multiply it. */
async function typed(checks) {
  const { question, typed: read } = checks.modules;
  const wholes = [["30000000", "30000000"], [" 30,000,000 ", "30000000"], ["30 000 000", "30000000"], ["0", "0"]];
  const none = ["5,5", "0,500", "30.000.000", "30,000,00", "1e6", "-1", "1,0000", "", ","].map((each) => [each, null]);
  for (const [text, whole] of [...wholes, ...none]) await checks.same(`“${text}” is ${whole}`, () => read.wholeIn(text), whole);
  const lists = [["18, 50,  110", ["18", "50", "110"]], ["0,5, 7", ["0,5", "7"]], ["1,000", ["1,000"]], ["0,5", ["0,5"]], ["80, ", ["80"]], ["80,", ["80"]], ["", []]];
  for (const [text, several] of lists) await checks.same(`“${text}” are ${several}`, () => read.numbersIn(text), several);
  await asking(checks);
  const goals = [["cost", "30,000", '{"cost":30000}'], ["cost", "5,5", '{"cost":"5,5"}'], ["target_error", " 5,5", '{"target_error":"5,5"}']];
  for (const [goal, text, sent] of goals) await checks.same(`${goal} “${text}”`, () => JSON.stringify(question.goalOf(goal, { [goal]: text })), sent);
}

/** 1,000 is a thousand or two numbers, 0,5 a half or two: whoever asks is told to write which, at the field. */
async function asking(checks) {
  const { questionOf } = checks.modules.question;
  const analyses = [{ id: "all.v1", lanes: [1], parameters: ["variable", "edges", "axes", "filters"] }];
  const own = { dataset: "0x", analyses, variables: [{ name: "age", kind: "number" }, { name: "sex", kind: "category" }] };
  const sound = {
    ...{ analysis: "all.v1", variable: "age", edges: "0.5, 1000", classes: "1", axis1: "age", axis1_edges: "1, 2", axis2: "sex" },
    ...{ filter1_variable: "age", filter1_op: "in", filter1_value: "1, 2", filter2_variable: "sex", filter2_op: "in", filter2_value: "a,b" },
  };
  const missing = (changed) => questionOf({ ...sound, ...changed }, own).missing?.[0] ?? null;
  await checks.same("a comma between words or before a space is clear", () => missing({}), null);
  const written = ["1,000", "0,5", "18,50,110", "80,120, 200", "80, 120,200"];
  for (const text of written) {
    for (const field of ["edges", "axis1_edges", "filter1_value"]) {
      await checks.same(`“${text}” as ${field} may be two things`, () => missing({ [field]: text }), field);
    }
  }
  await unencoded(own, sound, checks);
}

/** Without it the question would be another, of more people: a lane that cannot look at a variable leaves nothing out. */
async function unencoded({ analyses: [analysis], ...rest }, sound, checks) {
  const { questionOf } = checks.modules.question;
  const own = { ...rest, analyses: [{ ...analysis, lanes: [1, 2] }] };
  const asked = (lane, encoded, changed = {}) => questionOf({ ...sound, axis3: "age", axis3_edges: "1, 2", ...changed, lane }, { ...own, encoded });
  const wrong = (...given) => asked(...given).missing?.slice(0, 3).map((each) => /encoding does not have it/.test(each) || each) ?? null;
  const refused = (control) => [control, "Choose another one, or leave it empty; or ask in the vault lane.", true];
  await checks.same("all encoded", () => asked("2", ["age", "sex"]).missing, null);
  await checks.same("none encoded, in the vault lane", () => asked("1", []).missing, null);
  await checks.same("an axis", () => wrong("2", ["age"]), refused("axis2"));
  await checks.same("the last axis", () => wrong("2", ["sex"], { axis1: "sex" }), refused("axis3"));
  const rows = { axis1: "sex", axis3: "" };
  await checks.same("the first condition", () => wrong("2", ["sex"], rows), refused("filter1_variable"));
  await checks.same("the second condition", () => wrong("2", ["age"], { axis2: "age", axis2_edges: "1, 2" }), refused("filter2_variable"));
  const kept = () => asked("2", ["age"]).question.parameters.filters.map(({ variable }) => variable);
  await checks.same("and no condition is left out", kept, ["age", "sex"]);
}

/** To the cent and rounded up, where nobody signs it; below a cent exactly. */
async function amounts(checks) {
  const euro = { decimals: 6, symbol: "EUR" };
  const read = [[1_159_736n, "1.16 EUR"], ["209113536", "209.12 EUR"], [1_160_000, "1.16 EUR"], [10_001, "0.02 EUR"], [9_999, "0.009999 EUR"], [0, "0.00 EUR"]];
  for (const [units, shown] of read) await checks.same(`${units} units are ${shown}`, () => checks.modules.figures.inCents(units, euro), shown);
  await checks.same("without cents nothing is rounded", () => checks.modules.figures.inCents(7, { decimals: 0, symbol: "T" }), "7.00 T");
}

async function json(cases, checks) {
  const { canonical, json: reader, decimal } = checks.modules;
  for (const each of cases.canonical) {
    const name = `canonical ${fromUtf8(bytes(each.raw)).slice(0, 40)}`;
    const read = () => canonical.canonical(canonical.parse(bytes(each.raw), { limit: each.limit }));
    await checks.agrees(name, read, each, CODE_AND_FIELD);
    const isCanonical = each.value?.b === each.raw;
    const strictly = () => canonical.canonical(canonical.parseCanonical(bytes(each.raw)));
    if (isCanonical) await checks.same(`${name} is its own form`, strictly, each.value);
    else if (each.value) await checks.agrees(`${name} is another form`, strictly, NOT_CANONICAL, ["code", "field"]);
  }
  await checks.same("a prototype is no member", () => Object.keys(canonical.parse(utf8('{"__proto__":1}'), { limit: 99 })), ["__proto__"]);
  for (const value of [1.5, NaN, Infinity, undefined, new Date(0), Symbol.iterator, () => 1, [undefined], { a: undefined }]) {
    await checks.agrees(`no canonical form: ${String(value)}`, () => canonical.canonical(value), MALFORMED, ["code"]);
  }
  await checks.same("shallow at its bound", () => reader.isShallow(utf8("[[1]]"), 2), true);
  await checks.same("too deep", () => reader.isShallow(utf8("[[[1]]]"), 2), false);
  for (const each of cases.numbers) {
    const read = () => {
      const found = canonical.parse(utf8(each.text), { limit: 4096, decimals: true });
      return found instanceof decimal.Decimal ? "fraction" : "whole";
    };
    await checks.agrees(`number ${each.text}`, read, each, CODE_AND_FIELD);
  }
}

const MALFORMED = { refused: { code: "malformed_json" } };
const NOT_CANONICAL = { refused: { code: "malformed_json", field: "$" } };

async function decimals(cases, checks) {
  const { Decimal } = checks.modules.decimal;
  for (const { text, places, scaled, rounded } of cases.decimals) {
    const value = Decimal.parse(text);
    await checks.same(`${text} scaled by ${places}`, () => value.scaled(places), scaled === null ? null : { n: scaled });
    await checks.same(`${text} rounded to ${places}`, () => value.rounded(places).scaled(places), { n: rounded });
  }
  for (const [one, other, wanted] of cases.compared) {
    await checks.same(`${one} against ${other}`, () => Decimal.parse(one).compare(Decimal.parse(other)), { n: String(wanted) });
    const back = String(wanted === 0 ? 0 : -wanted);
    await checks.same(`${other} against ${one}`, () => Decimal.parse(other).compare(Decimal.parse(one)), { n: back });
  }
  for (const [text, shown] of [["72.50", "72.50"], ["-0.05", "-0.05"], ["1E3", "1000"], ["5e-3", "0.005"], ["-0", "0"], ["0.00", "0.00"]]) {
    await checks.same(`${text} is shown as ${shown}`, () => Decimal.parse(text).toText(), shown);
  }
  for (const text of ["", "abc", "1.", ".5", "0x10", "1,5", "\u0661", "1e", "--1", "Infinity", "1_0"]) {
    await checks.same(`no decimal: ${text}`, () => Decimal.parse(text), null);
  }
  await checks.same("a decimal does not show its digits", () => [JSON.stringify(Decimal.parse("173.5")), String(Object.keys(Decimal.parse("1.5")))], ["{}", ""]);
}

async function fields(cases, checks) {
  const { bytes: spelling, address } = checks.modules;
  for (const [text, wanted] of cases.hex) await checks.agrees(`hex ${text}`, () => spelling.fromHex(text, "f", 8), wanted);
  for (const [text, wanted] of cases.base64) await checks.agrees(`base64 ${text}`, () => spelling.fromBase64(text, "f", 8), wanted, CODE_AND_FIELD);
  const refused = { refused: { code: "bad_parameter", field: "f" } };
  // The servers' reader lets these pass; a browser writes and reads one spelling only.
  for (const text of ["0x 00", "0x00 ", "0x0 0"]) await checks.agrees(`hex '${text}'`, () => spelling.fromHex(text, "f", 8), refused, CODE_AND_FIELD);
  for (const text of ["QR==", "QUJ=", "QUJD====", "QQ==\n"]) await checks.agrees(`base64 '${text}'`, () => spelling.fromBase64(text, "f", 8), refused, CODE_AND_FIELD);
  await checks.same("base64 of nine bytes where eight are allowed", () => {
    try {
      return spelling.fromBase64("QUJDREVGR0hJSg==", "f", 8).length;
    } catch (fault) {
      return fault.code;
    }
  }, "bad_parameter");
  const long = Uint8Array.from({ length: 100_000 }, (_, i) => i % 251);
  await checks.same("base64 of 100,000 bytes comes back", () => spelling.equal(spelling.fromBase64(spelling.toBase64(long), "f"), long), true);
  const wide = new Uint8Array(6_000_000).fill(7);
  await checks.same("megabytes come back", () => spelling.fromBase64(spelling.toBase64(wide), "f").length, { n: "6000000" });
  await checks.same("megabytes in hexadecimal, too", () => spelling.fromHex("0x" + "07".repeat(1_000_000), "f").length, { n: "1000000" });
  for (const [text, plain, strict] of cases.addresses) {
    await checks.agrees(`address ${text}`, () => address.address(text, "a"), plain);
    await checks.agrees(`signed address ${text}`, () => address.strictAddress("a", text), strict);
  }
}

async function encodings(cases, checks) {
  const { abi, analysis, tagged: hashes } = checks.modules;
  for (const { types, values, encoded } of cases.abi) {
    await checks.same(`abi ${types}`, () => abi.encode(types, untagged(values)), { b: encoded });
    await checks.same(`abi ${types} decoded`, () => abi.decode(types, bytes(encoded)), values);
    const cut = bytes(encoded).slice(0, -1);
    if (cut.length) await checks.agrees(`abi ${types} cut`, () => abi.decode(types, cut), { refused: { code: "malformed_message" } }, ["code"]);
  }
  for (const [types, values] of UNENCODABLE) {
    await checks.agrees(`abi ${types} of ${values}`, () => abi.encode(types, values), { refused: { code: "malformed_message" } }, ["code"]);
  }
  for (const [types, data] of UNDECODABLE) {
    await checks.agrees(`abi ${types} from ${data.slice(0, 20)}`, () => abi.decode(types, bytes(data)), { refused: { code: "malformed_message" } }, ["code"]);
  }
  for (const { tag, types, values, hash } of cases.tagged) {
    await checks.same(`tagged ${tag}`, () => hashes.taggedHash(tag, types, untagged(values)), { b: hash });
  }
  for (const { text, written, hash } of cases.parameters) {
    const read = checks.modules.canonical.parse(utf8(text), { limit: 4096 });
    await checks.same(`parameters ${text}`, () => analysis.parametersText(read), written);
    await checks.same(`hash of parameters ${text}`, () => analysis.parametersHash(read), { b: hash });
  }
  for (const [name, hash] of cases.analyses) await checks.same(`analysis ${name}`, () => analysis.analysisHash(name), { b: hash });
}

const WORD = "00".repeat(31);
const UNENCODABLE = [
  [["uint8"], [256]], [["uint8"], [-1]], [["uint256"], [2n ** 256n]], [["uint8"], ["1"]], [["uint8"], [1.5]],
  [["uint64"], [2 ** 53]], [["bool"], [1]], [["address"], ["0x00"]], [["bytes32"], [new Uint8Array(31)]],
  [["bytes"], ["0x"]], [["string"], [5]], [["uint8[]"], [5]], [["(uint8,bool)"], [[1]]], [["uint8"], []],
];
const UNDECODABLE = [
  [["bool"], "0x" + WORD + "02"], [["uint8"], "0x" + "00".repeat(30) + "0100"], [["address"], "0x" + "ff".repeat(32)],
  [["bytes2"], "0x41424300" + "00".repeat(28)], [["bytes"], "0x" + "ff".repeat(32)], [["bytes"], "0x" + WORD + "20" + "ff".repeat(32)],
  [["bytes"], "0x" + WORD + "20" + WORD + "01" + "41" + "00".repeat(30) + "01"], [["uint256[]"], "0x" + WORD + "20" + "00".repeat(28) + "ffffffff"],
  [["string"], "0x" + WORD + "20" + WORD + "01" + "ff" + "00".repeat(31)],
];

