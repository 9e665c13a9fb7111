/**
 * Run by `node --test`: what a browser believes of custodians and of a clinic's desk where the operator lies, at the
 * first visit (by the code on the clinic's paper) and at every later one (by those whom it knows).
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { answering, browserWorld } from "./lying.mjs";

const JS = new URL("../../../web/static/js/", import.meta.url).href;
const world = browserWorld();
const load = (name) => import(`${JS}${name}.js`);
const names = ["wallet", "bytes", "keystore", "committee", "joining", "messages", "opening", "solidity", "voucher"];
const [wallet, bytes, keystore, committees, joining, messages, opening, solidity, vouching] = await Promise.all(names.map(load));

const CHAIN = 31_337;
const keyOf = (n) => `0x${(n + 0xa0).toString(16).padStart(4, "0").repeat(16)}`;
const addressOf = (n) => wallet.localSigner(new Uint8Array(32).fill(n)).address;
const urlOf = (n) => `https://custodian-${n}.example`;
const evilOf = (n) => `https://evil-${n}.example`;
/** Seats by the numbers of those who sit there; the quorum is the least that can be. */
const committee = (epoch, numbers, quorum = Math.floor(numbers.length / 2) + 1) => ({
  ...{ epoch, quorum, gates: [] },
  members: numbers.map((n, place) => ({ place, key: keyOf(n), signer: addressOf(n) })),
});
const marketOf = (whole, custodians) => ({
  chain_id: CHAIN,
  contracts: { ConsentRegistry: addressOf(21), DatasetRegistry: addressOf(22), ResearchMarket: addressOf(23) },
  token: { address: addressOf(25), decimals: 6, symbol: "EUR" },
  committee: whole,
  custodians,
});
const code = (wanted) => (error) => assert.equal(error.code, wanted, error.stack) ?? true;

// --- those who answer

const named = (whole) => ({ epoch: whole.epoch, quorum: whole.quorum, committee: bytes.toHex(committees.committeeHash(whole)) });
/** What number n says at `/health` where the chain has this committee. */
function wordOf(n, whole) {
  const found = whole.members.find(({ key }) => key === keyOf(n));
  const own = found === undefined ? { seated: false } : { seated: true, place: found.place, key: found.key };
  return { ready: true, reasons: [], ...named(whole), ...own };
}
const honest = (whole, ...numbers) => Object.fromEntries(numbers.flat().map((n) => [`${urlOf(n)}/health`, wordOf(n, whole)]));
/** Hosts of the operator's: they say whatever is told, as the custodians of these places. */
const evil = (whole) => Object.fromEntries(whole.members.map(({ place, key }) => [`${evilOf(place)}/health`, { seated: true, place, key, ...named(whole) }]));
const EVIL = [0, 1, 2, 3, 4].map(evilOf);

let pages = 0;
/** One page, by a module of its own: what it was told of the market is asked anew. */
async function onPage(market, work, others = {}) {
  answering({ "/deployment": market, ...others });
  return (await import(`${JS}pin.js?paper=${++pages}`))[work]();
}

/** A browser that knows a committee of these, and where they answer. */
async function knowing(whole, numbers) {
  world.forget();
  await onPage(marketOf(whole, numbers.map(urlOf)), "confirmedCommittee", honest(whole, numbers));
}
const known = async () => (await keystore.pinned()).custodians;

// --- at later visits

const THREE = committee(1, [1, 2, 3]);

test("a change of epoch gives the operator no say in where custodians answer", async () => {
  await knowing(THREE, [1, 2, 3]);
  const next = committee(2, [1, 2, 3]);
  const lie = marketOf(next, EVIL);
  assert.deepEqual((await onPage(lie, "signedFor", { ...honest(next, 1, 2, 3), ...evil(next) })).custodians, [1, 2, 3].map(urlOf));
  assert.deepEqual(await known(), [1, 2, 3].map(urlOf));
  const own = committee(2, [91, 92, 93]);
  const lies = () => onPage(marketOf(own, EVIL), "confirmedCommittee", { ...honest(next, 1, 2, 3), ...evil(own) });
  await assert.rejects(lies(), code("market_changed"), "what was confirmed of an epoch stays so");
  const later = committee(3, [91, 92, 93]);
  await assert.rejects(onPage(marketOf(later, EVIL), "confirmedCommittee", { ...honest(next, 1, 2, 3), ...evil(later) }), code("wrong_committee"));
  assert.equal((await onPage(marketOf(next, [1, 2, 3].map(urlOf)), "signedFor", honest(next, 1, 2, 3))).custodians.length, 3);
});

