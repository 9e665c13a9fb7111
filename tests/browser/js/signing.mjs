/** Signing: structs, what wallets are shown, messages as they travel. */

import { CODE_AND_FIELD, bytes, hex } from "./support.mjs";

export async function signing(vectors, checks) {
  const cases = vectors.web.signing;
  await structs(cases, checks);
  await signatures(vectors.structs, cases, checks);
  await ids(vectors.structs, checks);
  await messages(cases, checks);
  await implausible(cases.setting, checks);
}

const BAD = { refused: { code: "malformed_message" } };

async function structs(cases, checks) {
  const { solidity, eip712, canonical } = checks.modules;
  for (const { struct, json, abi, type } of cases.json) {
    await checks.same(`${struct} as a tuple`, () => solidity.abiTuple(struct, solidity.fromJson(struct, json)), abi);
    await checks.same(`${struct} as JSON again`, () => JSON.stringify(solidity.toJson(struct, solidity.fromJson(struct, json))), JSON.stringify(json));
    await checks.same(`type of ${struct}`, () => solidity.abiType(struct), type);
  }
  for (const each of cases.bad_json) {
    const read = () => void solidity.fromJson(each.struct, changed(cases.bases[each.struct], each));
    const shown = JSON.stringify(each.set ?? each.without ?? each.whole);
    await checks.agrees(`${each.struct} with ${shown}`, read, each, FULL);
  }
  for (const each of cases.typed) {
    const values = solidity.fromJson(each.struct, each.message);
    await checks.same(`${each.struct}: type string`, () => eip712.typeString(each.struct), each.type_string);
    await checks.same(`${each.struct}: digest`, () => eip712.digest(each.struct, values, each.domain), { b: each.digest });
    const shown = () => hex(canonical.canonical(eip712.typedData(each.struct, values, each.domain)));
    await checks.same(`${each.struct}: typed data`, shown, hex(canonical.canonical(each.typed_data)));
  }
  await checks.agrees("bytes of another length", () => solidity.checked("Revocation", { patient: ZERO, dataset: bytes("0x00"), sequence: 1 }), BAD, ["code"]);
  await checks.agrees("a list for bytes", () => solidity.checked("Revocation", { patient: ZERO, dataset: [0], sequence: 1 }), BAD, ["code"]);
}

const FULL = ["code", "message", "remedy", "field"];
const ZERO = "0x" + "00".repeat(20);

function changed(good, { whole, set = {}, without }) {
  if (whole !== undefined) return whole;
  const kept = Object.entries(good).filter(([name]) => name !== without);
  return { ...Object.fromEntries(kept), ...set };
}

async function signatures(kept, cases, checks) {
  const { eip712, solidity } = checks.modules;
  const key = bytes(kept.key);
  for (const { type, domain, message, digest, signature, type_string: written } of kept.messages) {
    const values = solidity.fromJson(type, message);
    await checks.same(`${type}: the type that is signed`, () => eip712.typeString(type), written);
    await checks.same(`${type}: what is signed`, () => eip712.digest(type, values, domain), { b: digest });
    await checks.same(`${type}: signed`, () => eip712.sign(type, values, domain, key), { b: signature });
    await checks.same(`${type}: by whom`, () => eip712.recover(type, values, domain, bytes(signature)), kept.signer);
  }
  for (const { message, domain, signature, ...wanted } of cases.bad_signatures) {
    const recover = () => eip712.recover("Grant", solidity.fromJson("Grant", message), domain, bytes(signature));
    await checks.agrees(`signature ${signature.slice(0, 12)}.. for ${domain.name} ${domain.version}`, recover, wanted);
  }
  const [{ type, domain, message, signature }] = kept.messages;
  const require = (signer) => void eip712.requireSigned(type, solidity.fromJson(type, message), domain, bytes(signature), signer);
  await checks.same("the signer is who was meant", () => require(kept.signer), null);
  await checks.agrees("the signer is another", () => require(ZERO), { refused: { code: "bad_signature", field: "signature" } }, CODE_AND_FIELD);
  for (const raw of ["00".repeat(32), "ff".repeat(32), "11".repeat(31)]) {
    await checks.agrees(`no key: ${raw.slice(0, 4)}`, () => eip712.accountOf(bytes(raw)), { refused: { code: "key_file" } }, ["code"]);
  }
}

async function ids({ ids: kept, signer, messages: [{ domain }] }, checks) {
  const { terms, solidity, hash } = checks.modules;
  const chain = Number(domain.chainId);
  const dataset = bytes(kept.dataset);
  const made = () => terms.datasetId(chain, kept.registry, signer, hash.keccakText("dictionary"), new Uint8Array(32));
  await checks.same("dataset id", made, { b: kept.dataset });
  await checks.same("class id", () => terms.classId(dataset, 1), { b: kept.class });
  await checks.same("its dataset", () => terms.datasetOf(bytes(kept.class)), { b: kept.dataset });
  for (const index of [1, 255, 256, 65535]) await checks.same(`class ${index}`, () => terms.indexOf(terms.classId(dataset, index)), { n: String(index) });
  for (const index of [0, 65536, -1, 1.5, "1"]) await checks.agrees(`no class ${index}`, () => terms.classId(dataset, index), BAD, ["code"]);
  await checks.agrees("no dataset id", () => terms.classId(bytes(kept.class), 1), BAD, ["code"]);
  const offered = solidity.fromJson("ClassTerms", kept.class_terms);
  await checks.same("definition", () => terms.definitionHash(offered, bytes(kept.class)), { b: kept.definition });
  const asked = solidity.fromJson("RequestTerms", kept.request_terms);
  await checks.same("request id", () => terms.requestId(chain, kept.market, signer, asked), { b: kept.request });
  const escrow = BigInt(kept.request_terms.maxPatients) * BigInt(kept.request_terms.price) + BigInt(kept.request_terms.fee);
  await checks.same("escrow", () => terms.escrowOf(asked), { n: String(escrow) });
}

