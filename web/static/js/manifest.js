/** The document by which the command line knows the market: which chain it is on, since when, and what code it runs. */

import { canonical } from "./canonical.js";
import { equal } from "./bytes.js";
import { stopFacts } from "./keystore.js";
import { refuse } from "./refused.js";

const LASTING = ["chain_id", "genesis_hash", "deployed_block", "contracts"];

/** @returns {Promise<object|null>} the one that this browser kept with whatever consent of this market, if any */
export async function knownManifest({ chainId, contracts }) {
  const isOfIt = (each) => each.chain_id === chainId && each.contracts?.ConsentRegistry === contracts.ConsentRegistry;
  return (await stopFacts()).find((each) => isOfIt(each) && each.manifest !== undefined)?.manifest ?? null;
}

/** @returns {boolean} whether both are of one chain, from its first block on, and of the same code at the same addresses */
export function isSameManifest(one, other) {
  return LASTING.every((key) => equal(canonical(one[key] ?? null), canonical(other[key] ?? null)));
}

/** @returns {never} @throws {Refused} market_changed */
export function otherManifest() {
  const message = "This site's manifest names another chain, or other code of its contracts, than the one that this browser keeps.";
  refuse("market_changed", message, "The one before stays. Compare it with the manifest that the market's operator publishes elsewhere.");
}
