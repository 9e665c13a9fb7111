/** A tally as it stands in a record's document; that its columns are points, and its proof holds, this does not say. */

import { bytes32, fromBase64, fromHex, toBase64, toHex } from "../bytes.js";
import { POINT_BYTES } from "../curve.js";
import { hasExactly } from "../json.js";
import { refuse } from "../refused.js";
import { COLUMN_BYTES } from "./elgamal.js";

const LARGEST_TALLY = 256 * 1024; // bytes of columns and proof together
const KEYS = ["columns", "proof", "public_key"];

/** @typedef {import("./header.js").SealedTally} SealedTally */
/** @typedef {import("./header.js").TallyHeader} TallyHeader */

/** @param {SealedTally} tally @returns {Object<string, string>} */
export function toJson({ publicKey, columns, proof }) {
  return { public_key: toHex(publicKey), columns: toBase64(columns), proof: toBase64(proof) };
}

/**
 * @param {any} document from hostile JSON
 * @returns {SealedTally}
 * @throws {Refused} record_unreadable, bad_parameter: naming the field
 */
export function read(document) {
  if (!hasExactly(document, KEYS)) unreadable("tally", "The tally has not exactly public_key, columns and proof.");
  const publicKey = fromHex(document.public_key, "tally.public_key", POINT_BYTES);
  if (publicKey.length !== POINT_BYTES) unreadable("tally.public_key", `The public key has not ${POINT_BYTES} bytes.`);
  const columns = fromBase64(document.columns, "tally.columns", LARGEST_TALLY);
  const proof = fromBase64(document.proof, "tally.proof", LARGEST_TALLY);
  if (columns.length === 0 || columns.length % COLUMN_BYTES !== 0) {
    unreadable("tally.columns", `Columns have ${COLUMN_BYTES} bytes each.`);
  }
  if (columns.length + proof.length > LARGEST_TALLY) {
    unreadable("tally.columns", `Columns and proof have at most ${LARGEST_TALLY} bytes.`);
  }
  return { publicKey, columns, proof };
}

/**
 * @param {any} document a record's header, as the server keeps it
 * @returns {TallyHeader|null} null where the record has no tally
 * @throws {Refused} bad_parameter
 */
export function headerIn({ tally }) {
  if (tally === undefined) return null;
  const publicKey = fromHex(tally?.public_key, "tally.public_key", POINT_BYTES);
  const [columnRoot, proofHash] = ["column_root", "proof_hash"].map((name) => bytes32(tally?.[name], `tally.${name}`));
  return { publicKey, columnRoot, proofHash };
}

function unreadable(field, message) {
  refuse("record_unreadable", message, "Seal the record again for the committee's joint key and send it unchanged.", field);
}
