/** What the checks share: tagged values of the vectors, and outcomes that can be compared as text. */

/** The modules under test, from wherever they are served. @param {string} base URL of `static/js/` */
export async function load(base) {
  const names = [
    ...["abi", "address", "analysis", "bytes", "call", "calls", "canonical", "classpage", "committee", "curve", "decimal"],
    ...["delivery", "dictionary", "eip712", "feldman", "fhir", "figures", "fhirbundle", "fhirdates", "hash", "hpke", "json", "keyfile"],
    ...["keyring", "keys", "messages", "opening", "permit", "question", "reasons", "receipt", "receiptchecks", "receiptfile", "record"],
    ...["recordfile", "refused", "roots", "rounding", "row", "siwe", "solidity", "structs", "tagged", "terms", "tx", "typed", "voucher"],
    ...["elgamal", "encoding", "encrypted", "file", "generators", "header", "points", "randomness", "relation", "scalars", "statement", "transcript", "validity"].map((name) => `tally/${name}`),
    ...["answer", "deliverykey", "opened", "shares"].map((name) => `tally/${name}`),
    ...["intervals", "rational"].map((name) => `exact/${name}`),
  ];
  const loaded = await Promise.all(names.map((name) => import(`${base}${name}.js`)));
  return Object.fromEntries(names.map((name, i) => [name, loaded[i]]));
}

/** A list of checks that grows; each compares what was got with what was wanted. */
export class Checks {
  constructor(modules) {
    this.modules = modules;
    this.done = [];
  }

  /** @param {string} name @param {() => unknown} get what is checked; a refusal is an outcome, too */
  async same(name, get, wanted) {
    const got = text(await outcome(get));
    const expected = text({ value: wanted });
    this.done.push({ name, ok: got === expected, got, wanted: expected });
  }

  /**
   * Against a case of a vector: its `value`, or its `refused`, of which `told` says how much must agree.
   * @param {string[]} [told]
   */
  async agrees(name, get, wanted, told = ["code", "message", "remedy", "field"]) {
    const got = await outcome(get);
    const shown = (end) => text("refused" in end ? { refused: told.map((part) => end.refused[part] ?? null) } : { value: end.value });
    this.done.push({ name, ok: shown(got) === shown(wanted), got: shown(got), wanted: shown(wanted) });
  }
}

/** Code and field: where the words differ, because one side reads more strictly or says where. */
export const CODE_AND_FIELD = ["code", "field"];

async function outcome(get) {
  try {
    return { value: tagged(await get()) };
  } catch (fault) {
    if (fault?.name === "Refused") return { refused: fault.reason() };
    return { fault: `${fault?.name}: ${fault?.message}\n${fault?.stack}` };
  }
}

function text(value) {
  return JSON.stringify(value ?? null);
}

/** As the vectors' generator writes it. */
export function tagged(value) {
  if (typeof value === "bigint" || (typeof value === "number" && Number.isInteger(value))) return { n: String(value) };
  if (value instanceof Uint8Array) return { b: hex(value) };
  if (Array.isArray(value)) return value.map(tagged);
  if (typeof value === "object" && value !== null) {
    return { o: Object.fromEntries(Object.entries(value).map(([name, each]) => [name, tagged(each)])) };
  }
  return value ?? null;
}

/** The inverse of `tagged`; decimals become the `Decimal` that is given. */
export function untagged(value, Decimal) {
  if (Array.isArray(value)) return value.map((each) => untagged(each, Decimal));
  if (typeof value !== "object" || value === null) return value;
  if ("n" in value) return BigInt(value.n);
  if ("b" in value) return bytes(value.b);
  if ("d" in value) return Decimal.parse(value.d);
  return Object.fromEntries(Object.entries(value.o).map(([name, each]) => [name, untagged(each, Decimal)]));
}

export function hex(raw) {
  return "0x" + Array.from(raw, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function bytes(digits) {
  const pairs = digits.replace(/^0x/, "").match(/../g) ?? [];
  return Uint8Array.from(pairs, (pair) => parseInt(pair, 16));
}

export const utf8 = (value) => new TextEncoder().encode(value);
export const fromUtf8 = (raw) => new TextDecoder().decode(raw);
