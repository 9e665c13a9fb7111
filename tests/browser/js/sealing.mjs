/** Sealing: dictionaries, rows, key shares, envelopes, records. */

import { CODE_AND_FIELD, bytes, fromUtf8, hex, untagged, utf8 } from "./support.mjs";

export async function sealing(vectors, checks) {
  const cases = vectors.web.sealing;
  await dictionaries(cases, checks);
  await rows(cases, checks);
  await dealings(cases, vectors.feldman, checks);
  await envelopes(cases, vectors, checks);
  for (const each of cases.records) await record(each, checks);
  await documents(cases, vectors.record, checks);
}

async function dictionaries(cases, checks) {
  const { dictionary } = checks.modules;
  for (const { document, bytes: wanted, hash } of cases.dictionaries) {
    const read = () => dictionary.load(utf8(JSON.stringify(document)));
    await checks.same(`dictionary ${hash}`, () => dictionary.toBytes(read()), { b: wanted });
    await checks.same(`dictionary ${hash} hashed`, () => dictionary.hashOf(read()), { b: hash });
  }
  for (const each of cases.bad_dictionaries) {
    const name = `no dictionary: ${each.refused.message}`;
    await checks.agrees(name, () => dictionary.load(utf8(JSON.stringify(each.document))), each);
  }
  const fraction = utf8(JSON.stringify(cases.small).replace('"version":1', '"version":1.0'));
  await checks.agrees("a version with a point", () => dictionary.load(fraction), { refused: { code: "malformed_json" } }, ["code"]);
}

async function rows(cases, checks) {
  const { dictionary, row: rows, decimal } = checks.modules;
  const small = dictionary.fromJson(cases.small);
  for (const each of cases.rows) {
    await checks.agrees(`row ${each.row}`, () => dictionary.encodeRow(small, each.row), each);
    if (!each.value) continue;
    const wanted = each.row.map((value) => (value === null ? null : { n: String(value) }));
    await checks.same(`row ${each.row} comes back`, () => dictionary.decodeRow(small, bytes(each.value.b)), wanted);
  }
  for (const each of cases.bad_rows) {
    await checks.agrees(`no row: ${each.plaintext}`, () => dictionary.decodeRow(small, bytes(each.plaintext)), each);
  }
  for (const each of cases.values) {
    const values = untagged({ o: each.values }, decimal.Decimal);
    await checks.agrees(`values ${JSON.stringify(each.values)}`, () => rows.toRow(small, values), each);
  }
  const refused = { refused: { code: "bad_parameter", field: "weight" } };
  for (const value of [70, 70.5, undefined, NaN, {}]) {
    await checks.agrees(`a weight of ${value}`, () => rows.toRow(small, { weight: value }), refused, CODE_AND_FIELD);
  }
}

