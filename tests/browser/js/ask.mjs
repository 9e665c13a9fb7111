/** Answers one JSON line with one JSON line: what Python asks of the browser's modules. */

import { createInterface } from "node:readline";

import { extractedFrom } from "./fhir.mjs";
import { bytes, fromUtf8, load, tagged, untagged, utf8 } from "./support.mjs";

const modules = await load(new URL("../../../web/static/js/", import.meta.url).href);
const { decimal, dictionary, feldman, hpke, record, recordfile } = modules;

const ANSWERS = {
  /** Seals values for a committee: the document. */
  async seal({ document, values, context, custodians, epoch, quorum }) {
    const read = dictionary.load(utf8(document));
    const where = { ...context, dataset: bytes(context.dataset), dictionaryHash: dictionary.hashOf(read) };
    const keys = custodians.map((key, i) => ({ index: i + 1, publicKey: bytes(key) }));
    const sealed = await record.seal(read, untagged({ o: values }, decimal.Decimal), where, keys, epoch, quorum);
    return fromUtf8(recordfile.dump(sealed));
  },

  /** Opens a sealed record with these custodians' secrets (by place): its row. */
  async open({ document, sealed, secrets }) {
    const read = dictionary.load(utf8(document));
    const loaded = recordfile.load(utf8(sealed));
    const opened = Object.entries(secrets).map(([index, raw]) => record.openShare(loaded, Number(index), new hpke.SecretKey(bytes(raw))));
    const { secret } = feldman.combine(await Promise.all(opened), loaded.keyCommitments);
    return dictionary.decodeRow(read, await record.openBox(secret, loaded.context, loaded.box));
  },

  /** What a bundle has for a dictionary, as `extractedFrom` shows it. */
  extract({ document, bundle }) {
    return extractedFrom(modules, utf8(bundle), dictionary.load(utf8(document)));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  console.log(JSON.stringify(await answer(asked)));
}

async function answer(asked) {
  try {
    return { value: tagged(await ANSWERS[asked.do](asked)) };
  } catch (fault) {
    return fault?.name === "Refused" ? { refused: fault.reason() } : { fault: String(fault?.stack) };
  }
}