/** Methods of Messages whose first argument is the dataset. */
const OF_A_DATASET = ["revocation", "rest", "wake", "guardianship", "dismissal", "erasure", "withdrawal"];

async function messages({ messages: cases, setting, bad_messages: spoilt }, checks) {
  const { call } = checks.modules;
  for (const each of cases) {
    const name = `${each.method} by the ${each.by}`;
    await checks.same(name, async () => JSON.stringify(sorted(await made(checks.modules, setting, each))), JSON.stringify(sorted(each.envelope)));
    const called = () => call.messageCall(each.envelope);
    await checks.same(`${name} as a call`, () => ({ contract: called().contract, data: called().data }), { o: { contract: each.contract, data: { b: each.data } } });
  }
  for (const each of spoilt) {
    await checks.agrees(`message ${JSON.stringify(each.envelope).slice(0, 60)}`, () => void call.messageCall(each.envelope), each, CODE_AND_FIELD);
  }
  // The servers' reader takes capitals; a browser writes and reads one spelling.
  const loud = () => call.messageCall({ ...cases[0].envelope, signature: "0xAB" });
  await checks.agrees("a signature in capitals", loud, { refused: { code: "malformed_message", field: "signature" } }, CODE_AND_FIELD);
}

function made(modules, setting, { method, arguments: given, by }) {
  const { Messages, localSigner } = modules.messages;
  const [own, other] = [setting.key, setting.other].map((key) => localSigner(bytes(key)));
  const random = (length) => bytes(setting.random).slice(0, length);
  const signing = new Messages(setting.deployment, by === "account" ? own : other, { now: () => setting.now, random });
  const dataset = bytes(setting.dataset);
  if (method === "rotation") return signing.rotation(other, dataset);
  if (OF_A_DATASET.includes(method)) return signing[method](dataset, ...given);
  if (method !== "grant") return signing[method](...given);
  const cap = BigInt(given[0].cap.n);
  return signing.grant({ ...given[0], cap, class: bytes(setting.class), definition: bytes(setting.definition) });
}

function sorted(value) {
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, each]) => [name, sorted(each)]));
}

async function implausible(setting, checks) {
  const { Messages, localSigner, REVOCATION_REACH, REVOCATION_SPREAD } = checks.modules.messages;
  const signer = localSigner(bytes(setting.key));
  const believed = new Messages(setting.deployment, signer);
  const known = new Messages(setting.deployment, signer, { ownNode: true });
  const dataset = bytes(setting.dataset);
  const refused = { refused: { code: "implausible_sequence", field: "sequence" } };
  for (const sequence of [2 ** 31 + 1, 2 ** 32 - 1, -1, 1.5, "3"]) {
    for (const method of ["rest", "wake"]) {
      await checks.agrees(`${method} of a told ${sequence}`, () => believed[method](dataset, sequence), refused, CODE_AND_FIELD);
    }
  }
  for (const sequence of [2 ** 32, -1, 1.5, "3"]) {
    await checks.agrees(`revocation of a told ${sequence}`, () => believed.revocation(dataset, sequence), refused, CODE_AND_FIELD);
  }
  const beyond = { class: bytes(setting.class), definition: dataset, cap: 1n, expiry: 1, sequence: 2 ** 31 + 2 };
  await checks.agrees("a grant of a told sequence", () => believed.grant(beyond), refused, CODE_AND_FIELD);
  for (const [told, wanted] of [[2 ** 30 - 1, 2 ** 30], [2 ** 30, 2 ** 30 + 1], [2 ** 31 + 5, 2 ** 31 + 6], [2 ** 32 - 1, 2 ** 32 - 1]]) {
    const named = async () => (await believed.revocation(dataset, told)).message.sequence;
    await checks.same(`a told ${told} is revoked, no farther than it takes`, named, { n: String(wanted) });
  }
  const later = async () => {
    const now = (await believed.revocation(dataset, 2 ** 30)).message.sequence + 1;
    await Promise.all([believed.rest(dataset, now), believed.wake(dataset, now), believed.grant({ ...beyond, sequence: now + 1 })]);
    return (await believed.revocation(dataset, now)).message.sequence >= now;
  };
  await checks.same("after one lie everything can still be signed", later, true);
  const last = async () => (await known.revocation(dataset, 2 ** 32 - 2)).message.sequence;
  await checks.same("one's own node is believed, and nothing overflows", last, { n: String(2 ** 32 - 1) });
  const reaches = await Promise.all(Array.from({ length: 40 }, async () => (await believed.revocation(dataset, 7)).message.sequence - 7));
  const within = reaches.every((reach) => reach >= REVOCATION_REACH && reach < REVOCATION_REACH + REVOCATION_SPREAD);
  await checks.same("a revocation reaches within its bounds", () => within, true);
  // 40 draws of 2^20: that two agree has a chance of 1 in 1,300, that 20 do less than 1e-50.
  await checks.same("by a reach that nobody knows", () => new Set(reaches).size > 20, true);
  const printed = JSON.stringify([signer, believed]);
  await checks.same("a signer's key does not print", () => printed.includes(setting.key.slice(2, 20)) || printed.includes("#"), false);
}

