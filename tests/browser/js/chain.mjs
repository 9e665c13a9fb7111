/** What goes on chain and comes from it: calls, transactions, permits, delivered results. */

import { CODE_AND_FIELD, bytes, hex, untagged } from "./support.mjs";

export async function chain(vectors, checks) {
  const cases = vectors.web.chain;
  const { abi, call, calls } = checks.modules;
  for (const each of cases.calls) {
    await checks.same(each.call, () => call.callData(each.call, untagged(each.values)), { b: each.data });
    const [, types] = calls.CALLS[each.call];
    await checks.same(`${each.call} read`, () => abi.decode(types, bytes(each.data).slice(4)), each.values);
  }
  await checks.same("every call has its vector", () => cases.calls.map((each) => each.call).sort(), Object.keys(calls.CALLS).sort());
  await opening(cases, checks);
  for (const each of cases.transactions) await transaction(each, cases.key, checks);
  await lengths(checks);
  for (const each of cases.permits) await permit(each, cases.key, checks);
  for (const [number, each] of cases.deliveries.entries()) await delivered(number, each, checks);
  await keptDelivery(vectors, checks);
}

async function opening(cases, checks) {
  const { call, structs, solidity } = checks.modules;
  for (const name of ["open", "openWithPermit"]) {
    const { values, data } = cases.calls.find((each) => each.call === `ResearchMarket.${name}`);
    const [terms, classes, permit] = untagged(values);
    const named = (struct, tuple) => Object.fromEntries(structs.STRUCTS[struct].fields.map(([field, type], i) => [field, type in structs.STRUCTS ? named(type, tuple[i]) : tuple[i]]));
    const asked = named("RequestTerms", terms);
    const offered = classes.map((each) => named("ClassTerms", each));
    await checks.same(`${name} from terms`, () => call.openingData(asked, offered, permit), { b: data });
    await checks.same(`${name}: the terms are whole`, () => solidity.abiTuple("RequestTerms", asked).length, { n: "15" });
  }
}

async function transaction({ fields, repeated, raw, raw_hash: rawHash, hash, from }, key, checks) {
  const { tx, hash: hashes } = checks.modules;
  const given = untagged({ o: fields });
  if (repeated) given.data = new Uint8Array(repeated[1]).fill(repeated[0]);
  const signed = tx.signTransaction(given, bytes(key));
  const name = `transaction ${fields.nonce.n}`;
  if (raw !== null) await checks.same(`${name}: bytes`, () => signed.raw, { b: raw });
  await checks.same(`${name}: hashes`, () => [hashes.keccak(signed.raw), signed.hash].map(hex), [rawHash, hash]);
  await checks.same(`${name}: from`, () => signed.from, from);
}

async function lengths(checks) {
  const { tx } = checks.modules;
  // https://ethereum.org/developers/docs/data-structures-and-encoding/rlp, examples
  const text = (value) => new TextEncoder().encode(value);
  const listed = [
    [text("dog"), "0x83646f67"],
    [[text("cat"), text("dog")], "0xc88363617483646f67"],
    [text(""), "0x80"],
    [[], "0xc0"],
    [bytes("0x00"), "0x00"],
    [bytes("0x0f"), "0x0f"],
    [bytes("0x0400"), "0x820400"],
    [[[], [[]], [[], [[]]]], "0xc7c0c1c0c3c0c1c0"],
    [text("Lorem ipsum dolor sit amet, consectetur adipisicing elit"), "0xb838" + hex(text("Lorem ipsum dolor sit amet, consectetur adipisicing elit")).slice(2)],
  ];
  for (const [item, wanted] of listed) await checks.same(`rlp ${wanted.slice(0, 20)}`, () => tx.rlp(item), { b: wanted });
  for (const value of [-1, 1.5, 2n ** 256n, 2 ** 53, "1"]) {
    await checks.agrees(`no integer: ${value}`, () => tx.integer(value), { refused: { code: "malformed_message" } }, ["code"]);
  }
  const bad = { chainId: 1, nonce: 0, maxPriorityFeePerGas: 0, maxFeePerGas: 0, gas: 0, to: "0x12" };
  await checks.agrees("a transaction to nowhere", () => tx.signTransaction(bad, bytes("11".repeat(32))), { refused: { code: "bad_parameter", field: "to" } }, CODE_AND_FIELD);
}

async function permit(each, key, checks) {
  const { permit: permits, messages } = checks.modules;
  const chainId = 31337;
  const domain = () => permits.permitDomain(each.told, chainId, each.token, each.separator);
  const signer = messages.localSigner(bytes(key));
  const given = { spender: each.spender, value: BigInt(each.value), nonce: BigInt(each.nonce), deadline: BigInt(each.deadline) };
  const name = `permit of ${each.told[1].name}`;
  await checks.same(name, () => permits.permitOf(signer, domain(), given), each.permit);
  const refused = { refused: { code: "no_permit", field: "token" } };
  await checks.agrees(`${name}: untold domain`, () => permits.permitDomain(each.told.slice(0, 1), chainId, each.token, each.separator), refused, CODE_AND_FIELD);
  await checks.agrees(`${name}: another chain`, () => permits.permitDomain(each.told, 1, each.token, each.separator), refused, CODE_AND_FIELD);
  const wallet = { address: signer.address, sign: async () => new Uint8Array(66) };
  await checks.agrees(`${name}: by a contract wallet`, () => permits.permitOf(wallet, domain(), given), refused, CODE_AND_FIELD);
}

async function delivered(number, each, checks) {
  const { delivery, hpke } = checks.modules;
  const where = { chainId: 31337, market: each.market, request: bytes(each.request) };
  const open = () => delivery.openResult(bytes(each.sealed), new hpke.SecretKey(bytes(each.secret)), where);
  await checks.same(`delivery ${number}: info`, () => delivery.infoOf(where), { b: each.info });
  await checks.same(`delivery ${number}: hash`, () => delivery.deliveryHash(bytes(each.sealed)), { b: each.delivery_hash });
  await checks.agrees(`delivery ${number}: opened`, async () => (await open()).result, each, CODE_AND_FIELD);
  if (!each.value) return;
  const opened = await open();
  await checks.same("the result is what was signed", () => void delivery.requireSignedResult(opened, bytes(each.result_hash)), null);
  await checks.same("its hash", () => delivery.resultHash(opened.salt, opened.result), { b: each.result_hash });
  const other = () => delivery.requireSignedResult({ ...opened, salt: new Uint8Array(32) }, bytes(each.result_hash));
  await checks.agrees("a result of another salt", other, { refused: { code: "result_mismatch" } }, ["code"]);
  const elsewhere = () => delivery.openResult(bytes(each.sealed), new hpke.SecretKey(bytes(each.secret)), { ...where, chainId: 1 });
  await checks.agrees("opened for another chain", elsewhere, { refused: { code: "envelope_unreadable", field: "envelope" } }, CODE_AND_FIELD);
}

async function keptDelivery({ delivery: kept, record }, checks) {
  const { delivery, recordfile, record: records } = checks.modules;
  const loaded = recordfile.load(new TextEncoder().encode(record.document));
  const root = () => hex(delivery.ciphertextRoot([records.commitmentOf(loaded)])).slice(2);
  await checks.same("the root over what was computed on", root, kept.ciphertext_root);
  await checks.same("the hash of a delivery", () => hex(delivery.deliveryHash(bytes(kept.sealed))).slice(2), kept.delivery_hash);
}
