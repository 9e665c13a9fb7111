/**
 * Reads the text that the server asks an account to sign (EIP-4361), before it is signed: it must name this
 * very origin, account, chain and nonce, and end within ten minutes. A text relayed from another site does not.
 */

import { address } from "./address.js";
import { refuse } from "./refused.js";

export const STATEMENT = "Sign in to Usufruct. This moves no money and gives no consent.";
const LONGEST_LIFE = 600; // seconds
const MOMENT = "([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)";
const TIMES = new RegExp(`\\nIssued At: ${MOMENT}\\nExpiration Time: ${MOMENT}$`);
const NONCE = /^[A-Za-z0-9]{8,64}$/;

/**
 * @typedef {object} Asked what this browser itself knows
 * @property {string} origin of the page, such as `https://market.example`
 * @property {string} account that is to sign
 * @property {number} chainId
 * @property {string} nonce that came beside the text
 * @property {number} now unix seconds
 */

/**
 * @param {string} text
 * @param {Asked} asked
 * @returns {string} the text, which may be signed
 * @throws {Refused} foreign_sign_in
 */
export function checkedText(text, asked) {
  const [, issuedAt, expiresAt] = TIMES.exec(text) ?? [];
  if (issuedAt === undefined || !NONCE.test(asked.nonce)) return foreign();
  const [issued, expires] = [issuedAt, expiresAt].map((moment) => Date.parse(moment) / 1_000);
  // Clocks differ: one that is ten minutes behind still signs in, and no text is good for later than that.
  const isTimely = issued < expires && expires - issued <= LONGEST_LIFE && issued <= asked.now + LONGEST_LIFE;
  if (!isTimely || expires <= asked.now) return foreign();
  return text === written(asked, issuedAt, expiresAt) ? text : foreign();
}

/** The one text that may be signed, written anew and compared: there is no parser to fool. */
function written({ origin, account, chainId, nonce }, issuedAt, expiresAt) {
  return [
    `${new URL(origin).host} wants you to sign in with your Ethereum account:`,
    address(account, "account"),
    "",
    STATEMENT,
    "",
    `URI: ${origin}`,
    "Version: 1",
    `Chain ID: ${chainId}`,
    `Nonce: ${nonce}`,
    `Issued At: ${issuedAt}`,
    `Expiration Time: ${expiresAt}`,
  ].join("\n");
}

function foreign() {
  const message = "The text to be signed does not sign in to this site with this account now, and nothing else.";
  const remedy = "Do not sign it. Load the page again; check the clock of this device.";
  return refuse("foreign_sign_in", message, remedy, "text");
}