test("where a custodian stayed, silent or not, nobody else is asked for it", async () => {
  const next = committee(2, [1, 2, 3, 4, 5]);
  const spelt = { ...next, members: next.members.map((each) => ({ ...each, key: `0x${each.key.slice(2).toUpperCase()}` })) };
  for (const told of [next, spelt]) {
    await knowing(committee(1, [1, 2, 3, 4, 5]), [1, 2, 3, 4, 5]);
    await onPage(marketOf(told, EVIL), "signedFor", { ...honest(next, 1, 2, 3), ...evil(next) });
    assert.deepEqual(await known(), [1, 2, 3, 4, 5].map(urlOf));
  }
});

test("whoever took another's seat is asked where the operator says, and who left is not asked any more", async () => {
  await knowing(THREE, [1, 2, 3]);
  const next = committee(2, [1, 2, 4]);
  const told = [evilOf(0), urlOf(2), urlOf(4), "nonsense", "javascript:alert(1)", `${urlOf(5)}/path`];
  await onPage(marketOf(next, told), "signedFor", { ...honest(next, 1, 2, 3, 4), ...evil(next) });
  assert.deepEqual(await known(), [urlOf(1), urlOf(2), urlOf(4)]);
  const after = committee(3, [5, 6, 7]);
  await onPage(marketOf(after, [5, 6, 7].map(urlOf)), "confirmedCommittee", honest(after, 1, 2, 4, 5, 6, 7));
  assert.deepEqual(await known(), [5, 6, 7].map(urlOf), "also where all of them change, by the word of those who leave");
});

test("one that left and is silent is asked still", async () => {
  await knowing(THREE, [1, 2, 3]);
  const next = committee(2, [1, 2, 4]);
  await onPage(marketOf(next, [1, 2, 4].map(urlOf)), "signedFor", honest(next, 1, 2, 4));
  assert.deepEqual(await known(), [1, 2, 3, 4].map(urlOf));
});

test("a later epoch takes as many of those known as had to act together before", async () => {
  await knowing(committee(1, [1, 2, 3, 4, 5]), [1, 2, 3, 4, 5]);
  const liars = committee(2, [1]);
  await assert.rejects(onPage(marketOf(liars, [urlOf(1)]), "confirmedCommittee", honest(liars, 1)), code("committee_unconfirmed"));
  await assert.rejects(onPage(marketOf(liars, EVIL), "confirmedCommittee", { ...honest(liars, 1, 2), ...evil(liars) }), code("committee_unconfirmed"));
  await onPage(marketOf(liars, EVIL), "signedFor", { ...honest(liars, 1, 2), ...evil(liars) });
  assert.deepEqual(await known(), [1, 2, 3, 4, 5].map(urlOf));
  const fewer = committee(2, [1, 2, 3]);
  assert.equal((await onPage(marketOf(fewer, [1, 2, 3].map(urlOf)), "confirmedCommittee", honest(fewer, 1, 2, 4))).quorum, 2);
});

test("a custodian that moved without a new epoch locks nobody out, and its new place is nobody's word", async () => {
  await knowing(THREE, [1, 2, 3]);
  const market = marketOf(THREE, [urlOf(1), urlOf(2), evilOf(2)]);
  const others = { ...honest(THREE, 1, 2), ...evil(THREE) };
  assert.deepEqual((await onPage(market, "signedFor", others)).custodians, [1, 2, 3].map(urlOf));
  assert.equal((await onPage(market, "confirmedCommittee", others)).epoch, 1);
  assert.deepEqual(await known(), [1, 2, 3].map(urlOf));
});

