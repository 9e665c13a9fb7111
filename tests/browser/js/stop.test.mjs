/**
 * Run by `node --test`: stopping and erasing, where the operator or a custodian lies, breaks off or stalls. Whatever
 * one of them does, a revocation goes to the others, is for this very patient and dataset, and is done once two say so.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { answering, browserWorld, pageAt } from "./lying.mjs";

const JS = new URL("../../../web/static/js/", import.meta.url).href;
const world = browserWorld();
const load = (name) => import(`${JS}${name}.js`);
const names = ["accounts", "acts", "ask", "bytes", "erasing", "keyfile", "keys", "keystore", "messages", "revoking", "session", "siwe", "stopfacts", "stopping", "stopsigner", "stopwords", "wallet"];
const [accounts, acts, ask, bytes, erasing, keyfile, keys, keystore, messages, revoking, session, siwe, stopfacts, stopping, stopsigner, stopwords, wallet] = await Promise.all(names.map(load));

const CHAIN = 31_337;
const KEY = new Uint8Array(32).fill(7);
const SIGNER = wallet.localSigner(KEY);
const addressOf = (n) => wallet.localSigner(new Uint8Array(32).fill(n)).address;
const URLS = ["http://127.0.0.1:8101", "http://127.0.0.1:8102", "http://127.0.0.1:8103"];
const MARKET = {
  chain_id: CHAIN,
  contracts: { ConsentRegistry: addressOf(21), DatasetRegistry: addressOf(22), ResearchMarket: addressOf(23) },
  token: { address: addressOf(25), decimals: 6, symbol: "EUR" },
  custodians: URLS,
  committee: { epoch: 1, quorum: 2, members: [1, 2, 3].map((n, place) => ({ place, key: `0x0${n}`.padEnd(66, "0"), signer: addressOf(n) })), gates: [] },
};
const [D1, D2] = ["d1", "d2"].map((each) => `0x${each.repeat(30)}0000`);
const OWN = { dataset: D1, name: "d", address: SIGNER.address, sequence: 1, chain_id: CHAIN, contracts: MARKET.contracts, custodians: URLS };
const BUSY = { status: 429, code: "too_often", detail: "Asked too often.", remedy: "Try again in 60 seconds." };
const superseded = (current) => ({ status: 422, code: "superseded_revocation", detail: `This revocation names sequence 5, but ${current} is in force.`, remedy: "Sign again." });
const code = (wanted) => (error) => assert.equal(error.code, wanted, error.stack) ?? true;
const toAll = (path, answer) => Object.fromEntries(URLS.map((url) => [`${url}${path}`, answer]));

/** What a chain has of each `dataset address`, and a custodian with an honest view of it. */
function chainOf(consents) {
  const honest = ({ revocation, signer }) => {
    const found = consents[`${revocation.dataset} ${revocation.patient}`];
    if (found === undefined) return { status: 422, code: "nothing_to_revoke", detail: "No record.", remedy: "Check." };
    if (signer !== revocation.patient && found.guardian !== signer) return { status: 422, code: "not_yours", detail: "No.", remedy: "Sign." };
    if (Number(revocation.sequence) < found.sequence) return superseded(found.sequence);
    Object.assign(found, { state: "none", sequence: signer === revocation.patient ? Number(revocation.sequence) + 1 : found.sequence + 1 });
    return { block: 17, transaction: "0x00" };
  };
  return honest;
}

/** A look at the chain a second: nobody here waits for the next, but the clock goes on. */
const [wait, clock] = [globalThis.setTimeout, Date.now];
let waited = 0;
Date.now = () => clock() + waited;
globalThis.setTimeout = (work, delay, ...given) => {
  const isLook = delay === 1_000;
  if (isLook) waited += delay;
  return wait(work, isLook ? 0 : delay, ...given);
};

const live = (more = {}) => ({ state: "live", sequence: 4, ...more });

// --- answers that are none

/** One of which some comes; then it breaks off, or nothing more follows. */
function partly(signal) {
  const start = (stream) => {
    stream.enqueue(bytes.utf8("{"));
    if (signal === undefined) stream.error(new TypeError("it broke off"));
    else signal.addEventListener("abort", () => stream.error(signal.reason));
  };
  return new Response(new ReadableStream({ start }));
}

/** Until `end`, what is asked is given up after half a second. */
function impatient(end) {
  const real = AbortSignal.timeout;
  AbortSignal.timeout = () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new DOMException("it is over", "TimeoutError")), 500);
    return controller.signal;
  };
  end.after(() => (AbortSignal.timeout = real));
}

async function run(custodians, { own = OWN, carry = null, urls = URLS, others = {} } = {}) {
  const told = Object.fromEntries(custodians.map((answer, i) => [`${URLS[i]}/revocations`, answer]));
  const asked = answering({ ...told, ...others });
  const words = [];
  const found = new stopping.Stopping({ ...own, custodians: urls }, SIGNER, (word) => words.push(word.text));
  if (carry === null) await found.askAll();
  else await found.askHereFirst(carry);
  const signed = asked.filter(({ path }) => path.endsWith("/revocations")).map(({ body }) => Number(body.revocation.sequence));
  return { found, words, signed };
}

