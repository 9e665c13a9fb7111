/** Keys of one browser, their file, openings for a desk, sign-in texts, class pages. */

import { CODE_AND_FIELD, bytes, fromUtf8, hex, utf8 } from "./support.mjs";

export async function keys(vectors, checks) {
  const { browser_keys: cases, opening: openings, siwe: texts, class_page: pages } = vectors;
  for (const each of cases.derived) await derived(each, checks);
  await numbers(cases, checks);
  await files(cases, checks);
  await opening(openings, checks);
  await signIn(texts, checks);
  await classPages(pages, checks);
}

async function derived(each, checks) {
  const { Root } = checks.modules.keys;
  const { eip712 } = checks.modules;
  const root = new Root(bytes(each.root));
  const place = { chainId: each.chain_id, registry: each.registry, dataset: bytes(each.dataset) };
  const name = `root ${each.root.slice(0, 8)}`;
  for (const { index, key, address } of each.patient_keys) {
    await checks.same(`${name}: key ${index}`, () => root.patientKey(place, index), { b: key });
    await checks.same(`${name}: address ${index}`, async () => eip712.accountOf(await root.patientKey(place, index)), address);
  }
  for (const { patient, version, nonce, secret } of each.record_secrets) {
    const context = { ...place, patient, recordVersion: version };
    const found = async () => (await root.recordSecret(context, bytes(nonce))).toString(16).padStart(64, "0");
    await checks.same(`${name}: record ${version}`, found, secret.slice(2));
  }
  const delivery = () => root.deliveryKey(each.chain_id, each.market, bytes(each.salt));
  await checks.same(`${name}: delivery`, async () => (await delivery()).publicKey(), { b: each.delivery.public });
  await checks.same(`${name}: desk`, async () => (await root.deskKey(place)).publicKey(), { b: each.desk.public });
  await checks.same(`${name}: person`, () => root.person(place, each.person.number), { b: each.person.person });
  await checks.same(`${name}: number`, () => checks.modules.keys.plainNumber(each.person.number), each.person.spelled);
  await checks.same(`${name} does not print`, () => JSON.stringify(root) + String(Object.values(root)), "{}");
  const refused = { refused: { code: "bad_parameter" } };
  const wrong = {
    "index below 0": () => root.patientKey(place, -1),
    "index of 33 bits": () => root.patientKey(place, 2 ** 32),
    "chain beyond 2^53": () => root.patientKey({ ...place, chainId: 2 ** 53 }),
    "dataset of 31 bytes": () => root.deskKey({ ...place, dataset: new Uint8Array(31) }),
    "no registry": () => root.deskKey({ ...place, registry: "0x" }),
    "nonce of 11 bytes": () => root.recordSecret({ ...place, patient: each.registry, recordVersion: 1 }, new Uint8Array(11)),
    "salt of 31 bytes": () => root.deliveryKey(1, each.market, new Uint8Array(31)),
    "root of 31 bytes": () => new Root(bytes(each.root).slice(1)),
  };
  for (const [what, run] of Object.entries(wrong)) await checks.agrees(`${name}: ${what}`, run, refused, ["code"]);
}

async function numbers(cases, checks) {
  const { plainNumber } = checks.modules.keys;
  for (const text of cases.refused_numbers) {
    const refused = { refused: { code: "bad_parameter", field: "number" } };
    await checks.agrees(`no patient number: ${JSON.stringify(text)}`, () => plainNumber(text), refused, CODE_AND_FIELD);
  }
}

