/** EIP-712: domains, digests, signatures of the messages in `structs.js`. */

import { encode } from "./abi.js";
import { address, checksummed } from "./address.js";
import { concat, toBigInt } from "./bytes.js";
import { publicPoint, recoverPoint, signDigest } from "./curve.js";
import { keccak, keccakText } from "./hash.js";
import { refuse } from "./refused.js";
import { checked, toJson } from "./solidity.js";
import { STRUCTS } from "./structs.js";

export const VERSION = "1";
/** The contracts refuse the other, malleated half of the signatures (EIP-2). */
const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;
const DOMAIN_FIELDS = [
  ["name", "string"],
  ["version", "string"],
  ["chainId", "uint256"],
  ["verifyingContract", "address"],
];

/** @type {Object<string, (value: any) => Uint8Array>} */
const HASHED = { string: keccakText, bytes: keccak };

/** @typedef {{name: string, version: string, chainId: number|bigint|string, verifyingContract: string}} Domain */

/** @param {string} name of a struct @returns {string} EIP-712 encodeType */
export function typeString(name) {
  return encodedType(STRUCTS[name].type ?? name, STRUCTS[name].fields);
}

/** @param {Domain} domain @returns {Uint8Array} hashStruct of the domain, 32 bytes */
export function separator(domain) {
  const { name, version, chainId, verifyingContract } = domain;
  const types = ["bytes32", "bytes32", "bytes32", "uint256", "address"];
  const typeHash = keccakText(encodedType("EIP712Domain", DOMAIN_FIELDS));
  const values = [typeHash, keccakText(name), keccakText(version), BigInt(chainId), verifyingContract];
  return keccak(encode(types, values));
}

/** @param {string} name of a struct @param {Object<string, unknown>} values @returns {Uint8Array} 32 bytes */
export function structHash(name, values) {
  const known = checked(name, values);
  const { fields } = STRUCTS[name];
  // Values of a dynamic type are encoded as their hash.
  const types = fields.map(([, type]) => (HASHED[type] ? "bytes32" : type));
  const parts = fields.map(([field, type]) => HASHED[type]?.(known[field]) ?? known[field]);
  return keccak(encode(["bytes32", ...types], [keccakText(typeString(name)), ...parts]));
}

/**
 * @param {string} name of a struct
 * @param {Object<string, unknown>} values
 * @param {Domain} domain
 * @returns {Uint8Array} what is signed, 32 bytes
 * @throws {Refused} wrong_domain, malformed_message
 */
export function digest(name, values, domain) {
  const wanted = STRUCTS[name].domain;
  if (wanted === undefined) throw new TypeError(`${name} is no signed message`);
  if (wanted !== null && (domain.name !== wanted || domain.version !== VERSION)) {
    const given = `${domain.name.slice(0, 60)} ${domain.version.slice(0, 10)}`;
    const message = `A ${name} is signed for ${wanted} ${VERSION}, not for ${given}.`;
    return refuse("wrong_domain", message, "Use the domain of the contract that reads this message.");
  }
  return keccak(concat(Uint8Array.of(0x19, 0x01), separator(domain), structHash(name, values)));
}

/**
 * @param {string} name of a struct
 * @param {Object<string, unknown>} values
 * @param {Domain} domain
 * @returns {object} the JSON that wallets take (`eth_signTypedData_v4`)
 */
export function typedData(name, values, domain) {
  digest(name, values, domain);
  const { fields, type = name } = STRUCTS[name];
  const listed = (pairs) => pairs.map(([field, kind]) => ({ name: field, type: kind }));
  return {
    types: { EIP712Domain: listed(DOMAIN_FIELDS), [type]: listed(fields) },
    primaryType: type,
    domain: { ...domain, chainId: Number(domain.chainId) },
    message: toJson(name, values),
  };
}

/**
 * @param {string} name of a struct
 * @param {Object<string, unknown>} values
 * @param {Domain} domain
 * @param {Uint8Array} key 32 bytes
 * @returns {Uint8Array} 65 bytes r, s, v, of which v is 27 or 28 and s is in the lower half
 * @throws {Refused} wrong_domain, key_file, malformed_message
 */
export function sign(name, values, domain, key) {
  return signed(digest(name, values, domain), key);
}

/** @param {Uint8Array} hash 32 bytes @param {Uint8Array} key @returns {Uint8Array} 65 bytes r, s, v */
export function signed(hash, key) {
  accountOf(key);
  const { r, s, parity } = signDigest(hash, key);
  return concat(r, s, Uint8Array.of(27 + parity));
}

/**
 * @param {Uint8Array} hash 32 bytes
 * @param {Uint8Array} signature
 * @returns {string} the account whose signature this is, judged as strictly as the contracts judge it
 * @throws {Refused} bad_signature
 */
export function recovered(hash, signature) {
  if (signature.length !== 65 || (signature[64] !== 27 && signature[64] !== 28)) {
    return badSignature("is not 65 bytes that end in 27 or 28");
  }
  if (toBigInt(signature.slice(32, 64)) > HALF_ORDER) {
    return badSignature("is the malleated twin of another (EIP-2)");
  }
  const point = recoverPoint(hash, signature.slice(0, 64), signature[64] - 27);
  return point === null ? badSignature("belongs to no key") : ofPoint(point);
}

/** The account that signed this message. @returns {string} @throws {Refused} bad_signature, wrong_domain */
export function recover(name, values, domain, signature) {
  return recovered(digest(name, values, domain), signature);
}

/** @throws {Refused} bad_signature unless this account's own key signed (wallets are for the chain) */
export function requireSigned(name, values, domain, signature, signer) {
  const wanted = address(signer, "signer");
  if (recover(name, values, domain, signature) !== wanted) badSignature(`is not that of ${wanted}`);
}

/** @param {Uint8Array} key 32 bytes @returns {string} its address @throws {Refused} key_file */
export function accountOf(key) {
  const point = publicPoint(key);
  if (point !== null) return ofPoint(point);
  const message = "The bytes are no signing key: zero, or not below the curve's order.";
  return refuse("key_file", message, "Use the key file that `usufruct key` made, or make a new one.");
}

function ofPoint(point) {
  return checksummed(keccak(point).slice(12));
}

function encodedType(name, fields) {
  return `${name}(${fields.map(([field, type]) => `${type} ${field}`).join(",")})`;
}

function badSignature(problem) {
  const remedy = "Sign this very message with the account's own key, for this chain and contract.";
  return refuse("bad_signature", `The signature ${problem}.`, remedy, "signature");
}
