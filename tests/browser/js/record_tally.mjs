/** Records with a tally: one sealing and one commitment for both lanes, byte for byte what the servers make. */

import { CODE_AND_FIELD, bytes, fromUtf8, hex, untagged, utf8 } from "./support.mjs";

export async function tallied(vectors, checks) {
  const { trees, records, documents } = vectors.record_tally;
  for (const each of trees.roots) await tree(each, checks);
  for (const each of trees.leaves) await leaf(each, checks);
  for (const each of records.whole) await record(each, checks);
  for (const [i, each] of documents.any.entries()) await document(each, i, checks);
}

async function tree({ columns, root }, checks) {
  const { columnRoot } = checks.modules["tally/header"];
  const raw = bytes(columns);
  const name = `the root over ${raw.length / 66} columns`;
  await checks.same(name, () => columnRoot(raw), { b: root });
  for (const [what, part] of [["a byte less", raw.slice(1)], ["a byte more", new Uint8Array([...raw, 0])], ["nothing", new Uint8Array(0)]]) {
    await checks.same(`${name}, of ${what}`, nameOf(() => columnRoot(part)), "RangeError");
  }
  for (const at of [0, 65, raw.length - 1]) {
    await checks.same(`${name}, changed at ${at}`, () => hex(columnRoot(raw.map((byte, i) => (i === at ? byte ^ 1 : byte)))) === root, false);
  }
}

async function leaf({ publicKey, columnRoot, proofHash, dictionaryHash, leaf: wanted }, checks) {
  const { leafOfHeader } = checks.modules["tally/header"];
  const header = { publicKey: bytes(publicKey), columnRoot: bytes(columnRoot), proofHash: bytes(proofHash) };
  await checks.same("the leaf of the homomorphic lane", () => leafOfHeader(header, bytes(dictionaryHash)), { b: wanted });
}

async function record(each, checks) {
  const { record: records, recordfile, dictionary, decimal, hpke } = checks.modules;
  const name = `record with a tally, ${each.quorum} of ${each.custodians.length}`;
  const read = dictionary.fromJson(each.dictionary);
  const context = { ...each.context, dataset: bytes(each.context.dataset), dictionaryHash: bytes(each.context.dictionaryHash) };
  const secrets = each.custodians.map((raw) => new hpke.SecretKey(bytes(raw)));
  const keys = await Promise.all(secrets.map(async (secret, i) => ({ index: i + 1, publicKey: await secret.publicKey() })));
  const values = untagged({ o: each.values }, decimal.Decimal);
  const tally = tallyOf(each, read, checks.modules);
  const drawn = {
    coefficients: each.coefficients.map(BigInt),
    nonce: bytes(each.nonce),
    ephemerals: each.ephemerals.map((raw) => new hpke.SecretKey(bytes(raw))),
    tally,
  };
  const seal = (given, of = read) => records.seal(of, values, context, keys, each.epoch, each.quorum, given);
  const { HOMOMORPHIC } = checks.modules["tally/header"];
  await checks.same(`${name}: what its proof is bound to`, () => records.aadOf({ ...context, lane: HOMOMORPHIC }), { b: each.tally.context });
  await checks.same(`${name}: byte for byte`, async () => fromUtf8(recordfile.dump(await seal(drawn))), each.document);
  const loaded = recordfile.load(utf8(each.document), context);
  await checks.same(`${name}: read and written`, () => fromUtf8(recordfile.dump(loaded)), each.document);
  await leaves(name, each, loaded, checks);
  await ofItsRow(name, each, { read, loaded, secret: drawn.coefficients[0] }, checks);
  await checks.agrees(`${name}: without its tally`, () => seal({ ...drawn, tally: null }), { refused: { code: "bad_parameter", field: "joint_key" } }, CODE_AND_FIELD);
  await headers(name, each, loaded, checks);
  const box = await records.openBox(drawn.coefficients[0], context, loaded.box);
  await checks.same(`${name}: opens as any other`, () => dictionary.decodeRow(read, box), each.row.map((value) => (value === null ? null : { n: String(value) })));
}