const none = { honest: () => ({ block: 17 }) };

test("an answer that breaks off is no answer, and the next one is asked", async () => {
  answering({ "/there": () => partly() });
  await assert.rejects(ask.getJson("/there"), code("unreachable"));
  const { found } = await run([() => partly(), none.honest, none.honest]);
  assert.equal(found.custodians.length, 2);
});

test("an answer that stalls is no answer, and the next one is asked", async (t) => {
  impatient(t);
  const { found } = await run([(_body, _path, signal) => partly(signal), none.honest, none.honest]);
  assert.equal(found.custodians.length, 2);
});

test("an operator that breaks off its answer keeps no custodian from being asked", async () => {
  const carry = (message) => ask.postJson("/me/messages", { message });
  const { found } = await run([none.honest, none.honest], { carry, others: { "/me/messages": () => partly(), "/api/v1/": () => partly() } });
  assert.equal(found.custodians.length, 2);
});

test("no more of an answer is read than is ever needed", async () => {
  let [read, isOver] = [0, false];
  const pull = (stream) => {
    read += 2 ** 20;
    stream.enqueue(new Uint8Array(2 ** 20));
  };
  answering({ "/there": () => new Response(new ReadableStream({ pull, cancel: () => (isOver = true) })) });
  await assert.rejects(ask.getJson("/there"), code("unreachable"));
  assert.ok(read < 16 * 2 ** 20);
  assert.ok(isOver);
});

test("a custodian whose address is none is passed over", async () => {
  const told = ["nonsense", "", "javascript:alert(1)", null, URLS[1], URLS[2]];
  const asked = answering(toAll("/revocations", none.honest));
  const found = new stopping.Stopping({ ...OWN, custodians: told }, SIGNER, () => {});
  await found.askAll();
  assert.equal(found.custodians.length, 2);
  assert.ok(asked.every(({ path }) => path.startsWith("http://127.0.0.1") || path.startsWith("/api/v1/")), "this site answers for no custodian");
});

test("what a custodian says is shown no longer than somebody reads", async () => {
  const chatty = () => ({ status: 422, code: "no", detail: "x".repeat(100_000), remedy: "-" });
  const { words } = await run([chatty, none.honest]);
  assert.ok(words.every((word) => word.length < 400));
  assert.match(words[0], /x{200}.*…/);
});

// --- how far is signed

test("two honest custodians end it, whatever operator and a third claim", async () => {
  for (const claim of [2 ** 32 + 5, 2 ** 32 - 1, 2 ** 29]) {
    const honest = chainOf({ [`${D1} ${SIGNER.address}`]: live({ sequence: 1 }) });
    const carried = [];
    const carry = (message) => (carried.push(Number(message.message.sequence)), ask.postJson("/me/messages", { message }));
    const others = { "/me/messages": () => superseded(claim), "/api/v1/": { state: "live", sequence: 1 } };
    const { found, signed } = await run([() => superseded(claim), honest, honest], { carry, others });
    assert.equal(found.custodians.length, 2);
    assert.ok(Math.max(...signed, ...carried) < 2 ** 22, "nothing was signed for the claims");
  }
});

test("once two custodians say so, nothing more is signed for a third one's claim", async () => {
  const honest = chainOf({ [`${D1} ${SIGNER.address}`]: live({ sequence: 1 }) });
  const { found, signed } = await run([() => superseded(3_000_000), honest, honest], { others: { "/api/v1/": down } });
  assert.equal(found.custodians.length, 2);
  assert.equal(new Set(signed).size, 1);
});

test("what no sequence can be is no claim, and hides no true one", async () => {
  const honest = chainOf({ [`${D1} ${SIGNER.address}`]: live({ sequence: 5_000_000 }) });
  const beyond = () => superseded(2 ** 32 + 5);
  const { found } = await run([beyond, beyond, honest], { others: { "/api/v1/": down } });
  assert.equal(found.custodians.length, 1);
});

test("the operator's claim is none of the two that it takes", async () => {
  const honest = chainOf({ [`${D1} ${SIGNER.address}`]: live({ sequence: 1 }) });
  const carry = (message) => ask.postJson("/me/messages", { message });
  const others = { "/me/messages": () => superseded(2 ** 31), "/api/v1/": down };
  const { signed } = await run([() => superseded(2 ** 31), honest, down], { carry, others });
  assert.ok(Math.max(...signed) < 2 ** 23);
});

test("where nobody else is there, the operator's claim is followed, so that it stops all the same", async () => {
  const honest = chainOf({ [`${D1} ${SIGNER.address}`]: live({ sequence: 5_000_000 }) });
  const carry = (message) => ask.postJson("/me/messages", { message });
  const taken = ({ message: { message, signer } }) => honest({ revocation: message, signer });
  for (const first of [down, () => superseded(2 ** 32 - 1)]) {
    const { found } = await run([first, down, down], { carry, others: { "/me/messages": taken, "/api/v1/": { state: "none", sequence: 5_900_000 } } });
    assert.ok(found.sequence > 5_000_000);
  }
});

