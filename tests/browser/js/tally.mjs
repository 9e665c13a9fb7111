/** Tallies: transcripts, generators, encodings, columns and whole proofs, byte for byte what the servers make. */

import { bytes, utf8 } from "./support.mjs";

const CODES = ["code", "field"];

export async function tally(vectors, checks) {
  const { parts, encodings, proofs } = vectors.tally;
  for (const each of parts.transcripts) await transcript(each, checks);
  await generators(parts.generators, checks);
  for (const each of parts.bits) await bits(each, checks);
  for (const each of parts.columns) await columns(each, checks);
  for (const each of encodings.good) await encoding(each, checks);
  for (const each of encodings.bad) await badEncoding(each, checks);
  for (const each of proofs.given) await proof(each, encodings.good, checks);
  await refused(proofs.given[0], encodings.good, checks);
}

async function transcript({ protocol, context, data, challenges }, checks) {
  const { Transcript } = checks.modules["tally/transcript"];
  const asked = () => {
    const talk = new Transcript(protocol, bytes(context));
    talk.absorb("first", bytes(data));
    const first = talk.challenge("one");
    talk.absorb("second", bytes(data).slice(0, 1));
    return [first, talk.challenge("two"), talk.challenge("two")];
  };
  await checks.same(`a transcript of ${data.length}`, asked, whole(challenges));
}

async function generators(wanted, checks) {
  const { "tally/generators": own, "tally/points": points } = checks.modules;
  await checks.same("H", () => points.bytesOf(own.blinding()), { b: wanted.blinding });
  await checks.same("K", () => points.bytesOf(own.single()), { b: wanted.single });
  const vector = () => own.vector(wanted.vector.length).map(points.bytesOf);
  await checks.same("G_i", vector, wanted.vector.map((b) => ({ b })));
  await checks.same("the point at infinity", () => points.bytesOf(points.Point.ZERO), { b: "0x" + "00".repeat(33) });
}

async function bits({ largest, value, weights, bits: wanted }, checks) {
  const relation = checks.modules["tally/relation"];
  await checks.same(`weights of 0..${largest}`, () => relation.weights(BigInt(largest)), whole(weights));
  await checks.same(`bits of ${value} in ${largest}`, () => relation.bitsOf(BigInt(value), BigInt(largest)), whole(wanted));
  for (const outside of [-1n, BigInt(largest) + 1n]) {
    await checks.same(`no bits of ${outside} in ${largest}`, thrown(() => relation.bitsOf(outside, BigInt(largest))), "RangeError");
  }
}

async function columns({ values, randomness, key, columns: wanted }, checks) {
  const { "tally/elgamal": elgamal, "tally/points": points } = checks.modules;
  const publicKey = points.pointOf(bytes(key));
  const encrypted = (scalars) => elgamal.encrypt(values.map(BigInt), scalars, publicKey);
  await checks.same("columns", () => encrypted(randomness.map(BigInt)), { b: wanted });
  await checks.same("a scalar too few", thrown(() => encrypted(randomness.slice(1).map(BigInt))), "RangeError");
  await checks.same("a scalar of 0", thrown(() => encrypted(randomness.map(() => 0n))), "RangeError");
}

/**
 * What a row is does not show in how many products are formed: none is left out for what is 0. The library
 * blinds each product with a secret by 16 random bytes of its own, so those are counted.
 */
async function products(row, given, checks) {
  const { encryptedRow } = checks.modules["tally/encrypted"];
  const { getRandomValues } = Crypto.prototype;
  let count = 0;
  Crypto.prototype.getRandomValues = function counted(into) {
    if (into.length === 16) count++;
    return getRandomValues.call(this, into);
  };
  const countedFor = (one) => {
    count = 0;
    encryptedRow({ ...given, row: one });
    return count;
  };
  try {
    const nothing = countedFor(row.map(() => null));
    await checks.same("as many products for a row as for nothing", () => countedFor(row), { n: String(nothing) });
    await checks.same("products are counted", () => nothing > 10, true);
  } finally {
    Crypto.prototype.getRandomValues = getRandomValues;
  }
}

