/** Receipts: what needs no chain. */

import { CODE_AND_FIELD, bytes, hex, utf8 } from "./support.mjs";

export async function receipt(vectors, checks) {
  const cases = vectors.web.receipt;
  const { canonical } = checks.modules;
  const good = canonical.canonical(cases.receipt);
  await checks.same("a receipt that holds", () => checked(checks.modules, good), null);
  for (const each of cases.changes) await oneOther(cases.receipt, each, checks);
  const loud = "0x" + cases.receipt.signatures[0].signature.slice(2).toUpperCase();
  const capitals = canonical.canonical(changed(cases.receipt, ["signatures", 0, "signature"], loud));
  await checks.agrees("a signature in capitals", () => checked(checks.modules, capitals), { refused: { code: "receipt_invalid", field: "signatures[0].signature" } }, CODE_AND_FIELD);
  await tallied(cases, vectors.receipt_tally.receipt, checks);
  for (const each of cases.results) await result(cases.receipt, each, checks);
  const spoilt = { "a space": [...good, 0x20], "too deep": utf8("[".repeat(300_000)), "no object": utf8("[]"), "nothing": [] };
  for (const [what, raw] of Object.entries(spoilt)) {
    await checks.agrees(`receipt: ${what}`, () => checked(checks.modules, Uint8Array.from(raw)), { refused: { code: "receipt_invalid" } }, ["code"]);
  }
  await judged(cases.receipt, checks);
  await roots(vectors.roots, checks);
}

/** One value is another. */
async function oneOther(good, each, checks) {
  const raw = utf8(JSON.stringify(sorted(changed(good, each.path, each.to))));
  const name = `${good.schema}: ${each.path.join(".")} = ${JSON.stringify(each.to)}`.slice(0, 90);
  // Of a struct's field the servers say only its own name, the browser where it stands.
  // And a page reads no point: that one of the noised sums is none, their hash tells as well.
  const isNoised = each.path.join(".") === "tally.noised";
  const told = ["terms", "settlement"].includes(each.path[0]) || isNoised ? ["code"] : CODE_AND_FIELD;
  await checks.agrees(`receipt with ${name}`, () => checked(checks.modules, raw), each, told);
}

/** Of the homomorphic lane: what the page checks, and what it says that it does not. */
async function tallied({ receipt: ofVault, tallied: changes, lies }, good, checks) {
  const { canonical, receiptchecks, receiptfile } = checks.modules;
  const read = (document) => receiptchecks.checkedAlone(receiptfile.load(canonical.canonical(document)));
  const told = read(good).map(({ why }) => why);
  await checks.same("a receipt of the homomorphic lane holds", () => told.slice(0, 9), Array(9).fill(null));
  await checks.same("and says what the command line does", () => told.slice(9).map((why) => /verify-receipt/.test(why)), [true, true, true]);
  await judgedOfSums(good, checks);
  for (const each of changes) await oneOther(good, each, checks);
  for (const { set, ...wanted } of lies) {
    const lying = canonical.canonical({ ...good, ...set });
    const { committee, tally, cost } = { ...good, ...set };
    const name = `${tally.places} of ${committee.signers.length}, of whom ${committee.quorum} have to, for ${cost}`;
    await checks.agrees(`all signed for: ${name}`, () => checked(checks.modules, lying), wanted, CODE_AND_FIELD);
  }
  const spoilt = [
    ["settlement.lane", { ...ofVault, schema: "usufruct-receipt/2", tally: good.tally }],
    ["settlement.lane", (({ tally, ...rest }) => ({ ...rest, schema: "usufruct-receipt/1" }))(good)],
    ["schema", (({ tally, ...rest }) => rest)(good)],
    ["schema", { ...ofVault, schema: "usufruct-receipt/3" }],
  ];
  for (const [field, each] of spoilt) {
    await checks.agrees(`not of its lane: ${field}`, () => read(each), { refused: { code: "receipt_invalid", field } }, CODE_AND_FIELD);
  }
  for (const name of ["cost", "request", "sealed_result"]) {
    const other = { ...good, [name]: ofVault[name] };
    await checks.same(`another ${name} is seen`, () => failed(() => read(other)), "receipt_invalid");
  }
}

function failed(work) {
  try {
    work();
    return null;
  } catch (fault) {
    return fault.code;
  }
}

// --- what `/verify` says of one

/** Of these the file itself shows that they belong to the rest: hashes of them are in it. A node has all else. */
const HASHED = ["analysis", "parameters", "schema", "sealed_result", "terms"];

/** What a server says that the chain has, of a receipt that is as true as `document`. */
function anchorsOf({ cohort: { shards, ...cohort }, ...document }) {
  const rest = Object.entries({ ...document, cohort }).filter(([name]) => !HASHED.includes(name));
  return { stage: "settled", final: true, receipt: Object.fromEntries(rest) };
}