test("a later signature that the wallet declines takes nothing back", async () => {
  const declined = Object.assign(new Error(), { code: 4_001 });
  let signatures = 0;
  const once = { ...SIGNER, sign: (...given) => (signatures++ === 0 ? SIGNER.sign(...given) : Promise.reject(declined)) };
  answering({ [`${URLS[0]}/revocations`]: none.honest, [`${URLS[1]}/revocations`]: () => superseded(3_000_000), "/api/v1/": down });
  const found = new stopping.Stopping({ ...OWN, custodians: URLS.slice(0, 2) }, once, () => {});
  await found.askAll();
  assert.equal(found.custodians.length, 1);
  assert.equal(signatures, 2);
});

test("a sequence grows no farther by what is told than leaves everything possible", () => {
  let kept = 1;
  for (let loads = 0; loads < 2_000; loads++) kept = stopping.believable(kept + 2 ** 22, kept);
  assert.ok(kept <= 2 ** 30);
});

test("whatever sequence was kept once, it is signed for", async () => {
  for (const sequence of [2 ** 32 + 7, -1, "7", undefined]) {
    const honest = chainOf({ [`${D1} ${SIGNER.address}`]: live({ sequence: 1 }) });
    const { found } = await run([honest, honest], { own: { ...OWN, sequence } });
    assert.equal(found.custodians.length, 2, String(sequence));
  }
});

function down() {
  throw new TypeError("down");
}

// --- two custodians, whoever else says so

test("on the page past this site, one custodian and this site are no two", async () => {
  const others = { "/api/v1/": { state: "none", sequence: 2 ** 31 } };
  const { found } = await run([none.honest, down, down], { others });
  assert.equal(found.isShownHere, true);
  assert.throws(() => stopwords.doneBy(found), code("not_confirmed"));
  assert.throws(() => stopwords.doneBy(found), /127\.0\.0\.1:8101 and this site say/);
  const { found: two } = await run([none.honest, none.honest], { others: {} });
  assert.match(stopwords.doneBy(two), /^Stopped\. The custodian at .+ and the custodian at .+ say/);
  const { found: nobody } = await run([down], { others: {} });
  assert.throws(() => stopwords.doneBy(nobody), code("not_stopped"));
  const { found: here } = await run([down], { others });
  assert.throws(() => stopwords.doneBy(here), code("not_confirmed"));
});

test("a custodian that says that the address was left says no, and where to stop is among its words", async () => {
  const left = () => ({ status: 422, code: "moved", detail: "This address was left for another: stop it at the new address.", remedy: "Sign with the key of the new address." });
  const { found, words } = await run([left, left, left], { others: { "/api/v1/": { state: "moved", sequence: 2 ** 21 } } });
  assert.deepEqual([found.saying, found.isConfirmed], [[], false]);
  assert.equal(words.filter((text) => text.includes("stop it at the new address")).length, 3);
  assert.throws(() => stopwords.doneBy(found), code("not_stopped"));
});

// --- whose consent it is

const PASSPHRASE = "orbit canvas lemon tractor quiet";
const root = keys.Root.generate();
const placeOf = (dataset) => ({ chainId: CHAIN, registry: MARKET.contracts.DatasetRegistry, dataset: bytes.bytes32(dataset, "dataset") });
const patientOf = async (dataset, index = 0) => wallet.localSigner(await root.patientKey(placeOf(dataset), index));
const keyring = (...datasets) => ({ root, datasets: datasets.map(([dataset, index = 0]) => ({ ...placeOf(dataset), index })), imported: [] });
const SITE = { "/session/half": { half: "ab".repeat(32) }, "/deployment": MARKET };

/** A browser that knows the market, its keys unlocked in this tab, at this page; who signed in here, if anybody. */
async function browserAt(path, ring, signedIn = null, typed = {}) {
  world.forget();
  sessionStorage.clear();
  localStorage.clear();
  const one = pageAt(path, typed);
  answering(SITE);
  await session.knownMarket();
  await session.stayUnlocked(ring);
  await keystore.keepKeyFile(Uint8Array.of(1));
  if (signedIn !== null) await keystore.keepSignedIn({ account: signedIn, kind: "local" });
  return one;
}

/** Made once: it takes a second. */
const FILE = keyfile.lock(keyring([D1], [D2]), PASSPHRASE);

const consentsOf = (consents) => (_, path) => consents[path.split("/").slice(5).join(" ").replace("consents ", "")] ?? { state: "none", sequence: 0 };
/** An honest chain and custodians, before a site that lies of who is signed in. */
function told(consents, account, more = {}) {
  const site = { "/api/v1/datasets/": consentsOf(consents), "/session": { account, expires_at: 9e9 } };
  return answering({ ...SITE, ...site, ...toAll("/revocations", chainOf(consents)), "/me/": {}, ...more });
}

