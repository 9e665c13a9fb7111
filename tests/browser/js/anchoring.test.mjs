/** Run by `node --test`: whose committee and whose dictionary a receipt is read by, where operator or custodians lie about it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { answering, browserWorld } from "./lying.mjs";

const JS = new URL("../../../web/static/js/", import.meta.url).href;
const world = browserWorld();
const load = (name) => import(`${JS}${name}.js`);
const [wallet, bytes, { committeeHash }, { committeeCheck, dictionaryCheck }, { datasetId }, { Refused }] = await Promise.all(["wallet", "bytes", "committee", "anchoring", "terms", "refused"].map(load));

const URLS = ["http://127.0.0.1:8101", "http://127.0.0.1:8102", "http://127.0.0.1:8103"];
const addressOf = (n) => wallet.localSigner(new Uint8Array(32).fill(n)).address;
const keyOf = (n) => `0x${n.toString(16).padStart(2, "0").repeat(32)}`;
const committeeOf = (numbers, quorum = 2, epoch = 4) => ({ epoch, quorum, members: numbers.map((n, place) => ({ place, key: keyOf(n), signer: addressOf(n) })) });
const [TRUE, EVIL] = [committeeOf([1, 2, 3]), committeeOf([7, 8, 9])];
const MARKET = {
  chain_id: 31_337,
  contracts: { ConsentRegistry: addressOf(21), DatasetRegistry: addressOf(22), ResearchMarket: addressOf(23) },
  token: { address: addressOf(25), decimals: 6, symbol: "EUR" },
  custodians: URLS,
  committee: TRUE,
};
const receiptOf = ({ members, quorum, epoch }, changes = {}) => ({ epoch, committee: { quorum, signers: members.map(({ signer }) => signer) }, ...changes });
const code = (wanted) => (error) => assert.equal(error.code, wanted, error.stack) ?? true;

let pages = 0;
/** The check of a receipt in a browser that knows URLS, where the operator names `told`, and custodians `said`; null is silent. */
async function checked(receipt, told = TRUE, said = TRUE, silent = 0) {
  world.forget();
  const health = (place) => ({ ready: true, seated: true, epoch: said.epoch, quorum: said.quorum, committee: bytes.toHex(committeeHash(said)), place, key: said.members[place].key });
  const others = URLS.slice(silent).map((url, i) => [`${url}/health`, health(i + silent)]);
  answering({ "/deployment": { ...MARKET, committee: told }, ...Object.fromEntries(others) });
  const { confirmedCommittee } = await import(`${JS}pin.js?anchoring=${++pages}`);
  return committeeCheck(receipt, confirmedCommittee);
}

test("the committee that custodians confirm holds, also where one of them is silent", async () => {
  for (const silent of [0, 1]) assert.equal((await checked(receiptOf(TRUE), TRUE, TRUE, silent)).why, null);
});

const LIES = {
  "custodians of the operator's own": EVIL,
  "a quorum of its own": committeeOf([1, 2, 3], 3),
  "one custodian of its own": committeeOf([1, 2, 9]),
  "others places": committeeOf([2, 1, 3]),
  "one custodian less": committeeOf([1, 2]),
  "one custodian more": committeeOf([1, 2, 3, 9], 2),
};
for (const [what, lie] of Object.entries(LIES)) {
  test(`${what}: refused`, async () => {
    await assert.rejects(checked(receiptOf(lie)), code("another_committee"));
  });
}

test("an operator that names the same lie itself is contradicted", async () => {
  await assert.rejects(checked(receiptOf(EVIL), EVIL), code("wrong_committee"));
  await assert.rejects(checked(receiptOf(EVIL), EVIL), (error) => !/sealed/.test(error.remedy));
});

test("of an earlier epoch nothing is said to hold, and of a later one there is no receipt", async () => {
  const { why } = await checked(receiptOf(EVIL, { epoch: 3 }));
  assert.match(why, /epoch 3.*epoch 4.*verify-receipt/);
  await assert.rejects(checked(receiptOf(EVIL, { epoch: 5 })), code("another_committee"));
});

test("where too few custodians answer, it says so and opens", async () => {
  const { why } = await checked(receiptOf(TRUE), TRUE, TRUE, 2);
  assert.match(why, /Only 1 of the custodians .* 2 have to.*verify-receipt/);
});

test("a market that is none, or another, is refused", async () => {
  await assert.rejects(checked(receiptOf(TRUE), committeeOf([1, 2, 3], 1)), code("wrong_committee"));
  const changed = () => Promise.reject(new Refused({ code: "market_changed", message: "m", remedy: "r" }));
  await assert.rejects(committeeCheck(receiptOf(TRUE), changed), code("market_changed"));
});

// --- the dictionary

const [HASH, SALT, STEWARD] = [keyOf(77), keyOf(88), addressOf(31)];
const DATASET = datasetId(31_337, MARKET.contracts.DatasetRegistry, STEWARD, bytes.bytes32(HASH), bytes.bytes32(SALT));
const read = (hash, published, dataset = DATASET) => dictionaryCheck({ chainId: 31_337, terms: { dataset } }, MARKET, hash, published);

test("the dictionary that the dataset's id is a hash of holds", () => {
  assert.equal(read(HASH, { steward: STEWARD, salt: SALT }).why, null);
});

test("any other dictionary is refused, whatever steward and salt are told", () => {
  for (const told of [{ steward: STEWARD, salt: SALT }, { steward: STEWARD, salt: keyOf(1) }, { steward: addressOf(32), salt: SALT }]) {
    assert.throws(() => read(keyOf(78), told), code("wrong_dictionary"));
  }
  assert.throws(() => read(HASH, { steward: addressOf(32), salt: SALT }), code("wrong_dictionary"));
  assert.throws(() => read(HASH, { steward: STEWARD, salt: SALT }, new Uint8Array(32)), code("wrong_dictionary"));
});

test("where the operator does not say how it was published, it does not hold", () => {
  for (const told of [null, undefined]) assert.match(read(HASH, told).why, /operator's word/);
});

test("what is no steward and no salt is refused", () => {
  for (const told of [{}, { steward: STEWARD }, { steward: 5, salt: SALT }, { steward: STEWARD, salt: "0x00" }, "x", 7]) {
    assert.throws(() => read(HASH, told), (error) => error.name === "Refused");
  }
});
