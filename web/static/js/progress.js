/** A record on its way from the browser to the custodians, in words. */

import { stages } from "./stages.js";

/** @typedef {{state: string, reason: object|null, places: number[], quorum: number, seats: number}} Progress */

const LEFT = ["waiting", "opened", "attested", "stored"];
const AHEAD = { waiting: 1, opened: 1, attested: 2, stored: 4, declined: 1 };

/** @param {Progress} progress @returns {HTMLElement} its stages */
export function shownProgress(progress) {
  const at = AHEAD[progress.state] ?? 0;
  const state = (place) => (place < at ? "done" : place === at ? "now" : "ahead");
  const custodians = Array.from({ length: progress.seats }, (_, place) => custodian(place, progress));
  const steps = [
    { label: "Sealed and left for the clinic", means: "As ciphertext; this server cannot open it.", state: "done" },
    clinic(progress, state(1)),
    ...custodians,
    {
      label: "Registered",
      means: `As soon as ${progress.quorum} of ${progress.seats} custodians hold their part, the chain keeps its fingerprint.`,
      state: progress.state === "stored" ? "done" : "ahead",
    },
  ];
  return stages(steps, "Stages of your record");
}

function clinic({ state }, stage) {
  const label = "Attested by the clinic";
  if (state === "declined") return { label: "Declined by the clinic", means: "What it says stands below.", state: "ended" };
  if (state === "waiting") return { label, means: "The clinic has not opened it yet.", state: stage };
  if (state === "opened") return { label, means: "The clinic has opened it and compares the values.", state: stage };
  return { label, means: "It signed that this record is yours.", state: stage };
}

function custodian(place, { state, places }) {
  const holds = places.includes(place) || (state === "stored" && places.length === 0);
  const label = `Custodian ${place + 1} holds its part`;
  if (holds) return { label, state: "done" };
  return { label, state: state === "attested" ? "now" : "ahead" };
}

/** @param {Progress|null} progress @returns {string} the same in one sentence, for who listens */
export function saidProgress(progress) {
  if (progress === null) return "";
  const { state, reason, places, seats } = progress;
  if (state === "declined") return `The clinic declined: ${reason?.message ?? ""} ${reason?.remedy ?? ""}`;
  if (state === "waiting") return "Your record waits for the clinic. You may close this page and come back.";
  if (state === "opened") return "The clinic has opened your record.";
  if (state === "attested") return `Attested. ${places.length} of ${seats} custodians hold their part so far.`;
  return "Registered. You can now choose what your record may be used for.";
}

/** @returns {boolean} whether another record may be left now */
export function mayLeave(/** @type {Progress|null} */ progress) {
  return progress === null || !["opened", "attested"].includes(progress.state);
}

/** @returns {boolean} whether it can be taken back: the clinic has not signed for it */
export function mayTakeBack(/** @type {Progress|null} */ progress) {
  return progress !== null && ["waiting", "opened"].includes(progress.state);
}

/** @returns {boolean} whether this account has left a record, whatever became of it */
export function hasLeft(/** @type {Progress|null} */ progress) {
  return progress !== null && [...LEFT, "declined"].includes(progress.state);
}