async function dealings(cases, old, checks) {
  const { feldman } = checks.modules;
  for (const { coefficients, custodians, commitments, shares } of cases.dealings) {
    const dealt = feldman.deal(coefficients.map(BigInt), custodians);
    const quorum = coefficients.length;
    await checks.same(`commitments, quorum ${quorum}`, () => dealt.commitments, commitments.map((b) => ({ b })));
    await checks.same(`shares, quorum ${quorum}`, () => dealt.shares.map(({ value }) => value), shares.map((n) => ({ n })));
    const [first, ...rest] = dealt.shares.slice(-quorum).reverse();
    const secret = { n: coefficients[0] };
    await checks.same(`opened by the last ${quorum}`, () => feldman.combine([first, ...rest], dealt.commitments).secret, secret);
    const liar = { index: first.index, value: first.value + 1n };
    await checks.agrees(`a wrong share of ${quorum}`, () => feldman.verifyShare(liar, dealt.commitments), WRONG_SHARE, CODE_AND_FIELD);
    await checks.agrees(`too few of ${quorum}`, () => feldman.combine([liar, ...rest], dealt.commitments), TOO_FEW, CODE_AND_FIELD);
    for (const share of [{ ...first, value: first.value + checks.modules.curve.ORDER }, { ...first, index: 0 }, { ...first, index: 17 }, { ...first, value: 0n }]) {
      await checks.agrees(`no share of ${quorum}`, () => feldman.verifyShare(share, dealt.commitments), WRONG_SHARE, CODE_AND_FIELD);
    }
    const spare = dealt.shares.slice(0, quorum);
    const found = () => feldman.combine([liar, ...spare], dealt.commitments);
    if (first.index > quorum) await checks.same(`the liar of ${quorum} is named`, () => found().wrong, [{ n: String(first.index) }]);
  }
  for (const each of cases.bad_dealings) {
    await checks.agrees(`no dealing of ${each.custodians}`, () => feldman.deal(each.coefficients.map(BigInt), each.custodians), each, CODE_AND_FIELD);
  }
  const kept = feldman.deal(old.coefficients.map(BigInt), 3).commitments;
  await checks.same("the vector that custodians know", () => kept.map((point) => hex(point).slice(2)), old.commitments);
  const drawn = feldman.drawCoefficients(5n, 4);
  await checks.same("a polynomial through the secret", () => [drawn.length, drawn[0], new Set(drawn).size], [{ n: "4" }, { n: "5" }, { n: "4" }]);
  for (const scalar of [0n, checks.modules.curve.ORDER, -1n]) {
    await checks.agrees(`no scalar: ${scalar}`, () => checks.modules.curve.timesGenerator(scalar), { refused: { code: "bad_parameter", field: "scalar" } }, CODE_AND_FIELD);
  }
}

const WRONG_SHARE = { refused: { code: "wrong_share", field: "share" } };
const TOO_FEW = { refused: { code: "too_few_shares", field: "shares" } };
const UNREADABLE = { refused: { code: "envelope_unreadable", field: "envelope" } };

async function envelopes(cases, { hpke: first, turn, delivery }, checks) {
  const { hpke } = checks.modules;
  for (const { plaintext, ephemeral, secret, public: key, info, envelope } of cases.envelopes) {
    const name = `envelope of ${bytes(plaintext).length} bytes`;
    const own = new hpke.SecretKey(bytes(secret));
    const drawn = new hpke.SecretKey(bytes(ephemeral));
    await checks.same(`${name}: key`, () => own.publicKey(), { b: key });
    await checks.same(`${name}: sealed`, () => hpke.sealWith(drawn, bytes(plaintext), bytes(key), bytes(info)), { b: envelope });
    await checks.same(`${name}: opened`, () => hpke.open(bytes(envelope), own, bytes(info)), { b: plaintext });
    const fresh = hpke.seal(bytes(plaintext), bytes(key), bytes(info));
    await checks.same(`${name}: opens a fresh one`, async () => hpke.open(await fresh, own, bytes(info)), { b: plaintext });
    await checks.same(`${name}: a fresh one is another`, async () => hex(await fresh) === envelope, false);
    await spoiltEnvelopes(name, { own, drawn, info: bytes(info), envelope: bytes(envelope) }, checks);
  }
  for (const point of cases.low_order) {
    const refused = { refused: { code: "bad_parameter", field: "public_key" } };
    await checks.agrees(`sealed to ${point}`, () => hpke.seal(utf8("x"), bytes(point), utf8("i")), refused, CODE_AND_FIELD);
    const secret = hpke.SecretKey.generate();
    const forged = new Uint8Array([...bytes(point), ...new Uint8Array(16)]);
    await checks.agrees(`opened from ${point}`, () => hpke.open(forged, secret, utf8("i")), UNREADABLE, CODE_AND_FIELD);
  }
  await checks.same("this runtime can seal", () => hpke.requireSupport(), null);
  await withoutX25519(hpke, checks);
  await checks.agrees("a key of 31 bytes", () => new hpke.SecretKey(new Uint8Array(31)), { refused: { code: "bad_parameter" } }, ["code"]);
  await checks.same("a key does not print", () => JSON.stringify(new hpke.SecretKey(bytes(first.secret))), "{}");
  const kept = [
    [first.secret, first.info, first.envelope, first.plaintext],
    [turn.gate_secret, turn.info, turn.envelope, turn.plaintext],
    [delivery.researcher_secret, delivery.info, delivery.sealed, null],
  ];
  for (const [secret, info, envelope, plaintext] of kept) {
    const opened = async () => hex(await hpke.open(bytes(envelope), new hpke.SecretKey(bytes(secret)), bytes(info))).slice(2);
    const wanted = plaintext ?? (await opened()).slice(0, 64) + hex(utf8(delivery.result)).slice(2);
    await checks.same("an envelope of the servers' vectors", opened, wanted);
  }
}