test("a committee that custodians name otherwise is not sealed to, silent seats and quorum included", async () => {
  const five = committee(1, [1, 2, 3, 4, 5], 4);
  const urls = [1, 2, 3, 4, 5].map(urlOf);
  world.forget();
  await assert.rejects(onPage(marketOf(five, urls), "confirmedCommittee", honest(five, 1, 2, 3)), code("committee_unconfirmed"));
  for (const lie of [committee(1, [1, 2, 3, 94, 95], 3), committee(1, [1, 2, 3, 4, 5], 3), committee(1, [1, 2, 3, 4, 95], 4), committee(1, [1, 2, 3])]) {
    world.forget();
    await assert.rejects(onPage(marketOf(lie, urls), "confirmedCommittee", honest(five, 1, 2, 3, 4)), code("wrong_committee"));
  }
  const lower = () => onPage(marketOf(committee(1, [1, 2, 3, 4, 5], 3), urls), "confirmedCommittee", honest(five, 1, 2, 3));
  await assert.rejects(lower(), /a quorum of 4, and this site one of 3/);
});

for (const [what, lie] of Object.entries({
  "no majority": { quorum: 1 },
  "a quorum of nobody": { quorum: 0 },
  "more than there are": { quorum: 4 },
  "no seats": { members: [] },
  "seats out of order": { members: THREE.members.toReversed() },
})) {
  test(`${what} is no committee`, async () => {
    world.forget();
    await assert.rejects(onPage(marketOf({ ...THREE, ...lie }, [1, 2, 3].map(urlOf)), "confirmedCommittee"), code("wrong_committee"));
  });
}

test("a custodian that does not name the committee counts for nothing", async () => {
  const { committee: _, ...without } = wordOf(3, THREE);
  const odd = { [`${urlOf(2)}/health`]: { ...wordOf(2, THREE), quorum: "2" }, [`${urlOf(3)}/health`]: without };
  world.forget();
  await assert.rejects(onPage(marketOf(THREE, [1, 2, 3].map(urlOf)), "confirmedCommittee", { ...honest(THREE, 1), ...odd }), code("committee_unconfirmed"));
});

test("of what is told at first, only origins are ever asked", async () => {
  world.forget();
  const told = ["nonsense", urlOf(1), urlOf(1), `${urlOf(2)}/`, "ftp://a.example", 7, null, { toString: () => urlOf(3) }, "https://A.example", "http://127.0.0.1:8101"];
  await onPage(marketOf(THREE, told), "signedFor");
  assert.deepEqual(await known(), [urlOf(1), "http://127.0.0.1:8101"]);
});

// --- at the first visit, by the clinic's paper

const ISSUER = wallet.localSigner(new Uint8Array(32).fill(31), CHAIN);
const DATASET = `0x${"d5".repeat(32)}`;
const DESK = new Uint8Array(32).fill(77);
const WANTED = { dataset: DATASET, issuers: [ISSUER.address, addressOf(66)] };
const TRUE = marketOf(THREE, [1, 2, 3].map(urlOf));

/** What a clinic's page leaves for one code, and the desk that it signed. */
async function invited(paper, { desk = DESK, issuer = ISSUER, market = TRUE, dataset = DATASET } = {}) {
  const seen = { market: { ...market, chainId: market.chain_id }, dataset: bytes.bytes32(dataset, "dataset"), issuer: issuer.address, desk, committee: market.committee };
  const { macs, custodians, epoch } = await vouching.invitationsOf([paper], seen);
  return { ...(await deskOf(issuer, desk, dataset)), voucher: { mac: macs[0], custodians, epoch } };
}

async function deskOf(issuer, key, dataset = DATASET) {
  const values = { dataset: bytes.bytes32(dataset, "dataset"), issuer: issuer.address, key, until: Math.floor(Date.now() / 1_000) + 9_000 };
  const signature = await issuer.sign("IssuerDesk", values, messages.domainOf("DatasetRegistry", { chainId: CHAIN, contracts: TRUE.contracts }));
  return { desk: solidity.toJson("IssuerDesk", values), signature: bytes.toHex(signature) };
}

/** Somebody comes for the first time, types the code, and is told this. */
async function comes(market, answer, paper, others = honest(THREE, 1, 2, 3)) {
  world.forget();
  return joining.requirePaper(answer, paper, await onPage(market, "signedFor", others), WANTED);
}

test("a newcomer is led to the clinic of the paper, and asks custodians where the clinic knows them", async () => {
  const paper = opening.newCode();
  const answer = await invited(paper);
  const checked = await comes({ ...TRUE, custodians: EVIL }, answer, paper);
  assert.deepEqual([checked.desk.issuer, bytes.toHex(checked.desk.key)], [ISSUER.address, bytes.toHex(DESK)]);
  assert.deepEqual(await known(), [1, 2, 3].map(urlOf));
  assert.equal((await onPage(TRUE, "confirmedCommittee", honest(THREE, 1, 2))).epoch, 1);
});