async function files(cases, checks) {
  const { keyfile, keyring: rings, bytes: spelling } = checks.modules;
  const { passphrase, spelled, key, keyring, document, aad } = cases.key_file;
  const stretch = async (given, { memoryKib, passes }) => {
    // Argon2id takes a second: once for each cost is enough.
    if (memoryKib === keyfile.MEMORY_KIB && passes === keyfile.PASSES) return bytes(key);
    return keyfile.stretched(given, { memoryKib, passes, salt: bytes(JSON.parse(aad).kdf.salt) });
  };
  const header = { memoryKib: 65_536, passes: 3, salt: bytes(JSON.parse(aad).kdf.salt) };
  await checks.same("argon2id", () => keyfile.stretched(passphrase, header), { b: key });
  await checks.same("a key file opens", async () => fromUtf8(rings.toBytes(await keyfile.unlock(utf8(document), spelled, stretch))), keyring);
  await checks.same("one of another cost opens", async () => fromUtf8(rings.toBytes(await keyfile.unlock(utf8(cases.other_cost), passphrase, stretch))), keyring);
  const read = rings.readKeyring(utf8(keyring));
  const nonce = bytes(JSON.parse(aad).nonce);
  const made = () => keyfile.lock(read, passphrase, "the long one", { salt: header.salt, nonce, stretch });
  await checks.same("a key file is made, byte for byte", async () => fromUtf8(await made()), document);
  const fresh = await keyfile.lock(read, passphrase, "", { stretch });
  await checks.same("a fresh one opens", async () => fromUtf8(rings.toBytes(await keyfile.unlock(fresh, passphrase, stretch))), keyring);
  await checks.same("with a salt and a nonce of its own", () => [header.salt, nonce].some((raw) => fromUtf8(fresh).includes(hex(raw))), false);
  await checks.same("its hint can be read", () => [keyfile.hintOf(utf8(document)), keyfile.hintOf(fresh)], ["the long one", ""]);
  for (const each of cases.refused) {
    const open = async () => (await keyfile.unlock(utf8(each.document), passphrase, stretch)).datasets.length;
    await checks.agrees(`key file with another ${each.field}`, open, { refused: each }, CODE_AND_FIELD);
  }
  for (const text of cases.refused_passphrases) {
    const refused = { refused: { code: "weak_passphrase", field: "passphrase" } };
    await checks.agrees(`passphrase ${JSON.stringify(text.slice(0, 20))}`, () => keyfile.requireStrong(text), refused, CODE_AND_FIELD);
  }
  const at = (n) => ({ chainId: read.datasets[n].chainId, registry: read.datasets[n].registry, dataset: read.datasets[n].dataset });
  await checks.same("which address is in use", () => [rings.indexIn(read, at(0)), rings.indexIn(read, at(1)), rings.indexIn(read, { ...at(1), chainId: 7 })], [{ n: "0" }, { n: "1" }, null]);
  await checks.same("a keyring's root does not print", () => JSON.stringify(read.root), "{}");
  await checks.same("base64 of the box is the file's own", () => spelling.toBase64(spelling.fromBase64(JSON.parse(document).box, "box")), JSON.parse(document).box);
}