/** As in a browser before X25519. */
async function withoutX25519(hpke, checks) {
  const { importKey } = SubtleCrypto.prototype;
  SubtleCrypto.prototype.importKey = () => Promise.reject(new DOMException("unknown", "NotSupportedError"));
  try {
    await checks.agrees("a browser without X25519 is told so", () => hpke.requireSupport(), { refused: { code: "browser_too_old" } }, ["code"]);
  } finally {
    SubtleCrypto.prototype.importKey = importKey;
  }
}

async function spoiltEnvelopes(name, { own, drawn, info, envelope }, checks) {
  const { hpke } = checks.modules;
  const flipped = (at) => envelope.map((byte, i) => (i === at ? byte ^ 1 : byte));
  const spoilt = {
    "another key": () => hpke.open(envelope, drawn, info),
    "another purpose": () => hpke.open(envelope, own, new Uint8Array([...info, 0])),
    "a changed encapsulated key": () => hpke.open(flipped(0), own, info),
    "a changed end": () => hpke.open(flipped(envelope.length - 1), own, info),
    "cut": () => hpke.open(envelope.slice(0, -1), own, info),
    "of 31 bytes": () => hpke.open(envelope.slice(0, 31), own, info),
    "empty": () => hpke.open(new Uint8Array(0), own, info),
  };
  for (const [what, open] of Object.entries(spoilt)) await checks.agrees(`${name}: ${what}`, open, UNREADABLE, CODE_AND_FIELD);
}

async function record(each, checks) {
  const { record: records, recordfile, dictionary, decimal, hpke } = checks.modules;
  const name = `record, ${each.quorum} of ${each.custodians.length}`;
  const read = dictionary.fromJson(each.dictionary);
  const context = contextOf(each.context);
  const secrets = each.custodians.map((raw) => new hpke.SecretKey(bytes(raw)));
  const keys = await Promise.all(secrets.map(async (secret, i) => ({ index: i + 1, publicKey: await secret.publicKey() })));
  const values = untagged({ o: each.values }, decimal.Decimal);
  const drawn = {
    coefficients: each.coefficients.map(BigInt),
    nonce: bytes(each.nonce),
    ephemerals: each.ephemerals.map((raw) => new hpke.SecretKey(bytes(raw))),
  };
  const seal = (given, custodians = keys) => records.seal(read, values, context, custodians, each.epoch, each.quorum, given);
  await checks.same(`${name}: byte for byte`, async () => fromUtf8(recordfile.dump(await seal(drawn))), each.document);
  await checks.same(`${name}: aad`, () => records.aadOf(context), { b: each.aad });
  const loaded = recordfile.load(utf8(each.document), context);
  await checks.same(`${name}: leaf`, () => records.leafOf(context, loaded.box, loaded.keyCommitments), { b: each.leaf });
  await checks.same(`${name}: opened by custodians`, () => opened(checks.modules, loaded, secrets, each.quorum), { b: each.plaintext });
  const fresh = await seal({});
  await checks.same(`${name}: a fresh one`, () => opened(checks.modules, fresh, secrets, each.quorum), { b: each.plaintext });
  const own = await seal({ secret: 12345n, nonce: bytes(each.nonce) });
  await checks.same(`${name}: by the patient`, () => records.openBox(12345n, context, own.box), { b: each.plaintext });
  await checks.same(`${name}: no secret without its nonce`, () => seal({ secret: 5n }).catch((fault) => fault.name), "TypeError");
  await checks.same(`${name}: shares no bytes`, () => [fresh.box, fresh.keyCommitments[0]].map(hex).some((raw) => [loaded.box, loaded.keyCommitments[0]].map(hex).includes(raw)), false);
  const info = records.shareInfo(context, records.commitmentOf(loaded), each.epoch, 1);
  const lie = { index: 1, envelope: await hpke.seal(new Uint8Array(32).fill(7), keys[0].publicKey, info) };
  const lying = { ...loaded, shares: [lie, ...loaded.shares.slice(1)] };
  await checks.agrees(`${name}: a dealer that lies`, () => records.openShare(lying, 1, secrets[0]), WRONG_SHARE, CODE_AND_FIELD);
  await refusedRecords(name, { each, context, secrets, keys, seal, loaded }, checks);
}