async function encoding({ document, bytes: wanted, hash, columns: listed, counts, digest, rows }, checks) {
  const { dictionary, "tally/encoding": encodings, "tally/statement": statement, "tally/relation": relations } = checks.modules;
  const read = dictionary.load(utf8(JSON.stringify(document)));
  const name = `encoding ${hash.slice(0, 8)}`;
  await checks.same(`${name}: bytes`, () => dictionary.toBytes(read), { b: wanted });
  await checks.same(`${name}: hash`, () => dictionary.hashOf(read), { b: hash });
  await checks.same(`${name}: again`, () => dictionary.toBytes(dictionary.load(dictionary.toBytes(read))), { b: wanted });
  const found = () => encodings.columnsOf(read.encoding).map((column) => [column.name, column.atoms, String(column.largest)]);
  await checks.same(`${name}: columns`, found, listed);
  const relation = statement.relationOf(read.encoding);
  const counted = () => [relation.size, relation.columns.length, relation.products.length];
  await checks.same(`${name}: counts`, counted, whole(counts));
  await checks.same(`${name}: digest`, () => relations.digestOf(relation), { b: digest });
  for (const { row, vector, values } of rows) {
    const builder = statement.stated(read.encoding, row);
    const told = `${name}: ${row}`;
    await checks.same(`${told}: vector`, () => builder.vector, whole(vector));
    await checks.same(`${told}: values`, () => relations.valuesOf(relation, builder.vector), whole(values));
    await checks.same(`${told}: holds`, () => relations.holds(relation, builder.vector), true);
    await checks.same(`${told}: says the same of all`, () => relations.digestOf(builder.relation()), { b: digest });
  }
}

async function badEncoding(each, checks) {
  const load = () => checks.modules.dictionary.load(utf8(JSON.stringify(each.document)));
  await checks.agrees(`no encoding: ${each.refused.message}`, load, each);
}

async function proof(given, dictionaries, checks) {
  const { dictionary, "tally/statement": statements, "tally/relation": relations } = checks.modules;
  const { "tally/elgamal": elgamal, "tally/points": points, "tally/validity": validity } = checks.modules;
  const { encoding: read } = dictionary.fromJson(dictionaries[given.good].document);
  const builder = statements.stated(read, given.row);
  const relation = builder.relation();
  const publicKey = points.pointOf(bytes(given.key));
  const randomness = given.randomness.map(BigInt);
  const encrypted = elgamal.encrypt(relations.valuesOf(relation, builder.vector), randomness, publicKey);
  const name = `proof of ${given.row}, dictionary ${given.good}`;
  await checks.same(`${name}: columns`, () => encrypted, { b: given.columns });
  const statement = { context: bytes(given.context), publicKey, relation, columns: encrypted };
  const blinds = { entries: given.entries.map(BigInt), drawn: given.drawn.map(BigInt) };
  const proven = (vector = builder.vector, scalars = randomness) => validity.proveWith(blinds, statement, vector, scalars);
  await checks.same(`${name}: byte for byte`, () => proven(), { b: given.proof });
  await checks.same(`${name}: of another row`, thrown(() => proven(builder.vector.map((entry) => entry + 2n))), "RangeError");
  await checks.same(`${name}: of a shorter vector`, thrown(() => proven(builder.vector.slice(1))), "RangeError");
  await checks.same(`${name}: with a scalar too few`, thrown(() => proven(builder.vector, randomness.slice(1))), "RangeError");
  const fresh = () => hexOf(validity.prove(statement, builder.vector, randomness));
  await checks.same(`${name}: fresh each time`, () => new Set([fresh(), fresh(), given.proof]).size, { n: "3" });
}

/** What a page asks for in vain. */
async function refused({ good, row, context, key }, dictionaries, checks) {
  const { dictionary, "tally/encrypted": encrypted } = checks.modules;
  const { encoding, ...plain } = dictionary.fromJson(dictionaries[good].document);
  const fit = { dictionary: { ...plain, encoding }, row, context: bytes(context), publicKey: bytes(key) };
  const cases = {
    "no encoding": [{ dictionary: plain }, "bad_dictionary", "encoding"],
    "a row that is too long": [{ row: [...row, null] }, "record_unreadable", "row"],
    "a value outside its domain": [{ row: [121] }, "record_unreadable", "age"],
    "a context of 31 bytes": [{ context: new Uint8Array(31) }, "bad_parameter", "context"],
    "a key that is no point": [{ publicKey: new Uint8Array(33) }, "bad_parameter", "joint_key"],
    "a key that is not compressed": [{ publicKey: bytes("0x04").slice(0) }, "bad_parameter", "joint_key"],
  };
  for (const [what, [change, code, field]] of Object.entries(cases)) {
    await checks.agrees(what, () => encrypted.encryptedRow({ ...fit, ...change }), { refused: { code, field } }, CODES);
  }
  await products(row, fit, checks);
  const fractions = [];
  encrypted.encryptedRow(fit, (fraction) => fractions.push(fraction));
  const ascends = fractions.every((fraction, i) => i === 0 || fraction >= fractions[i - 1]);
  await checks.same("how far it is ascends from 0 to 1", () => [fractions[0], fractions.at(-1), ascends], [...whole([0, 1]), true]);
}

function whole(numbers) {
  return numbers.map((each) => ({ n: String(BigInt(each)) }));
}

function hexOf(raw) {
  return "0x" + Array.from(raw, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What the work throws, by name. */
function thrown(work) {
  return () => {
    try {
      work();
    } catch (error) {
      return error.name;
    }
    return "nothing";
  };
}