/** The page shows something else than what Stop ends: the first press says so and asks nobody, the second one ends it. */
async function pressedTwice(own, asked, ...names) {
  const [named, before] = [new Set(), () => asked.filter(({ path }) => /revocations$|messages$/.test(path)).length];
  await assert.rejects(revoking.stopped(own, named), (error) => {
    assert.equal(error.code, "not_as_shown", error.stack);
    for (const name of names) assert.ok(error.message.includes(name), `${name} in: ${error.message}`);
    return true;
  });
  assert.equal(before(), 0);
  return revoking.stopped(own, named);
}

test("Stop ends the consent of this page's dataset, under the address of these very keys, whatever the facts name", async () => {
  const [victim, sham] = [await patientOf(D1), addressOf(66)];
  for (const signedIn of [null, victim.address]) {
    await browserAt(`/me/${D1}`, keyring([D1]), signedIn);
    const chain = { [`${D1} ${victim.address}`]: live(), [`${D1} ${sham}`]: live({ guardian: victim.address }) };
    const asked = told(chain, victim.address);
    const done = await pressedTwice({ dataset: D1, name: "d", account: sham, state: "live", sequence: 4 }, asked, sham, victim.address);
    assert.equal(chain[`${D1} ${victim.address}`].state, "none");
    assert.equal(chain[`${D1} ${sham}`].state, "live");
    assert.match(revoking.toldOf(done), new RegExp(victim.address), "and says which one it was");
  }
});

test("Stop on the page of one dataset never signs for another, nor as another one's address", async () => {
  const [here, there] = [await patientOf(D1), await patientOf(D2)];
  for (const account of [there.address, addressOf(66)]) {
    await browserAt(`/me/${D1}/classes/1`, keyring([D2], [D1]));
    const chain = { [`${D1} ${here.address}`]: live(), [`${D2} ${there.address}`]: live(), [`${D1} ${there.address}`]: live() };
    const asked = told(chain, account);
    await pressedTwice({ dataset: D2, name: "d", account, state: "live", sequence: 4 }, asked, D2, account, D1, here.address);
    assert.deepEqual(Object.values(chain).map(({ state }) => state), ["none", "live", "live"]);
  }
});

test("Stop is for the address in use, unless another one of these keys signed in here", async () => {
  const [old, now] = [await patientOf(D1, 0), await patientOf(D1, 1)];
  for (const [signedIn, ended] of [[null, now], [now.address, now], [old.address, old]]) {
    await browserAt(`/me/${D1}`, keyring([D1, 1]), signedIn);
    const chain = { [`${D1} ${old.address}`]: live(), [`${D1} ${now.address}`]: live() };
    const asked = told(chain, old.address);
    const own = { dataset: D1, name: "d", account: old.address, state: "live", sequence: 4 };
    if (ended === old) await revoking.stopped(own);
    else await pressedTwice(own, asked, old.address, now.address);
    assert.equal(chain[`${D1} ${ended.address}`].state, "none");
    assert.equal(Object.values(chain).filter(({ state }) => state === "live").length, 1);
  }
});

test("a key of the command line stops its own consent", async () => {
  const ring = { ...keyring([D2]), imported: [{ label: "mine", key: KEY }] };
  for (const signedIn of [null, SIGNER.address]) {
    await browserAt(`/me/${D1}`, ring, signedIn);
    const chain = { [`${D1} ${SIGNER.address}`]: live() };
    told(chain, SIGNER.address);
    await revoking.stopped({ dataset: D1, name: "d", account: SIGNER.address, state: "live", sequence: 4 });
    assert.equal(chain[`${D1} ${SIGNER.address}`].state, "none");
  }
});

test("a guardian's Stop is for the record that the page's address names", async () => {
  const [guardian, one, other] = [await patientOf(accounts.NO_DATASET), addressOf(61), addressOf(62)];
  await browserAt(`/guardian/${D1}/${one}`, keyring([accounts.NO_DATASET]), guardian.address);
  const chain = { [`${D1} ${one}`]: live({ guardian: guardian.address }), [`${D1} ${other}`]: live({ guardian: guardian.address }) };
  const asked = told(chain, guardian.address);
  await pressedTwice({ dataset: D1, name: "d", account: other, guardian: guardian.address, state: "live", sequence: 4 }, asked, one, other);
  assert.deepEqual(Object.values(chain).map(({ state }) => state), ["none", "live"]);
});