async function opening(cases, checks) {
  const { opening: openings, recordfile, hpke, eip712, solidity } = checks.modules;
  for (const { code, text, hash } of cases.codes) {
    await checks.same(`code ${text}`, () => openings.codeText(bytes(code)), text);
    await checks.same(`hash of ${text}`, () => openings.codeHash(bytes(code)), { b: hash });
    for (const typed of [text, text.toLowerCase(), text.replaceAll("-", " "), text.replaceAll("-", "").replaceAll("1", "l").replaceAll("0", "o")]) {
      await checks.same(`typed ${typed}`, () => openings.readCode(typed), { b: code });
    }
    const refused = { refused: { code: "bad_parameter", field: "code" } };
    const other = text.slice(0, -1) + (text.endsWith("0") ? "1" : "0");
    for (const typed of [other, text.slice(1), text + "0", "U" + text.slice(1), "\uff10" + text.slice(1), ""]) {
      await checks.agrees(`mistyped ${typed}`, () => openings.readCode(typed), refused, CODE_AND_FIELD);
    }
  }
  const { type, domain, message, digest, signature } = cases.desk;
  await checks.same("a desk's digest", () => eip712.digest(type, solidity.fromJson(type, message), domain), { b: digest });
  await checks.same("a desk's signer", () => eip712.recover(type, solidity.fromJson(type, message), domain, bytes(signature)), cases.signer);
  const kept = cases.opening;
  const record = recordfile.load(utf8(kept.record));
  const desk = new hpke.SecretKey(bytes(kept.desk_secret));
  const [code, secret] = Object.values(JSON.parse(kept.plaintext)).map(bytes);
  const given = { code, secret: BigInt(hex(secret)) };
  await checks.same("an opening's info", () => openings.infoOf(record), { b: kept.info });
  const ephemeral = new hpke.SecretKey(bytes(kept.ephemeral));
  await checks.same("an opening, byte for byte", () => openings.sealOpening(given, bytes(kept.desk_key), record, ephemeral), { b: kept.envelope });
  await checks.same("an opening opens", () => openings.openOpening(bytes(kept.envelope), desk, record), { o: { code: { b: hex(code) }, secret: { n: String(given.secret) } } });
  await checks.same("its secret is the record's", () => [openings.isSecretOf(given.secret, record), openings.isSecretOf(1n, record)], [true, false]);
  for (const { why, envelope } of cases.refused) {
    await checks.agrees(`no opening: ${why}`, () => openings.openOpening(bytes(envelope), desk, record), { refused: { code: "envelope_unreadable" } }, ["code"]);
  }
  await checks.agrees("an opening of no scalar", () => openings.sealOpening({ code, secret: 0n }, bytes(kept.desk_key), record), { refused: { code: "bad_parameter" } }, ["code"]);
  await checks.agrees("an opening of no code", () => openings.sealOpening({ code: secret, secret: 1n }, bytes(kept.desk_key), record), { refused: { code: "bad_parameter" } }, ["code"]);
  await vouchers(cases, checks);
  await checks.same("fresh codes differ", () => new Set(Array.from({ length: 20 }, () => hex(openings.newCode()))).size, { n: "20" });
}

async function vouchers(cases, checks) {
  const { voucher: vouching, committee: committees } = checks.modules;
  for (const { code, told, committee, seen, voucher } of cases.vouchers) {
    const name = `a voucher of ${told.committee.members.length} seats`;
    await checks.same(`${name}: the committee`, () => committees.committeeHash(told.committee), { b: committee });
    await checks.same(`${name}: what is seen`, () => vouching.seenHash(seenIn(told), told.custodians), { b: seen });
    await checks.same(name, async () => (await vouching.vouched(bytes(code), seenIn(told), told.custodians)).mac, voucher.mac);
    await checks.same(`${name} is believed`, () => vouching.requireVouched(voucher, bytes(code), seenIn(told)), told.custodians);
    const other = bytes(code);
    other[15] ^= 1;
    await checks.agrees(`${name} under another code`, () => vouching.requireVouched(voucher, other, seenIn(told)), WRONG_PAPER, CODE_AND_FIELD);
    await spoiled(name, { code, told, voucher }, checks);
  }
}

/** One byte of anything that it covers. */
async function spoiled(name, { code, told, voucher }, checks) {
  const { requireVouched } = checks.modules.voucher;
  for (const path of leaves(told).filter((each) => !["place", "custodians"].some((part) => each.includes(part)))) {
    const lie = changed(told, path);
    const isNone = lie.committee.quorum > lie.committee.members.length;
    const refused = path.includes("epoch") ? COMMITTEE_CHANGED : isNone ? NO_COMMITTEE : WRONG_PAPER;
    await checks.agrees(`${name}: another ${path.join(".")}`, () => requireVouched(voucher, bytes(code), seenIn(lie)), refused, ["code"]);
  }
  const lies = [null, undefined, {}, [], "0x", { ...voucher, mac: undefined }, { ...voucher, mac: voucher.mac.slice(0, -2) }, { ...voucher, more: 1 }];
  const elsewhere = [[], ["https://evil.example"], ["https://evil.example/"], [...told.custodians, "https://evil.example"], "https://evil.example", null];
  for (const lie of [...lies, ...elsewhere.map((custodians) => ({ ...voucher, custodians })), { ...voucher, epoch: String(voucher.epoch) }]) {
    await checks.agrees(`${name}: ${JSON.stringify(lie)?.slice(0, 40)}`, () => requireVouched(lie, bytes(code), seenIn(told)), WRONG_PAPER, CODE_AND_FIELD);
  }
}