/** One more paper, typed into a browser that knows a market already, where the operator shows this one. */
async function typed(market, { vouchedFor = market, others = honest(market.committee, 1, 2, 3, 4) } = {}) {
  const paper = opening.newCode();
  const seen = await onPage(market, "signedFor", others);
  const page = await import(`${JS}joining.js`);
  return page.requirePaper(await invited(paper, { market: vouchedFor }), paper, seen, WANTED);
}

const NEXT = committee(2, [1, 2, 4]);

test("of two papers of one epoch that name other custodians, the later is refused, and both are said", async () => {
  const paper = opening.newCode();
  await comes(TRUE, await invited(paper), paper);
  await typed(TRUE, { vouchedFor: { ...TRUE, custodians: [3, 1, 2].map(urlOf) } });
  await assert.rejects(typed(TRUE, { vouchedFor: { ...TRUE, custodians: [urlOf(1), urlOf(2), evilOf(0)] } }), (error) => {
    assert.equal(error.code, "papers_differ", error.stack);
    for (const part of ["epoch", "1", urlOf(3), evilOf(0)]) assert.ok(error.message.includes(part), error.message);
    assert.ok(!error.message.includes(urlOf(1)), "what both say is not what is asked about");
    return /both clinics/.test(error.remedy) && /page Keys/.test(error.remedy);
  });
  assert.deepEqual(await known(), [1, 2, 3].map(urlOf));
});

test("a paper of another committee of the same epoch is refused", async () => {
  const paper = opening.newCode();
  await comes(TRUE, await invited(paper), paper);
  const { custodians, paper: epoch } = await keystore.pinned();
  assert.equal(epoch, 1);
  const vouched = async () => (await import(`${JS}pin.js?paper=${++pages}`)).takeVouched(custodians, committee(1, [1, 2, 93]));
  answering({ "/deployment": TRUE });
  await assert.rejects(vouched(), (error) => {
    const hashes = [THREE, committee(1, [1, 2, 93])].map((each) => bytes.toHex(committees.committeeHash(each)));
    return error.code === "papers_differ" && hashes.every((each) => error.message.includes(each));
  });
  answering({ "/deployment": { ...TRUE, contracts: { ...TRUE.contracts, ConsentRegistry: addressOf(66) } } });
  await assert.rejects(vouched(), code("market_changed"), "nor of another market");
});

test("a later clinic's paper of a later epoch leads on, though those that were known are silent", async () => {
  const paper = opening.newCode();
  await comes(TRUE, await invited(paper), paper);
  const next = marketOf(NEXT, [1, 2, 4].map(urlOf));
  await typed({ ...next, custodians: EVIL }, { vouchedFor: next, others: {} });
  assert.deepEqual(await known(), [1, 2, 4].map(urlOf));
  assert.deepEqual((await keystore.pinned()).seats.epoch, 2);
  assert.equal((await onPage(next, "confirmedCommittee", honest(NEXT, 1, 4))).epoch, 2);
  await assert.rejects(typed(TRUE), code("older_paper"));
  assert.deepEqual(await known(), [1, 2, 4].map(urlOf));
});

test("no later paper takes the place of custodians that are there and say otherwise", async () => {
  const paper = opening.newCode();
  await comes(TRUE, await invited(paper), paper);
  await onPage(TRUE, "confirmedCommittee", honest(THREE, 1, 2, 3));
  const own = committee(2, [91, 92, 93]);
  const lie = marketOf(own, EVIL.slice(0, 3));
  await assert.rejects(typed(lie, { others: { ...honest(THREE, 1, 2, 3), ...evil(own) } }), code("wrong_committee"));
  assert.deepEqual(await known(), [1, 2, 3].map(urlOf));
  const next = marketOf(NEXT, [1, 2, 4].map(urlOf));
  await typed(next, { others: honest(NEXT, 1, 2, 4) });
  assert.deepEqual(await known(), [1, 2, 4].map(urlOf), "where they agree, it leads on");
});

