/** Answers one JSON line with one JSON line: encodings read, rows encrypted and proven with fresh randomness. */

import { createInterface } from "node:readline";

import { bytes, load, tagged, utf8 } from "./support.mjs";

const { dictionary, "tally/encrypted": encrypted } = await load(new URL("../../../web/static/js/", import.meta.url).href);

const ANSWERS = {
  /** The canonical bytes of a dictionary, or why it is none. */
  read({ document }) {
    return dictionary.toBytes(dictionary.load(utf8(document)));
  },

  /** Columns and proof of a row. */
  encrypt({ document, row, context, publicKey }) {
    const read = dictionary.load(utf8(document));
    return encrypted.encryptedRow({ dictionary: read, row, context: bytes(context), publicKey: bytes(publicKey) });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(answer(JSON.parse(line))));
}

function answer(asked) {
  try {
    return { value: tagged(ANSWERS[asked.do](asked)) };
  } catch (fault) {
    return fault?.name === "Refused" ? { refused: fault.reason() } : { fault: String(fault?.stack) };
  }
}
