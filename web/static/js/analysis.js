/** How a request names its analysis, and writes and hashes the parameters of it. */

import { byCodePoint } from "./canonical.js";
import { keccak, keccakText } from "./hash.js";
import { utf8 } from "./bytes.js";
import { malformed } from "./refused.js";

/** @param {string} name of the catalogue, such as `mean.v1` @returns {Uint8Array} 32 bytes */
export function analysisHash(name) {
  return keccakText(name);
}

/**
 * @param {unknown} value objects, lists, text, whole numbers (also as BigInt), true, false, null
 * @returns {string} as analyses write it: sorted keys, no spaces, all but printable ASCII as \uXXXX
 * @throws {Refused} malformed_message for a number that is not whole, and for what JSON has not
 */
export function parametersText(value) {
  if (value === null || typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (Number.isInteger(value)) return String(BigInt(value));
  if (typeof value === "string") return ascii(value);
  if (Array.isArray(value)) return `[${value.map(parametersText).join(",")}]`;
  if (typeof value !== "object" || value === undefined) return malformed("parameters", "hold what has no form");
  const members = Object.keys(value).sort(byCodePoint);
  return `{${members.map((key) => `${ascii(key)}:${parametersText(value[key])}`).join(",")}}`;
}

/** @param {unknown} value @returns {Uint8Array} what `RequestTerms.parameters` holds, 32 bytes */
export function parametersHash(value) {
  return keccak(utf8(parametersText(value)));
}

function ascii(text) {
  const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, escaped);
}