test("a paper of the epoch that custodians brought is the clinic's first word of it", async () => {
  const paper = opening.newCode();
  await comes(TRUE, await invited(paper), paper);
  await onPage(TRUE, "confirmedCommittee", honest(THREE, 1, 2, 3));
  const next = marketOf(NEXT, [1, 2, 4].map(urlOf));
  await onPage(next, "signedFor", honest(NEXT, 1, 2, 4));
  assert.deepEqual(await known(), [1, 2, 3, 4].map(urlOf), "one that left and is silent is asked still");
  await typed(next);
  assert.deepEqual(await known(), [1, 2, 4].map(urlOf));
  await typed(next, { vouchedFor: { ...next, custodians: [1, 2, 3, 4].map(urlOf) } });
  assert.deepEqual(await known(), [1, 2, 4].map(urlOf), "a clinic that was there before still lists who left: neither is wrong");
});

test("what custodians of an operator's own confirmed before the first paper counts no more", async () => {
  world.forget();
  const own = committee(7, [91, 92, 93]);
  await onPage(marketOf(own, EVIL), "confirmedCommittee", evil(own));
  assert.equal((await keystore.pinned()).seats.epoch, 7);
  await typed(TRUE);
  const { committees: kept, seats, holders } = await keystore.pinned();
  assert.deepEqual([Object.keys(kept), seats.epoch, holders], [["1"], 1, {}]);
  await onPage(marketOf(committee(7, [1, 2, 3]), EVIL), "signedFor", honest(committee(7, [1, 2, 3]), 1, 2, 3));
});

/** A promise, and what keeps it. */
function promised() {
  let keep;
  return [new Promise((done) => (keep = done)), keep];
}

test("a tab that knew less does not bring it back", async () => {
  await knowing(THREE, [1, 2, 3]);
  const next = marketOf(NEXT, [1, 2, 4].map(urlOf));
  const old = await keystore.pinned();
  const [held, arrive] = promised();
  const [asked, begin] = promised();
  const slow = { ...wordOf(1, THREE) };
  answering({ "/deployment": TRUE, ...honest(THREE, 2, 3), [`${urlOf(1)}/health`]: () => (begin(), held.then(() => slow)) });
  const tab = await import(`${JS}pin.js?paper=${++pages}`);
  await tab.signedFor();
  const late = tab.confirmedCommittee().catch((error) => error);
  await asked;
  await onPage(next, "signedFor", honest(NEXT, 1, 2, 3, 4));
  const newer = await keystore.pinned();
  assert.deepEqual([old.seats.epoch, newer.seats.epoch], [1, 2]);
  arrive();
  assert.equal((await late).code, "wrong_committee", "and it decides by what is known now");
  assert.deepEqual(await keystore.pinned(), newer);
  await Promise.all([keystore.changePin((pin) => ({ ...pin, paper: (pin.paper ?? 0) + 1 })), keystore.changePin((pin) => ({ ...pin, paper: (pin.paper ?? 0) + 1 }))]);
  assert.equal((await keystore.pinned()).paper, 2);
  await assert.rejects(keystore.changePin(() => assert.fail("no")), /no/);
  assert.equal((await keystore.pinned()).paper, 2);
});

test("of two tabs that come for the first time, the market that is kept first is both's", async () => {
  world.forget();
  const told = [TRUE, { ...TRUE, custodians: EVIL }];
  answering({ "/deployment": () => told.shift() });
  const tabs = await Promise.all([0, 1].map(() => import(`${JS}pin.js?paper=${++pages}`)));
  const [one, other] = await Promise.all(tabs.map((tab) => tab.knownMarket()));
  assert.deepEqual(one.custodians, other.custodians);
  assert.deepEqual(await known(), [1, 2, 3].map(urlOf));
});

test("what was removed on the page Keys no other tab brings back", async () => {
  await knowing(THREE, [1, 2, 3]);
  const other = { ...TRUE, contracts: { ...TRUE.contracts, ResearchMarket: addressOf(67) } };
  const [held, arrive] = promised();
  const [asked, begin] = promised();
  answering({ "/deployment": TRUE, ...honest(THREE, 2, 3), [`${urlOf(1)}/health`]: () => (begin(), held.then(() => wordOf(1, THREE))) });
  const tab = await import(`${JS}pin.js?paper=${++pages}`);
  const late = tab.confirmedCommittee().catch((error) => error);
  await asked;
  await keystore.forgetPin();
  await onPage(other, "signedFor");
  arrive();
  assert.equal((await late).code, "market_changed");
  assert.equal((await keystore.pinned()).contracts.ResearchMarket, addressOf(67));
});