function tallyOf({ row, tally }, { encoding }, modules) {
  const { "tally/elgamal": elgamal, "tally/points": points, "tally/validity": validity } = modules;
  const { "tally/statement": statements, "tally/relation": relations } = modules;
  const builder = statements.stated(encoding, row);
  const [relation, publicKey, randomness] = [builder.relation(), points.pointOf(bytes(tally.key)), tally.randomness.map(BigInt)];
  const columns = elgamal.encrypt(relations.valuesOf(relation, builder.vector), randomness, publicKey);
  const blinds = { entries: tally.entries.map(BigInt), drawn: tally.drawn.map(BigInt) };
  const statement = { context: bytes(tally.context), publicKey, relation, columns };
  return { publicKey: bytes(tally.key), columns, proof: validity.proveWith(blinds, statement, builder.vector, randomness) };
}

async function leaves(name, each, loaded, checks) {
  const { record: records } = checks.modules;
  const { headerOf, leafOfHeader } = checks.modules["tally/header"];
  const { context } = loaded;
  const both = () => [records.leafOf(context, loaded.box, loaded.keyCommitments), leafOfHeader(headerOf(loaded.tally), context.dictionaryHash)];
  await checks.same(`${name}: leaves`, both, each.leaves.map((b) => ({ b })));
  const wanted = JSON.parse(each.document).commitment;
  await checks.same(`${name}: one commitment`, () => records.commitmentOf(loaded), { b: wanted });
  await checks.same(`${name}: the commitment covers the tally`, () => hex(records.commitmentOf({ ...loaded, tally: null })) === wanted, false);
}

/** Whoever has the secret of the box sees whether the columns are of the row in it. */
async function ofItsRow(name, { row, tally }, { read, loaded, secret }, checks) {
  const { columnRandomness, isOfRow } = checks.modules["tally/randomness"];
  const given = [bytes(tally.context), bytes(tally.key), tally.randomness.length];
  const wanted = tally.randomness.map((each) => ({ n: String(BigInt(each)) }));
  await checks.same(`${name}: randomness by its secret`, () => columnRandomness(secret, ...given), wanted);
  await checks.same(`${name}: columns of its row`, () => isOfRow(loaded, secret, read, row), true);
  const [first, ...rest] = row;
  if (first === 57) await checks.same(`${name}: of what is the same on the grid`, () => isOfRow(loaded, secret, read, [58, ...rest]), true);
  const others = { "another row": [loaded, secret, read, [first === 57 ? 17 : 57, ...rest]], "another secret": [loaded, secret + 1n, read, row] };
  others["another dictionary"] = [loaded, secret, { ...read, encoding: null }, row];
  others["another key"] = [{ ...loaded, tally: { ...loaded.tally, publicKey: loaded.keyCommitments[0] } }, secret, read, row];
  others["no key"] = [{ ...loaded, tally: { ...loaded.tally, publicKey: new Uint8Array(33) } }, secret, read, row];
  for (const [what, asked] of Object.entries(others)) await checks.same(`${name}: not of ${what}`, () => isOfRow(...asked), false);
}

/** A header, as a server shows it, leads to the same commitment. */
async function headers(name, { header }, loaded, checks) {
  const { record: records, "tally/file": file } = checks.modules;
  await checks.same(`${name}: by its header`, () => records.commitmentWith(loaded, file.headerIn(header)), { b: header.commitment });
  await checks.same(`${name}: a header without a tally`, () => file.headerIn({ ...header, tally: undefined }), null);
  for (const tally of [null, {}, 5, { ...header.tally, column_root: "0x12" }]) {
    const told = `${name}: a header's tally that is ${JSON.stringify(tally).slice(0, 20)}`;
    await checks.agrees(told, () => file.headerIn({ tally }), { refused: { code: "bad_parameter" } }, ["code"]);
  }
}

async function document({ document: text, fill, ...each }, i, checks) {
  const load = () => void checks.modules.recordfile.load(utf8(text.replace("@", "A".repeat(fill))));
  await checks.agrees(`document ${i}: ${each.refused?.message ?? "that is whole"}`, load, each, CODE_AND_FIELD);
}

function nameOf(work) {
  return () => {
    try {
      work();
    } catch (error) {
      return error.name;
    }
    return "nothing";
  };
}