async function opened({ record: records, feldman }, sealed, secrets, quorum) {
  const places = secrets.map((_, i) => i + 1).reverse().slice(0, quorum);
  const shares = await Promise.all(places.map((index) => records.openShare(sealed, index, secrets[index - 1])));
  return records.openBox(feldman.combine(shares, sealed.keyCommitments).secret, sealed.context, sealed.box);
}

async function refusedRecords(name, { each, context, secrets, keys, seal, loaded }, checks) {
  const { record: records, recordfile } = checks.modules;
  const cases = {
    "an unknown custodian": [() => records.openShare(loaded, 17, secrets[0]), "envelope_unreadable", "shares"],
    "another's share": [() => records.openShare(loaded, 1, secrets.at(-1)), "envelope_unreadable", "envelope"],
    "another secret": [() => records.openBox(1n, context, loaded.box), "record_unreadable", "box"],
    "another patient": [() => records.openBox(BigInt(each.coefficients[0]), { ...context, patient: context.registry }, loaded.box), "record_unreadable", "box"],
    "out of order": [() => seal({}, [{ ...keys[0], index: 2 }]), "bad_parameter", "custodians"],
    "a short nonce": [() => seal({ nonce: new Uint8Array(11) }), "bad_parameter", "nonce"],
    "another dictionary": [() => records.seal({ ...each.dictionary, version: 9 }, {}, context, keys, 5, each.quorum), "bad_parameter", "dictionary_hash"],
    "an impossible quorum": [() => records.seal(each.dictionary, {}, context, keys, 5, keys.length + 1), "bad_parameter", "quorum"],
  };
  if (secrets.length === 1) delete cases["another's share"];
  for (const [what, [run, code, field]] of Object.entries(cases)) {
    await checks.agrees(`${name}: ${what}`, run, { refused: { code, field } }, CODE_AND_FIELD);
  }
  for (const [member, field] of [["chainId", "chain_id"], ["patient", "patient"], ["dataset", "dataset"], ["recordVersion", "record_version"]]) {
    const found = context[member];
    const other = found instanceof Uint8Array ? new Uint8Array(32) : typeof found === "number" ? found + 1 : context.registry;
    const load = () => recordfile.load(utf8(each.document), { ...context, [member]: other });
    await checks.agrees(`${name}: expected of another ${member}`, load, { refused: { code: "record_unreadable", field } }, CODE_AND_FIELD);
  }
}

async function documents(cases, old, checks) {
  const { recordfile, record: records } = checks.modules;
  for (const each of cases.documents) {
    const load = () => void recordfile.load(utf8(each.document));
    await checks.agrees(`document ${each.refused?.message ?? "that is whole"}`, load, each, CODE_AND_FIELD);
  }
  const kept = recordfile.load(utf8(old.document));
  await checks.same("the record that custodians know", () => fromUtf8(recordfile.dump(kept)), old.document);
  await checks.same("its associated data", () => hex(records.aadOf(kept.context)).slice(2), old.aad);
}

function contextOf(json) {
  return { ...json, dataset: bytes(json.dataset), dictionaryHash: bytes(json.dictionaryHash) };
}