/** Whatever of a receipt, or of what the chain is said to have, is another: it never gets the best word. */
async function judged(good, checks) {
  const anchors = anchorsOf(good);
  await checks.same("a true receipt gets the best word", () => verdict(checks.modules, good, anchors), "holds");
  for (const path of leavesOf(good)) {
    const name = `another ${path.join(".")} does not get the best word`;
    await checks.same(name, () => verdict(checks.modules, changed(good, path, another(at(good, path), good)), anchors) === "holds", false);
  }
  for (const path of leavesOf(anchors)) {
    const other = changed(anchors, path, another(at(anchors, path), good));
    await checks.same(`by another ${path.join(".")} on chain it is not the best word`, () => verdict(checks.modules, good, other) === "holds", false);
  }
  for (const name of Object.keys(anchors.receipt)) {
    const { [name]: left, ...fewer } = anchors.receipt;
    await checks.same(`where nobody says ${name}, it is open`, () => verdict(checks.modules, good, { ...anchors, receipt: fewer }), "open");
  }
  for (const [what, forged] of Object.entries(forgeries(good))) {
    await checks.same(`${what}: differs`, () => verdict(checks.modules, forged, anchors), "differs");
  }
  await deployed(good, checks);
  await checks.same("not settled", () => verdict(checks.modules, good, { stage: "sealed", final: false, receipt: null }), "differs");
  await checks.same("not final yet", () => verdict(checks.modules, good, { ...anchors, final: false }), "open");
  for (const shapeless of [null, 7, "x", [], { stage: "settled", final: true, receipt: [] }, { ...anchors, receipt: { ...anchors.receipt, cohort: null } }]) {
    await checks.same(`anchors ${JSON.stringify(shapeless)?.slice(0, 60)}`, () => verdict(checks.modules, good, shapeless) === "holds", false);
  }
}

/** Of sums: decided but for what the command line computes, and never by more than the chain keeps. */
async function judgedOfSums(good, checks) {
  const { noised, partials, ...kept } = good.tally;
  const anchors = anchorsOf({ ...good, tally: kept });
  await checks.same("a true receipt of sums leaves nothing but the command's part", () => verdict(checks.modules, good, anchors), "sums");
  for (const path of leavesOf(anchors)) {
    const other = changed(anchors, path, another(at(anchors, path), good));
    const wanted = path[0] === "final" ? "open" : "differs";
    await checks.same(`sums: by another ${path.join(".")} on chain`, () => verdict(checks.modules, good, other), wanted);
  }
  for (const name of Object.keys(anchors.receipt)) {
    const { [name]: left, ...fewer } = anchors.receipt;
    await checks.same(`sums: where nobody says ${name}, it is open`, () => verdict(checks.modules, good, { ...anchors, receipt: fewer }), "open");
  }
  const { canonical, receiptchecks, receiptfile } = checks.modules;
  const read = receiptfile.load(canonical.canonical(good));
  const said = [...receiptchecks.checkedAlone(read), ...receiptchecks.compared(read, anchors)].map(({ means }) => means);
  await checks.same("where there is no gate none is spoken of", () => said.filter((means) => /\bgate/i.test(means)), []);
}

/** By the market that a browser keeps, whatever is told. */
async function deployed(good, checks) {
  const { chain_id: chainId, genesis_hash, deployed_block, contracts: both } = good;
  const market = { chainId, contracts: Object.fromEntries(Object.entries(both).map(([name, { address }]) => [name, address])) };
  const manifest = { chain_id: chainId, genesis_hash, deployed_block, contracts: both };
  const isOf = (document, kept) => checks.modules.receiptchecks.isOf({ document }, market, kept);
  for (const kept of [manifest, null]) {
    await checks.same("a receipt of this market", () => isOf(good, kept), true);
    for (const path of leavesOf(manifest)) {
      const other = changed(good, path, another(at(good, path), good));
      const isPinned = path[0] === "chain_id" || path.at(-1) === "address";
      await checks.same(`a receipt of another ${path.join(".")}`, () => isOf(other, kept), kept === null && !isPinned);
    }
    const { TestEuro, ...fewer } = both;
    await checks.same("a contract less", () => isOf({ ...good, contracts: fewer }, kept), false);
    await checks.same("a contract more", () => isOf({ ...good, contracts: { ...both, More: TestEuro } }, kept), false);
  }
}

/** Of one and the same thing, every mention is another; and a list that is shorter. */
function forgeries(good) {
  const sealed = `0x${"ab".repeat(32)}`;
  return {
    "another block of the seal": { ...good, blocks: { ...good.blocks, sealed: 99 }, cohort: { ...good.cohort, seal_block: 99 } },
    "another hash of that block": { ...good, block_hashes: { ...good.block_hashes, sealed }, cohort: { ...good.cohort, seal_block_hash: sealed } },
    "one contract less": { ...good, contracts: { ResearchMarket: good.contracts.ResearchMarket } },
    "one contract more": { ...good, contracts: { ...good.contracts, More: good.contracts.ResearchMarket } },
    "another custodian that did not sign": { ...good, committee: { ...good.committee, signers: good.committee.signers.with(1, good.researcher) } },
  };
}

function verdict({ canonical, receiptfile, receiptchecks }, document, anchors) {
  try {
    const receipt = receiptfile.load(canonical.canonical(document));
    return receiptchecks.verdictOf(receiptchecks.checkedAlone(receipt), receiptchecks.compared(receipt, anchors));
  } catch (fault) {
    if (fault?.code === "receipt_invalid") return "refused";
    throw fault;
  }
}

function leavesOf(value, path = []) {
  if (typeof value !== "object" || value === null) return [path];
  return Object.entries(value).flatMap(([key, each]) => leavesOf(each, [...path, key]));
}

function at(document, path) {
  return path.reduce((value, key) => value[key], document);
}

/** Of the same kind, and spelt as it has to be. */
function another(value, { gate, researcher }) {
  if (typeof value === "number") return value + 1;
  if (typeof value !== "string") return !value;
  if (/^0x[0-9a-fA-F]{40}$/.test(value)) return value === gate ? researcher : gate;
  if (/^0x[0-9a-f]+$/.test(value)) return value.slice(0, -1) + (value.endsWith("1") ? "2" : "1");
  return /^[0-9]+$/.test(value) ? String(Number(value) + 1) : `${value}x`;
}

function checked({ receiptfile, receipt: checks }, raw) {
  const read = receiptfile.load(raw);
  for (const { check } of read.tally === null ? checks.ALONE : [...checks.ALONE, ...checks.ALONE_OF_SUMS]) check(read);
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
