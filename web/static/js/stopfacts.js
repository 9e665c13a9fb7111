/**
 * What this browser kept of one consent, as far as it can be used. What a site that lied had kept, or an earlier version
 * of these pages, may lack anything: no entry keeps another one from being shown, and each is offered as well as can be.
 */

const DATASET = /^0x[0-9a-f]{64}$/i;
const ADDRESS = /^0x[0-9a-f]{40}$/i;

/** @typedef {import("./stopping.js").Kept} Kept */

/**
 * @param {unknown} kept
 * @param {import("./pin.js").Pin|null} pin the market that this browser knows: what the entry lacks of it is taken from there, and of the same market who its custodians are now
 * @returns {Kept|null} null where nothing says which consent it is of; `contracts` null where nobody could sign for it
 */
export function usable(kept, pin) {
  const { dataset, address, guardian, name, state, seen_at: seen, custodians } = kept ?? {};
  if (!isText(dataset, DATASET) || !isText(address, ADDRESS)) return null;
  const place = placeOf(kept, pin);
  return {
    ...kept,
    ...place,
    name: isText(name, /\S/) ? name : `The dataset ${dataset}`,
    guardian: isText(guardian, ADDRESS) ? guardian : null,
    state: isText(state) ? state : "unknown",
    custodians: (isOfMarket(place, pin) ? texts(pin.custodians) : null) ?? texts(custodians) ?? [],
    seen_at: Number.isFinite(seen) ? seen : null,
  };
}

/** Chain and contracts together, or what this browser knows: of two markets a signature would be for neither. */
function placeOf({ chain_id, contracts }, pin) {
  if (Number.isSafeInteger(chain_id) && areContracts(contracts)) return { chain_id, contracts };
  const isOther = Number.isSafeInteger(chain_id) && chain_id !== pin?.chainId;
  if (isOther || !Number.isSafeInteger(pin?.chainId) || !areContracts(pin.contracts)) return { contracts: null };
  return { chain_id: pin.chainId, contracts: pin.contracts };
}

/** Then this browser may know of custodians that came after the visit when this was kept. */
function isOfMarket({ chain_id, contracts }, pin) {
  return contracts !== null && chain_id === pin?.chainId && contracts.ConsentRegistry === pin.contracts?.ConsentRegistry;
}

function areContracts(contracts) {
  return ["ConsentRegistry", "DatasetRegistry"].every((name) => isText(contracts?.[name], ADDRESS));
}

function texts(values) {
  const found = Array.isArray(values) ? values.filter((each) => isText(each)) : [];
  return found.length > 0 ? found : null;
}

function isText(value, form = /^/) {
  return typeof value === "string" && form.test(value);
}