// --- who holds a seat

test("no committee is sealed to with fewer voices than had to act together in the one that this browser knew", async () => {
  const others = { ...honest(THREE, 1, 2) };
  for (const epoch of [1, 0]) {
    world.forget();
    await onPage(TRUE, "signedFor", honest(THREE, 1, 2, 3));
    if (epoch === 0) await onPage(TRUE, "confirmedCommittee", honest(THREE, 1, 2, 3));
    const alone = committee(epoch, [99], 1);
    const liar = { [`${urlOf(3)}/health`]: { seated: true, place: 0, key: keyOf(99), ...named(alone) } };
    await assert.rejects(onPage(marketOf(alone, [1, 2, 3].map(urlOf)), "confirmedCommittee", { ...others, ...liar }), code("wrong_committee"));
  }
});

test("a custodian that claims another's new seat hides nobody", async () => {
  await knowing(THREE, [1, 2, 3]);
  const claim = { [`${urlOf(1)}/health`]: { seated: true, place: 2, key: keyOf(4), ...named(NEXT) } };
  await onPage(marketOf(NEXT, [1, 2, 4].map(urlOf)), "signedFor", { ...honest(NEXT, 2, 3, 4), ...claim });
  assert.deepEqual(await known(), [1, 2, 4].map(urlOf));
});

test("a custodian that was known to hold a seat keeps it with a new key, and nobody else is asked for it", async () => {
  await knowing(THREE, [1, 2, 3]);
  const next = committee(2, [71, 72, 73]);
  const same = Object.fromEntries([1, 2, 3].map((n, place) => [`${urlOf(n)}/health`, { seated: true, place, key: next.members[place].key, ...named(next) }]));
  await onPage(marketOf(next, EVIL), "signedFor", { ...same, ...evil(next) });
  assert.deepEqual(await known(), [1, 2, 3].map(urlOf));
  const after = committee(3, [71, 72, 75]);
  const again = Object.fromEntries([1, 2, 3].map((n, place) => [`${urlOf(n)}/health`, { seated: true, place, key: after.members[place].key, ...named(after) }]));
  await onPage(marketOf(after, EVIL), "signedFor", { ...again, ...evil(after) });
  assert.deepEqual(await known(), [1, 2, 3].map(urlOf), "also with the next one");
});

test("who moved to another seat with its key is who it was", async () => {
  await knowing(THREE, [1, 2, 3]);
  const next = committee(2, [3, 1, 2]);
  await onPage(marketOf(next, EVIL), "signedFor", { ...honest(next, 1, 2), ...evil(next) });
  assert.deepEqual(await known(), [1, 2, 3].map(urlOf));
});

test("who once claimed another's key is known by its own", async () => {
  await knowing(THREE, [1, 2, 3]);
  const claim = { [`${urlOf(1)}/health`]: { ...wordOf(1, THREE), place: 2, key: keyOf(3) } };
  await onPage(TRUE, "confirmedCommittee", { ...honest(THREE, 2, 3), ...claim });
  const taking = { [`${urlOf(1)}/health`]: { seated: true, place: 2, key: keyOf(4), ...named(NEXT) } };
  await onPage(marketOf(NEXT, [1, 2, 4].map(urlOf)), "signedFor", { ...honest(NEXT, 2, 3, 4), ...taking });
  assert.deepEqual(await known(), [1, 2, 4].map(urlOf));
});

test("of two that name one key at the first visit, neither closes its seat", async () => {
  world.forget();
  const claim = { [`${urlOf(1)}/health`]: { ...wordOf(1, THREE), place: 1, key: keyOf(2) } };
  await onPage(TRUE, "confirmedCommittee", { ...honest(THREE, 2, 3), ...claim });
  const next = committee(2, [1, 4, 3]);
  const taking = { [`${urlOf(1)}/health`]: { seated: true, place: 1, key: keyOf(4), ...named(next) } };
  await onPage(marketOf(next, [1, 4, 3].map(urlOf)), "confirmedCommittee", { ...honest(next, 2, 3, 4), ...taking });
  assert.ok((await known()).includes(urlOf(4)));
});