test("a wallet that is one address everywhere stops in this page's dataset", async () => {
  await browserAt(`/me/${D1}`, keyring([D2]));
  await keystore.keepSignedIn({ account: SIGNER.address, kind: "wallet" });
  const sign = async (_, [, document]) => {
    const { message } = JSON.parse(document);
    const wanted = { patient: message.patient, dataset: bytes.bytes32(message.dataset, "dataset"), sequence: Number(message.sequence) };
    return bytes.toHex(await SIGNER.sign("Revocation", wanted, messages.domainOf("ConsentRegistry", { chainId: CHAIN, contracts: MARKET.contracts })));
  };
  const said = { eth_requestAccounts: () => [SIGNER.address], eth_chainId: () => "0x7a69", eth_signTypedData_v4: sign };
  globalThis.window = { addEventListener() {}, removeEventListener() {}, dispatchEvent() {}, ethereum: { request: async ({ method, params }) => said[method](method, params) } };
  const chain = { [`${D1} ${SIGNER.address}`]: live(), [`${D2} ${SIGNER.address}`]: live() };
  const asked = told(chain, SIGNER.address);
  await pressedTwice({ dataset: D2, name: "d", account: SIGNER.address, state: "live", sequence: 4 }, asked, D1, D2);
  assert.deepEqual(Object.values(chain).map(({ state }) => state), ["none", "live"]);
});

test("where the address that signed in has no key here, Stop says so before it ends the one that has", async () => {
  const [me, absent] = [await patientOf(D1), addressOf(66)];
  await browserAt(`/me/${D1}`, keyring([D1]), absent);
  const chain = { [`${D1} ${me.address}`]: live(), [`${D1} ${absent}`]: live() };
  const asked = told(chain, absent);
  await pressedTwice({ dataset: D1, name: "d", account: me.address, state: "live", sequence: 4 }, asked, absent, me.address);
  assert.deepEqual(Object.values(chain).map(({ state }) => state), ["none", "live"]);
});

test("a site that says at each press that somebody else signed in costs one more press, and no other consent", async () => {
  const labels = [1, 2, 3].map((n) => ({ label: `of ${n}`, key: new Uint8Array(32).fill(n) }));
  await browserAt(`/me/${D1}`, { ...keyring([D2]), imported: labels });
  const all = [1, 2, 3].map(addressOf);
  const chain = Object.fromEntries(all.map((each) => [`${D1} ${each}`, live()]));
  let presses = 0;
  const asked = told(chain, "", { "/session": () => ({ account: all[presses++ % 3], expires_at: 9e9 }) });
  await pressedTwice({ dataset: D1, name: "d", account: addressOf(66), state: "live", sequence: 4 }, asked, all[0]);
  assert.deepEqual(Object.values(chain).map(({ state }) => state), ["none", "live", "live"]);
});

for (const [what, own] of [
  ["dataset", (me) => ({ dataset: D2, account: me })],
  ["account", () => ({ dataset: D1, account: addressOf(66) })],
  ["guardian", (me) => ({ dataset: D1, account: addressOf(66), guardian: me })],
]) {
  test(`nothing else is signed where the facts of a page name another ${what}`, async () => {
    const me = (await patientOf(D1)).address;
    await browserAt(`/me/${D1}`, keyring([D1]), me);
    const asked = told({ [`${D1} ${me}`]: live() }, me);
    const rest = (all, { sequence }, dataset) => all.rest(dataset, sequence);
    const given = { name: "d", state: "live", sequence: 4, ...own(me) };
    await assert.rejects(acts.act(given, rest, () => true), code("other_consent"));
    assert.ok(!asked.some(({ path }) => path.endsWith("/messages")));
    await assert.rejects(acts.keepFacts(given), code("other_consent"));
    assert.deepEqual(await keystore.stopFacts(), []);
  });
}

test("a key of one dataset signs nothing in another", async () => {
  const other = await patientOf(D2);
  await browserAt(`/me/${D1}`, keyring([D2]));
  told({}, other.address);
  const rest = (all, { sequence }, dataset) => all.rest(dataset, sequence);
  await assert.rejects(acts.act({ dataset: D1, name: "d", account: other.address, sequence: 4 }, rest, () => true), code("other_consent"));
  const file = await FILE;
  await assert.rejects(stopsigner.signerIn({ ...OWN, address: other.address }, file, PASSPHRASE), code("other_account"));
  assert.equal((await stopsigner.signerIn({ ...OWN, address: addressOf(66), guardian: other.address }, file, PASSPHRASE)).address, other.address);
});

// --- a site that answers nothing of use

test("a site that is busy keeps nobody from stopping", async () => {
  const me = (await patientOf(D1)).address;
  const locked = { "/session": () => partly(), "/session/half": () => partly(), "/deployment": BUSY, "/api/v1/datasets/": BUSY, "/me/": BUSY };
  // Each takes Argon2id's second: one that is no object and one that is no half, every day.
  const halves = process.env.USUFRUCT_LONG ? ["null", "[]", '"x"', "{}", '{"half":7}', '{"half":"abcd"}'] : ["null", '{"half":"abcd"}'];
  const odd = halves.map((text) => [{ "/session/half": () => new Response(text) }, me]);
  for (const [lie, signedIn] of [...odd, [{ "/session": BUSY }, me], [{ "/session": down }, null], [{ "/session": BUSY, "/session/half": BUSY }, me], [locked, null]]) {
    await browserAt(`/me/${D1}`, keyring([D1]), signedIn, { passphrase: PASSPHRASE });
    await keystore.keepKeyFile(await FILE);
    const chain = { [`${D1} ${me}`]: live() };
    told(chain, me, lie);
    const { stopping: done } = await revoking.stopped({ dataset: D1, name: "d", account: me, state: "live", sequence: 4 });
    assert.equal(done.custodians.length, 2);
    assert.equal(chain[`${D1} ${me}`].state, "none");
  }
});

