/** Asks this operator, or a custodian. Every "no" comes back as a `Refused`, and so does silence. */

import { concat } from "./bytes.js";
import { canonical } from "./canonical.js";
import { parse } from "./json.js";
import { Refused } from "./refused.js";

const PATIENCE = 60_000; // milliseconds
const PATIENCE_ELSEWHERE = 15_000; // milliseconds for one of several that are asked the same
const LARGEST = 10 * 1024 * 1024; // bytes of an answer: the largest is a receipt

/**
 * @param {string} url
 * @returns {Promise<any>} the JSON of the answer; whole numbers beyond 2^53 are BigInt
 * @throws {Refused}
 */
export function getJson(url) {
  return asked(url, { headers: { Accept: "application/json" } });
}

/**
 * @param {string} path on this very server
 * @param {unknown} body canonical JSON is made of it
 * @param {string} [token] where it is left out, the page's
 * @returns {Promise<any>} the JSON of the answer
 * @throws {Refused}
 */
export function postJson(path, body, token = csrfToken()) {
  return posted(path, body, { "X-CSRF-Token": token });
}

/**
 * To another origin, such as a custodian's: without cookies, and without this site's token.
 * @param {string} url
 * @param {unknown} body
 * @returns {Promise<any>}
 * @throws {Refused}
 */
export function postElsewhere(url, body) {
  return posted(url, body, {}, { credentials: "omit", referrerPolicy: "no-referrer" });
}

/**
 * From another origin, such as a custodian's: without cookies.
 * @param {string} url
 * @returns {Promise<any>}
 * @throws {Refused}
 */
export function getElsewhere(url) {
  const signal = AbortSignal.timeout(PATIENCE_ELSEWHERE);
  return asked(url, { headers: { Accept: "application/json" }, credentials: "omit", referrerPolicy: "no-referrer", signal });
}

/**
 * What others say, where nothing may wait for them for long.
 * @template T
 * @param {Promise<T>} work
 * @returns {Promise<T|null>} null where it was refused, or did not come in time
 */
export async function inTime(work) {
  let timer = null;
  const late = new Promise((done) => (timer = setTimeout(done, PATIENCE_ELSEWHERE, null)));
  try {
    return await Promise.race([work, late]);
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function posted(url, body, headers, options = {}) {
  const types = { Accept: "application/json", "Content-Type": "application/json" };
  return asked(url, { method: "POST", body: canonical(body), headers: { ...types, ...headers }, ...options });
}

function csrfToken() {
  return document.querySelector('meta[name="csrf-token"]')?.content ?? "";
}

async function asked(url, options) {
  const { response, data } = await reached(url, options);
  if (response.ok) return data.length === 0 ? null : parse(data, { limit: LARGEST });
  throw new Refused(reasonOf(response, data));
}

/** With all of its answer: what breaks off, stalls or goes on and on is none, whatever its first bytes were. */
async function reached(url, options) {
  try {
    const response = await fetch(url, { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PATIENCE), ...options });
    return { response, data: await bodyOf(response) };
  } catch {
    throw new Refused({
      code: "unreachable",
      message: "The server does not answer.",
      remedy: "Check your connection and try again. What you had entered is still here.",
    });
  }
}

/** By a reader: not every browser iterates a body. @throws {RangeError} beyond LARGEST, of which no more is read */
async function bodyOf({ body }) {
  const [parts, reader] = [[], body?.getReader()];
  let size = 0;
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done) return concat(...parts);
    size += value.length;
    if (size > LARGEST) break;
    parts.push(value);
  }
  reader.cancel().catch(() => {});
  throw new RangeError("the answer is too large");
}

/** Of an RFC 9457 problem; what is none, such as a proxy's page, is told by its status alone. */
function reasonOf(response, data) {
  try {
    const { code, detail, remedy, field = null } = parse(data, { limit: LARGEST });
    if (typeof code === "string" && typeof detail === "string" && typeof remedy === "string") {
      return { code, message: detail, remedy, field };
    }
  } catch {
    // Told below.
  }
  const message = `The server answered with status ${response.status}.`;
  return { code: "not_understood", message, remedy: "Try again in a moment.", field: null };
}
