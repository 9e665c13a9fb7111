/** Receipts: what needs no chain. */

import { CODE_AND_FIELD, bytes, hex, utf8 } from "./support.mjs";

export async function receipt(vectors, checks) {
  const cases = vectors.web.receipt;
  const { canonical } = checks.modules;
  const good = canonical.canonical(cases.receipt);
  await checks.same("a receipt that holds", () => checked(checks.modules, good), null);
  for (const each of cases.changes) {
    const raw = utf8(JSON.stringify(sorted(changed(cases.receipt, each.path, each.to))));
    const name = `${each.path.join(".")} = ${JSON.stringify(each.to)}`.slice(0, 90);
    // Of a struct's field the servers say only its own name, the browser where it stands.
    const told = ["terms", "settlement"].includes(each.path[0]) ? ["code"] : CODE_AND_FIELD;
    await checks.agrees(`receipt with ${name}`, () => checked(checks.modules, raw), each, told);
  }
  const loud = "0x" + cases.receipt.signatures[0].signature.slice(2).toUpperCase();
  const capitals = canonical.canonical(changed(cases.receipt, ["signatures", 0, "signature"], loud));
  await checks.agrees("a signature in capitals", () => checked(checks.modules, capitals), { refused: { code: "receipt_invalid", field: "signatures[0].signature" } }, CODE_AND_FIELD);
  for (const each of cases.results) await result(cases.receipt, each, checks);
  const spoilt = { "a space": [...good, 0x20], "too deep": utf8("[".repeat(300_000)), "no object": utf8("[]"), "nothing": [] };
  for (const [what, raw] of Object.entries(spoilt)) {
    await checks.agrees(`receipt: ${what}`, () => checked(checks.modules, Uint8Array.from(raw)), { refused: { code: "receipt_invalid" } }, ["code"]);
  }
  await roots(vectors.roots, checks);
}

function checked({ receiptfile, receipt: checks }, raw) {
  const read = receiptfile.load(raw);
  for (const { check } of checks.ALONE) check(read);
}

async function result(good, each, checks) {
  const { receiptfile, receipt: checking, canonical } = checks.modules;
  const read = receiptfile.load(canonical.canonical({ ...good, ...each.set }));
  const document = canonical.parse(utf8(each.result), { limit: 1 << 20 });
  const salt = bytes(each.salt);
  const open = () => void checking.requireOpened(read, { salt, result: utf8(each.result), document });
  await checks.agrees(`result ${each.result.slice(0, 120)}`, open, each, CODE_AND_FIELD);
  const other = () => void checking.requireOpened(read, { salt: new Uint8Array(32), result: utf8(each.result), document });
  await checks.agrees("a result of another salt", other, { refused: { code: "receipt_invalid", field: "result" } }, CODE_AND_FIELD);
}

function changed(document, [step, ...rest], value) {
  const copy = Array.isArray(document) ? [...document] : { ...document };
  copy[step] = rest.length === 0 ? value : changed(copy[step], rest, value);
  return copy;
}

function sorted(value) {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, each]) => [name, sorted(each)]));
}

async function roots(kept, checks) {
  const { roots: counted, delivery } = checks.modules;
  const shards = kept.shards.map((each) => ({ ...each, bitmaps: bitmapsOf(each) }));
  for (const { class: owner, shard, members, root, bitmaps } of shards) {
    await checks.same(`shard ${shard} of ${owner.slice(-4)}`, () => counted.shardRoot({ classId: bytes(owner), shard, bitmaps }), { b: root });
    await checks.same(`members of ${owner.slice(-4)} ${shard}`, () => counted.members(bitmaps), { n: String(members) });
  }
  const listed = kept.shards.map(({ root }) => bytes(root));
  await checks.same("cohort root", () => counted.cohortRoot(kept.chain_id, kept.market, bytes(kept.request), listed), { b: kept.root });
  await checks.same("root over ciphertexts", () => hex(delivery.ciphertextRoot(kept.commitments.map(bytes))), kept.ciphertext_root);
}

function bitmapsOf({ places, used }) {
  const bitmaps = new Uint8Array(20 * Math.ceil(used / 160));
  for (const place of places) {
    const seat = place % 160;
    bitmaps[20 * Math.floor(place / 160) + 19 - (seat >> 3)] |= 1 << (seat & 7);
  }
  return bitmaps;
}