const WRONG_PAPER = { refused: { code: "wrong_paper", field: "code" } };
const COMMITTEE_CHANGED = { refused: { code: "committee_changed" } };
const NO_COMMITTEE = { refused: { code: "wrong_committee" } };

function seenIn({ chain_id: chainId, contracts, token, dataset, issuer, desk, committee }) {
  return { market: { chainId, contracts, token }, dataset: bytes(dataset), issuer, desk: bytes(desk), committee };
}

function leaves(value, path = []) {
  if (typeof value !== "object") return [path];
  return Object.entries(value).flatMap(([name, each]) => leaves(each, [...path, name]));
}

/** With another number, or another address or hash or text, at this place. */
function changed(value, [name, ...rest]) {
  const made = Array.isArray(value) ? [...value] : { ...value };
  const { [name]: old } = value;
  if (rest.length > 0) made[name] = changed(old, rest);
  else if (typeof old === "number") made[name] = old + 1;
  else made[name] = /^0x.{40}$/.test(old) ? OTHER_ADDRESS : old.startsWith("0x") ? `${old.slice(0, -1)}${old.endsWith("0") ? "1" : "0"}` : `${old}.`;
  return made;
}

const OTHER_ADDRESS = "0x" + "11".repeat(20);

async function signIn({ asked, good, spoiled }, checks) {
  const { checkedText } = checks.modules.siwe;
  const known = { origin: asked.origin, account: asked.account, chainId: asked.chain_id, nonce: asked.nonce, now: asked.now };
  for (const each of good) {
    const own = { origin: each.uri, account: each.account, chainId: each.chain_id, nonce: each.nonce, now: each.issued_at };
    await checks.same(`sign-in to ${each.uri}`, () => checkedText(each.text, own), each.text);
    const spoilt = { origin: "https://evil.example", account: "0x" + "22".repeat(20), chainId: 5, nonce: "another0", now: each.expires_at };
    for (const [what, value] of Object.entries(spoilt)) {
      await checks.agrees(`sign-in to ${each.uri} by another ${what}`, () => checkedText(each.text, { ...own, [what]: value }), FOREIGN, ["code"]);
    }
    await checks.agrees(`sign-in to ${each.uri}, not yet`, () => checkedText(each.text, { ...own, now: each.issued_at - 601 }), FOREIGN, ["code"]);
  }
  for (const { what, text } of spoiled) await checks.agrees(`sign-in: ${what}`, () => checkedText(text, known), FOREIGN, ["code"]);
}

const FOREIGN = { refused: { code: "foreign_sign_in" } };

async function classPages({ good, bad }, checks) {
  const { classpage } = checks.modules;
  for (const { name, bytes: raw, document, hash } of good) {
    const page = () => classpage.load(bytes(raw));
    await checks.same(`page ${name}`, () => classpage.hashOf(page()), { b: hash });
    await checks.same(`page ${name}: text`, () => ({ ...page(), schema: classpage.SCHEMA }).pay, document.pay);
    await checks.same(`page ${name}: bytes`, () => classpage.toBytes(page()), { b: "0x" + raw });
  }
  for (const { name, bytes: raw } of bad) {
    await checks.agrees(`no page: ${name}`, () => classpage.load(bytes(raw)), { refused: { code: "bad_class_page" } }, ["code"]);
  }
}