test("a custodian that names a seat which is none is one voice less, and stops nobody", async () => {
  for (const place of [3, 99, -1]) {
    await knowing(THREE, [1, 2, 3]);
    const odd = { [`${urlOf(3)}/health`]: { ...wordOf(3, THREE), place } };
    assert.equal((await onPage(TRUE, "confirmedCommittee", { ...honest(THREE, 1, 2), ...odd })).epoch, 1);
    await assert.rejects(onPage(TRUE, "confirmedCommittee", { ...honest(THREE, 1), ...odd }), code("wrong_committee"));
  }
});

const OTHERS = committee(1, [91, 92, 93]);
for (const [what, market] of Object.entries({
  "the custodians' keys": { ...TRUE, committee: OTHERS, custodians: EVIL },
  "one custodian's key": { ...TRUE, committee: committee(1, [1, 2, 93]) },
  "the custodians' signers": { ...TRUE, committee: { ...THREE, members: THREE.members.map((each) => ({ ...each, signer: addressOf(9) })) } },
  "the quorum": { ...TRUE, committee: { ...THREE, quorum: 3 } },
  "the market": { ...TRUE, contracts: { ...TRUE.contracts, ResearchMarket: addressOf(66) } },
  "the consents": { ...TRUE, contracts: { ...TRUE.contracts, ConsentRegistry: addressOf(66) } },
  "the decimals": { ...TRUE, token: { ...TRUE.token, decimals: 7 } },
})) {
  test(`a first visit seals nothing where the operator lies about ${what}`, async () => {
    const paper = opening.newCode();
    const answer = await invited(paper);
    await assert.rejects(comes(market, answer, paper, evil(market.committee)), code("wrong_paper"));
    assert.equal((await keystore.pinned()).paper, null);
  });
}

test("a desk of the operator's own is refused, whoever signed it, and so is another's voucher", async () => {
  const paper = opening.newCode();
  const { voucher } = await invited(paper);
  const accomplice = wallet.localSigner(new Uint8Array(32).fill(66), CHAIN);
  for (const desk of [await deskOf(accomplice, DESK), await deskOf(ISSUER, new Uint8Array(32).fill(78))]) {
    await assert.rejects(comes(TRUE, { ...desk, voucher }, paper), code("wrong_paper"));
  }
  for (const lie of [undefined, null, {}, (await invited(opening.newCode())).voucher, { ...voucher, custodians: EVIL }]) {
    await assert.rejects(comes(TRUE, { ...(await deskOf(ISSUER, DESK)), voucher: lie }, paper), (error) => {
      assert.equal(error.code, "wrong_paper");
      assert.ok(error.remedy.includes(ISSUER.address) && error.remedy.includes("new invitation"));
      assert.match(error.remedy, /Ask the clinic .*Only if the clinic then says .* on the page Keys/);
      return !error.remedy.includes(opening.codeText(paper)) && !error.message.includes(bytes.toHex(paper).slice(2));
    });
  }
});

test("where the committee changed since the paper, a new one is asked for", async () => {
  const paper = opening.newCode();
  const answer = await invited(paper);
  const next = committee(2, [1, 2, 3]);
  await assert.rejects(comes({ ...TRUE, committee: next }, answer, paper, honest(next, 1, 2, 3)), code("committee_changed"));
  const lie = { ...answer, voucher: { ...answer.voucher, epoch: 2 } };
  await assert.rejects(comes({ ...TRUE, committee: next }, lie, paper), code("wrong_paper"), "the epoch is covered, too");
  const checked = await comes(TRUE, answer, paper);
  assert.throws(() => joining.requireStill(checked, next), code("committee_changed"));
  assert.equal(joining.requireStill(checked, THREE), checked);
});

test("a clinic's page leaves no code, and vouches for each by itself", async () => {
  const codes = [opening.newCode(), opening.newCode()];
  const seen = { market: { ...TRUE, chainId: CHAIN }, dataset: bytes.bytes32(DATASET, "dataset"), issuer: ISSUER.address, desk: DESK, committee: THREE };
  const left = await vouching.invitationsOf(codes, seen);
  const text = JSON.stringify(left);
  for (const each of codes) assert.ok(!text.includes(bytes.toHex(each).slice(2)) && !text.includes(opening.codeText(each)));
  assert.equal(new Set(left.macs).size, 2);
  assert.deepEqual(left.codes, codes.map((each) => bytes.toHex(opening.codeHash(each))));
});
