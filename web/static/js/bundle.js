/** A file that somebody dropped or chose: looked at by its size and its first byte before it is read. */

import { one } from "./dom.js";
import { LARGEST_BUNDLE } from "./fhir.js";
import { Refused, refuse } from "./refused.js";

const LOOKED_AT = 64; // bytes
const KEYS_LOOKED_AT = 1_024; // bytes
const KEY_FILE = '"usufruct-keys/';
const SPACE = [0x20, 0x09, 0x0a, 0x0d];
const OBJECT = 0x7b; // {
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/**
 * @param {File|undefined} file
 * @returns {Promise<Uint8Array>} its bytes, which may be JSON
 * @throws {Refused} bundle_missing, bundle_too_large, not_a_bundle; of what is too large or no JSON nothing is read but a few bytes
 */
export async function bundleIn(file) {
  if (file === undefined) {
    return refuse("bundle_missing", "There is no file yet.", "Drop your FHIR bundle here, or choose it.", "bundle");
  }
  if (file.size > LARGEST_BUNDLE) {
    const [size, most] = [file.size, LARGEST_BUNDLE].map((bytes) => bytes.toLocaleString("en-GB"));
    const message = `That file has ${size} bytes; a bundle has at most ${most}.`;
    return refuse("bundle_too_large", message, "Ask your clinic for a bundle of the results alone.", "bundle");
  }
  if (!beginsAsObject(new Uint8Array(await file.slice(0, LOOKED_AT).arrayBuffer()))) {
    const message = "That file is no JSON: it begins with something else than {.";
    return refuse("not_a_bundle", message, "Choose a FHIR R4 bundle in JSON, and unpack it first if it is an archive.", "bundle");
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!isKeyFile(bytes)) return bytes;
  return refuse("not_a_bundle", "That is a file of keys, and no health results.", "Show it to nobody, and choose the bundle of your clinic or insurer.", "bundle");
}

/** By its name of the format, which stands at its end; what is in it is not read. */
function isKeyFile(bytes) {
  return new TextDecoder().decode(bytes.slice(-KEYS_LOOKED_AT)).includes(KEY_FILE);
}

function beginsAsObject(bytes) {
  const marked = BYTE_ORDER_MARK.every((byte, i) => bytes[i] === byte);
  const first = bytes.slice(marked ? BYTE_ORDER_MARK.length : 0).find((byte) => !SPACE.includes(byte));
  return first === OBJECT;
}

/**
 * Makes a `file_drop` take what is dropped on it as if it had been chosen; its form is no longer `inert`.
 * @param {HTMLInputElement} input
 * @param {(file: File|undefined) => void} taken is told of each new file
 */
export function onFile(input, taken) {
  const place = input.closest(".file-drop");
  const over = (is) => place.toggleAttribute("data-over", is);
  // So that a file that was mended under the same name is taken when it is chosen again.
  input.addEventListener("click", () => (input.value = ""));
  input.addEventListener("change", () => taken(input.files[0]));
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  place.addEventListener("dragleave", () => over(false));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    input.files = event.dataTransfer.files;
    taken(event.dataTransfer.files[0]);
  });
  // Beside it, a browser would open the file in place of this page.
  for (const kind of ["dragover", "drop"]) one("body").addEventListener(kind, (event) => event.preventDefault());
  input.form.inert = false;
  if (input.files.length > 0) taken(input.files[0]); // chosen before this module ran
}

/** A refusal names a place in the file; it stands at the file's field, after what it means to a patient. */
export function atBundle(/** @type {unknown} */ error) {
  if (!(error instanceof Refused) || error.field === undefined || error.field === "bundle") return error;
  const message = `That file is no FHIR bundle as this page reads one. For whoever made it: ${error.message}`;
  const remedy = `${error.remedy} You get one from your clinic or insurer: ask for your results as a FHIR R4 bundle in JSON.`;
  return new Refused({ code: error.code, message, remedy, field: "bundle" });
}