// --- what is kept for the page past this site

const MANIFEST = {
  schema: "m", chain_id: CHAIN, genesis_hash: "0x01", deployed_block: 1,
  contracts: Object.fromEntries(Object.entries(MARKET.contracts).map(([name, address]) => [name, { address, code_hash: "0x02" }])),
};

test("what is kept of a consent is not renamed, and its manifest stays that of this chain and these contracts", async () => {
  const me = (await patientOf(D1)).address;
  await browserAt(`/me/${D1}`, keyring([D1]), me);
  const own = { dataset: D1, name: "Diabetes", account: me, state: "live", sequence: 4, expiry: 9 };
  told({}, me, { "/api/v1/market": { manifest: MANIFEST } });
  await acts.keepFacts(own);
  told({}, me, { "/api/v1/market": { manifest: { ...MANIFEST, more: 1 } } });
  await acts.keepFacts({ ...own, name: "Nothing of importance", sequence: 5 });
  const [kept] = await keystore.stopFacts();
  assert.deepEqual([kept.name, kept.sequence, kept.manifest.more], ["Diabetes", 5, 1]);
  const spoiled = { ...MANIFEST.contracts, ConsentRegistry: { address: MARKET.contracts.ConsentRegistry, code_hash: "0x03" } };
  for (const lie of [{ genesis_hash: "0x09" }, { deployed_block: 2 }, { contracts: spoiled }]) {
    told({}, me, { "/api/v1/market": { manifest: { ...MANIFEST, ...lie } } });
    await assert.rejects(acts.keepFacts({ ...own, sequence: 6 }), code("market_changed"));
    const found = await keystore.stopFactsOf({ dataset: D1, address: me });
    assert.equal(found.manifest.more, 1);
  }
});

test("a manifest that cannot be written, or is none, is not kept in a known one's place, and keeps nothing else from being kept", async () => {
  const me = (await patientOf(D1)).address;
  const own = { dataset: D1, name: "Diabetes", account: me, state: "live", sequence: 4, expiry: 9 };
  const odd = [{ ...MANIFEST, more: 2 ** 60 }, { ...MANIFEST, more: 1.5 }, { ...MANIFEST, more: "\ud800" }, null, "x", [], {}, { ...MANIFEST, contracts: null }];
  const answers = [...odd.map((manifest) => JSON.stringify({ manifest })), "null", "[]"].map((text) => ({ "/api/v1/market": () => new Response(text) }));
  answers.push({ "/api/v1/market": BUSY });
  for (const before of [null, MANIFEST]) {
    for (const answer of answers) {
      await browserAt(`/me/${D1}`, keyring([D1]), me);
      if (before !== null) {
        told({}, me, { "/api/v1/market": { manifest: before } });
        await acts.keepFacts(own);
      }
      told({}, me, answer);
      await acts.keepFacts({ ...own, sequence: 6 });
      const { manifest, sequence, custodians } = await keystore.stopFactsOf({ dataset: D1, address: me });
      assert.deepEqual([manifest ?? null, sequence, custodians], [before, 6, URLS]);
    }
  }
});

test("a manifest that was kept unwritable is replaced by one that can be written", async () => {
  const me = (await patientOf(D1)).address;
  await browserAt(`/me/${D1}`, keyring([D1]), me);
  const own = { dataset: D1, name: "d", account: me, state: "live", sequence: 4, expiry: 9 };
  const spoiled = { ...OWN, address: me, manifest: { ...MANIFEST, deployed_block: 1.5 } };
  await keystore.keepStopFacts({ dataset: D2, address: "odd", chain_id: CHAIN });
  await keystore.keepStopFacts(spoiled);
  told({}, me, { "/api/v1/market": { manifest: MANIFEST } });
  await acts.keepFacts(own);
  assert.deepEqual((await keystore.stopFactsOf({ dataset: D1, address: me })).manifest, MANIFEST);
});

test("a consent of which half is kept is stopped with what this browser knows of its market, and of no other market", async () => {
  const pin = { chainId: CHAIN, contracts: MARKET.contracts, custodians: URLS };
  const { custodians, contracts, chain_id, ...rest } = { ...OWN, state: "live", seen_at: 9 };
  for (const kept of [rest, { ...rest, name: 7, guardian: 5, seen_at: "x", state: null, custodians: [null, 7], contracts: { ConsentRegistry: 1 }, chain_id: "1" }]) {
    const own = stopfacts.usable(kept, pin);
    assert.deepEqual([own.custodians, own.contracts, own.chain_id, typeof own.name, own.guardian], [URLS, MARKET.contracts, CHAIN, "string", null]);
    const { found } = await run([none.honest, none.honest], { own, urls: own.custodians });
    assert.equal(found.custodians.length, 2);
  }
  assert.equal(stopfacts.usable({ ...rest, chain_id: CHAIN + 1 }, pin).contracts, null);
  assert.deepEqual(stopfacts.usable(rest, null), { ...rest, contracts: null, custodians: [], guardian: null });
  const whole = { ...OWN, state: "live", seen_at: 9, guardian: addressOf(5) };
  assert.deepEqual(stopfacts.usable(whole, { ...pin, contracts: {}, custodians: [] }), whole);
  for (const odd of [null, undefined, "x", 7, [], {}, { dataset: D1 }, { dataset: 5, address: OWN.address }, { dataset: D1, address: "0x1" }]) {
    assert.equal(stopfacts.usable(odd, pin), null);
  }
});

