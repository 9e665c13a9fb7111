/** Gets this browser ready for the day the operator is down: the page for stopping is kept by a worker. */

const WORKER = "/stop/sw.js";
const SCOPE = "/stop/";
/** The one script that any page of ours may name at run time. */
const policy = globalThis.trustedTypes?.createPolicy("sw", { createScriptURL: () => WORKER });

/** @returns {Promise<boolean>} whether the browser took the worker; where it keeps none, stopping takes other ways */
export async function beReady() {
  if (navigator.serviceWorker === undefined) return false;
  try {
    const script = policy?.createScriptURL(WORKER) ?? WORKER;
    await navigator.serviceWorker.register(script, { scope: SCOPE, updateViaCache: "none" });
    return true;
  } catch {
    return false; // a private window, or the operator is down and the worker was here before
  }
}

/** @returns {Promise<boolean>} whether the page for stopping is kept here, whoever is down */
export async function isReady() {
  const registration = await navigator.serviceWorker?.getRegistration(SCOPE);
  return Boolean(registration?.active);
}
