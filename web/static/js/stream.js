/** News as they happen: server-sent events, or, where the server has no place for one more stream, asking again. */

import { getJson } from "./ask.js";
import { parse } from "./json.js";
import { utf8 } from "./bytes.js";

const AGAIN = 5_000; // milliseconds between two questions
const LARGEST = 256 * 1024;

/**
 * @param {string} url of the stream
 * @param {Object<string, (data: any) => void>} hear by event
 * @param {{otherwise: string, told: (now: any) => void}} poll where to ask, and who is told, without a stream
 * @returns {() => void} ends it
 */
export function follow(url, hear, { otherwise, told }) {
  let timer = null;
  const source = new EventSource(url);
  const end = () => {
    source.close();
    clearInterval(timer);
  };
  const poll = () => {
    source.close();
    timer ??= setInterval(() => getJson(otherwise).then(told, () => {}), AGAIN);
  };
  for (const [event, listener] of Object.entries(hear)) {
    source.addEventListener(event, (message) => listener(parse(utf8(message.data), { limit: LARGEST })));
  }
  source.addEventListener("full", poll);
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) poll();
  });
  return end;
}
