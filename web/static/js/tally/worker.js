/** Encrypts one row beside the page. Started by `sealing.js`. */

import { load } from "../dictionary.js";
import { encryptedRow } from "./encrypted.js";
import { works } from "./working.js";

/** @typedef {{document: Uint8Array, row: (number|null)[], context: Uint8Array, publicKey: Uint8Array, randomness?: bigint[]}} Asked */

works(
  ({ document, ...of }, told) => encryptedRow({ ...of, dictionary: load(document) }, told),
  ({ columns, proof }) => [columns.buffer, proof.buffer],
);