test("custodians that came since a consent was looked at last are asked to stop it, and those of another market are not", () => {
  const kept = { ...OWN, state: "live", seen_at: 9, custodians: ["https://left.example"] };
  const pin = { chainId: CHAIN, contracts: MARKET.contracts, custodians: URLS };
  assert.deepEqual(stopfacts.usable(kept, pin).custodians, URLS);
  for (const other of [null, { ...pin, chainId: CHAIN + 1 }, { ...pin, contracts: { ...MARKET.contracts, ConsentRegistry: addressOf(66) } }, { ...pin, custodians: [] }]) {
    assert.deepEqual(stopfacts.usable(kept, other).custodians, kept.custodians);
  }
});

test("signing out leaves nothing behind that says for which study somebody rested", async () => {
  await browserAt(`/me/${D1}`, keyring([D1]), SIGNER.address);
  globalThis.BroadcastChannel = class {
    postMessage() {}
  };
  acts.keepStudy({ dataset: D1, account: SIGNER.address }, 9e9);
  localStorage.setItem("of others", "1");
  answering({ "/sign-out": { next: "/" } });
  await session.signOut();
  assert.deepEqual([localStorage.length, localStorage.key(0)], [1, "of others"]);
  assert.equal(await keystore.signedInAs(), null);
});

test("a sign-out that the server does not take leaves who signed in as it is, and nothing that is secret", async () => {
  await browserAt(`/me/${D1}`, keyring([D1]), SIGNER.address);
  globalThis.BroadcastChannel = class {
    postMessage() {}
  };
  for (const [lie, error] of [[BUSY, "too_often"], [down, "unreachable"]]) {
    sessionStorage.setItem("signed in by wallet", SIGNER.address);
    sessionStorage.setItem("unlocked keys", "a box");
    answering({ "/sign-out": lie });
    await assert.rejects(session.signOut(), code(error));
    assert.equal((await keystore.signedInAs()).account, SIGNER.address);
    assert.deepEqual([sessionStorage.length, sessionStorage.getItem("signed in by wallet")], [1, SIGNER.address]);
  }
  answering({ "/sign-out": { next: "/" } });
  await session.signOut();
  assert.deepEqual([sessionStorage.length, await keystore.signedInAs()], [0, null]);
});

test("who signed in is what this browser signed with, not what the site says", async () => {
  await browserAt("/sign-in", keyring([D1]));
  const [me, nonce] = [await patientOf(D1), "a1b2c3d4"];
  const moment = (seconds) => `${new Date(Date.now() + 1_000 * seconds).toISOString().slice(0, 19)}Z`;
  const text = [
    "market.example wants you to sign in with your Ethereum account:", me.address, "", siwe.STATEMENT, "",
    "URI: https://market.example", "Version: 1", `Chain ID: ${CHAIN}`, `Nonce: ${nonce}`, `Issued At: ${moment(-1)}`, `Expiration Time: ${moment(300)}`,
  ].join("\n");
  const signsIn = (more) => answering({ ...SITE, "/challenge": { nonce, text }, "/sign-in": { account: addressOf(66), next: "/me" }, ...more });
  signsIn({ "/sign-in": BUSY });
  await assert.rejects(session.signIn(me, "/me"), code("too_often"));
  assert.equal(await keystore.signedInAs(), null);
  signsIn({});
  await session.signIn(me, "/me");
  assert.deepEqual(await keystore.signedInAs(), { account: me.address, kind: "local" });
});

// --- addresses that were moved on from

test("addresses before the one in use are offered behind it, and called so", async () => {
  const listed = await accounts.accountsOf(keyring([D1, 2]), { chainId: CHAIN, contracts: MARKET.contracts });
  assert.deepEqual(listed.map(({ label }) => label), ["Patient", "Patient, an earlier address", "Patient, an earlier address"]);
  const wanted = await Promise.all([2, 1, 0].map(async (index) => (await patientOf(D1, index)).address));
  assert.deepEqual(listed.map(({ key }) => wallet.localSigner(key).address), wanted);
  const inUse = await accounts.accountsOf(keyring([D1, 2]), { chainId: CHAIN, contracts: MARKET.contracts }, { earlier: false });
  assert.equal(inUse.length, 1);
});

// --- erasing

