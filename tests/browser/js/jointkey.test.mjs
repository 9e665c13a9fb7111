/** Run by `node --test`: under which joint key columns are encrypted, where the operator or custodians lie about it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { answering, browserWorld } from "./lying.mjs";

const JS = new URL("../../../web/static/js/", import.meta.url).href;
const world = browserWorld();
const load = (name) => import(`${JS}${name}.js`);
const [wallet, bytes, curve, { committeeHash }] = await Promise.all(["wallet", "bytes", "curve", "committee"].map(load));

const URLS = ["http://127.0.0.1:8101", "http://127.0.0.1:8102", "http://127.0.0.1:8103"];
const addressOf = (n) => wallet.localSigner(new Uint8Array(32).fill(n)).address;
const keyOf = (n) => `0x${n.toString(16).padStart(2, "0").repeat(32)}`;
const [TRUE, EVIL] = [7n, 666n].map((secret) => bytes.toHex(curve.timesGenerator(secret)));
const COMMITTEE = { epoch: 1, quorum: 2, joint_key: TRUE, members: [1, 2, 3].map((n) => ({ place: n - 1, key: keyOf(n), signer: addressOf(n) })) };
const MARKET = {
  chain_id: 31_337,
  contracts: { ConsentRegistry: addressOf(21), DatasetRegistry: addressOf(22), ResearchMarket: addressOf(23) },
  token: { address: addressOf(25), decimals: 6, symbol: "EUR" },
  custodians: URLS,
  committee: COMMITTEE,
};
const HEALTH = { ready: true, seated: true, epoch: 1, quorum: 2, committee: bytes.toHex(committeeHash(COMMITTEE)) };
const word = (place, jointKey) => ({ ...HEALTH, place, key: COMMITTEE.members[place].key, joint_key: jointKey });
const code = (wanted) => (error) => assert.equal(error.code, wanted, error.stack) ?? true;

let pages = 0;
/** What a page gets that has been told `told` as the joint key, of custodians that say these ones; undefined is silent. */
async function confirmed(told, [...said], isTallied = true) {
  world.forget();
  const others = said.map((each, place) => [`${URLS[place]}/health`, typeof each === "object" && each !== null ? each : word(place, each)]);
  const answers = Object.fromEntries(others.filter((_, place) => said[place] !== undefined));
  answering({ "/deployment": { ...MARKET, committee: { ...COMMITTEE, joint_key: told } }, ...answers });
  return (await import(`${JS}pin.js?joint=${++pages}`)).confirmedCommittee({ isTallied });
}

test("the key that all custodians name is taken, and so is one that a quorum names", async () => {
  for (const said of [[TRUE, TRUE, TRUE], [TRUE, TRUE, undefined], [TRUE, null, TRUE]]) {
    assert.equal(bytes.toHex((await confirmed(TRUE, said)).jointKey), TRUE);
  }
});

test("one custodian that lies stops nobody", async () => {
  assert.equal(bytes.toHex((await confirmed(TRUE, [TRUE, EVIL, TRUE])).jointKey), TRUE);
});

test("a key of the operator's own is refused, and who contradicts it is named", async () => {
  await assert.rejects(confirmed(EVIL, [TRUE, TRUE, TRUE]), code("wrong_joint_key"));
  await assert.rejects(confirmed(EVIL, [TRUE, TRUE, TRUE]), /The custodian at 127\.0\.0\.1:8101 names another common key/);
});

test("one custodian in league with the operator is no quorum", async () => {
  await assert.rejects(confirmed(EVIL, [EVIL, TRUE, TRUE]), code("wrong_joint_key"));
  await assert.rejects(confirmed(EVIL, [EVIL, undefined, undefined]), code("committee_unconfirmed"));
  await assert.rejects(confirmed(EVIL, [EVIL, null, null]), code("joint_key_unconfirmed"));
});

test("one custodian at two addresses counts once", async () => {
  await assert.rejects(confirmed(EVIL, [EVIL, word(0, EVIL), null]), code("joint_key_unconfirmed"));
});

test("custodians of another committee confirm no key", async () => {
  const other = { ...word(1, EVIL), committee: keyOf(9) };
  await assert.rejects(confirmed(EVIL, [EVIL, other, null]), code("joint_key_unconfirmed"));
});

test("custodians that do not know the key yet confirm none, and say so in numbers", async () => {
  await assert.rejects(confirmed(TRUE, [TRUE, null, null]), /Only 1 of the custodians .* 2 have to/);
});

test("without a key nothing is sealed for both lanes", async () => {
  for (const said of [[null, null, null], [TRUE, TRUE, TRUE]]) await assert.rejects(confirmed(null, said), code("no_joint_key"));
});

for (const told of ["0x", `0x02${"ff".repeat(32)}`, TRUE.slice(2), TRUE + "00", 5, [], {}, `0x${"00".repeat(33)}`]) {
  test(`${JSON.stringify(told).slice(0, 20)} is no key, whoever names it`, async () => {
    await assert.rejects(confirmed(told, [TRUE, TRUE, TRUE]), code("wrong_joint_key"));
    await assert.rejects(confirmed(TRUE, [word(0, told), word(1, told), TRUE]), (error) => ["committee_unconfirmed", "joint_key_unconfirmed", "wrong_joint_key"].includes(error.code));
  });
}

test("a dataset that has no use for the key is not held up by it", async () => {
  for (const [told, said] of [[EVIL, [TRUE, TRUE, TRUE]], [null, [null, null, null]], [undefined, [undefined, TRUE, null]]]) {
    assert.equal((await confirmed(told, said, false)).jointKey, null);
  }
});