const refusal = (code, detail = "No.") => ({ status: 422, code, detail, remedy: "Check." });
const [NOTHING, SEEN, FOR_GOOD] = ["nothing_to_erase", "already_erased", "erased_for_good"].map((each) => refusal(each));
const latest = (version) => refusal("wrong_record_version", `The message names record version 1; the latest is ${version}.`);
const erasureOf = (version) => ({ message: { dataset: D1, patient: SIGNER.address, version }, signature: "0x00" });
const erasuresOf = (answers) => answering(Object.fromEntries(answers.map((answer, i) => [`${URLS[i]}/erasures`, answer])));

async function erased(answers) {
  erasuresOf(answers);
  const run = new erasing.Erasing(URLS, SIGNER.address);
  run.begin(erasureOf(1));
  await run.ask();
  return run;
}

test("that there is nothing to erase is nobody's yes, whoever carried it: a node that is behind has nothing either", async () => {
  const carries = () => ({ block: 9 });
  assert.deepEqual((await erased([NOTHING, NOTHING, NOTHING])).seeing, []);
  for (const answers of [[carries, NOTHING, NOTHING], [NOTHING, carries, NOTHING], [SEEN, NOTHING, NOTHING]]) {
    const { seeing, isConfirmed } = await erased(answers);
    assert.deepEqual([seeing.length, isConfirmed], [1, false]);
  }
  assert.deepEqual((await erased([() => ({ block: "9" }), () => null, () => new Response("[7]")])).seeing, []);
});

test("an erasure is confirmed by two whose own chain has it, whoever carried it, and final by two who say so", async () => {
  for (const [answers, final] of [
    [[() => ({ block: 9 }), SEEN, down], []],
    [[SEEN, down, FOR_GOOD], [URLS[2]]],
    [[FOR_GOOD, NOTHING, FOR_GOOD], [URLS[0], URLS[2]]],
  ]) {
    const run = await erased(answers);
    assert.deepEqual([run.isConfirmed, run.final, run.isFinal], [true, final, final.length === 2]);
  }
});

test("who saw an erasure that a block was taken back with sees it no more", async () => {
  const run = await erased([() => ({ block: 9 }), SEEN, down]);
  erasuresOf([NOTHING, SEEN, down]);
  await run.ask();
  assert.deepEqual([run.seeing, run.isConfirmed], [[URLS[1]], false]);
});

test("a custodian that breaks off, lies on or is none keeps no other from being asked to erase", async () => {
  assert.deepEqual((await erased([() => partly(), () => ({ block: 9 }), BUSY])).seeing, [URLS[1]]);
  const run = new erasing.Erasing(["nonsense", URLS[0]], SIGNER.address);
  answering({ [`${URLS[0]}/erasures`]: { block: 9 } });
  run.begin(erasureOf(1));
  await run.ask();
  assert.deepEqual(run.seeing, [URLS[0]]);
});

test("a page that is loaded again asks anew of what was signed in its tab, and of nobody else's", async () => {
  const run = await erased([() => ({ block: 9 }), down]);
  const kept = JSON.parse(JSON.stringify(run.kept));
  const again = new erasing.Erasing(URLS, SIGNER.address, kept);
  assert.deepEqual([again.isSigned, again.isConfirmed], [true, false], "nothing that was said is believed again");
  erasuresOf([FOR_GOOD, FOR_GOOD, NOTHING]);
  await again.ask();
  assert.equal(again.isFinal, true);
  for (const before of [kept, null, {}, { erasure: null }, { erasure: {} }]) {
    const other = new erasing.Erasing(URLS, addressOf(66), before);
    await other.ask();
    assert.deepEqual([other.isSigned, other.seeing], [false, []]);
  }
});

test("two custodians who say another version than this site have it signed for that one; one of them has not", async () => {
  const versions = [];
  const sign = async (version) => (versions.push(version), erasureOf(version));
  const honest = (current) => ({ erasure: { version } }) => (version === current ? { block: 9 } : latest(current));
  const ends = async (told, answers, carry = async () => {}) => {
    versions.length = 0;
    erasuresOf(answers);
    const run = new erasing.Erasing(URLS, SIGNER.address);
    const refused = await run.handIn(told, sign, carry);
    return [run.isConfirmed, refused?.message ?? null, ...versions];
  };
  for (const lie of [1, 7, 0]) {
    assert.deepEqual(await ends(lie, [honest(3), honest(3), down]), [true, null, lie, 3]);
  }
  for (const odd of [null, undefined, -1, 2 ** 32, "3", 1.5]) {
    assert.deepEqual(await ends(odd, [down, honest(3), honest(3)]), [true, null, 0, 3]);
  }
  assert.deepEqual(await ends(3, [honest(3), latest(9), honest(3)]), [true, null, 3]);
  assert.deepEqual(await ends(3, [latest(9), latest(8), down]), [false, null, 3]);
  assert.deepEqual(await ends(3, [latest(2 ** 33), latest(2 ** 33), down]), [false, null, 3]);
  const refuses = () => Promise.reject(new Error("not carried"));
  assert.deepEqual(await ends(3, [honest(3), honest(3), down], refuses), [true, "not carried", 3]);
});
