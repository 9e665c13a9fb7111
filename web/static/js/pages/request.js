/** One own request: stages as they happen, cancelling it, and its answer, which is opened here and stays here. */

import { showAnswer } from "../answershown.js";
import { getJson } from "../ask.js";
import { fromHex } from "../bytes.js";
import { announce, element, facts, fill, one, onPress } from "../dom.js";
import { badge, grouped, notice } from "../figures.js";
import { clearRefusals, formAt, onSubmit, showRefusal } from "../forms.js";
import { HOMOMORPHIC } from "../lanes.js";
import { defaultCommand, knownCustodians, resultCommand } from "../recourse.js";
import { deliveryKeyFile, openAnswer, receiptOf } from "../result.js";
import { save } from "../save.js";
import { unlocked } from "../session.js";
import { stages } from "../stages.js";
import { follow } from "../stream.js";
import { transact } from "../transact.js";
import { underWay } from "../underway.js";

const own = { ...facts(), request: location.pathname.split("/")[3].toLowerCase() }; // what is signed for is what the address names
own.isOfSums = own.lane === HOMOMORPHIC;
const here = `/my/requests/${own.request}`;
const short = own.request.slice(2, 10);
const DONE = { cancel: "Cancelled.", reclaim: "Taken back.", defaultUncertified: "Ended." };
const [LEAST_WAIT, MOST_WAIT] = [5_000, 3_600_000]; // milliseconds between two looks at what a deadline changes
let now = own.now;
let looking = null;
let [opened, cancelled] = [false, false];
let opening = null;

// --- as it happens

const end = follow(
  `${here}/events?since=${own.since}`,
  { stage: () => getJson(`${here}/now`).then(show, () => {}) },
  { otherwise: `${here}/now`, told: (found) => show(found) },
);
if (now.ended) end();

function show(found) {
  const moved = found.stage !== now.stage;
  now = found;
  fill(one("#state"), badge(found.label, found.tone));
  fill(one("#steps"), stages(found.steps, "Stages of this request"));
  fill(one("#news"), ...news(found));
  showWork(found.at_work);
  if (found.cohort !== null) one("#cohort").textContent = grouped(found.cohort);
  if (found.paid !== null) showPaid(found.paid);
  showBack(found.back);
  lookAgain(found.look_again);
  if (moved) announce(one("#said"), `${found.label}. ${found.means}`);
  if (found.stage === "settled") offerAnswer();
  if (found.ended) end();
}

/** What is done for it at the moment; who listens is not told of each custodian that answers. */
function showWork(words) {
  one("#at-work").hidden = words === null;
  one("#at-work").textContent = words ?? "";
}

/** What it came to takes the place of what was held. */
function showPaid({ cost, credit }) {
  const money = (text) => element("span", { class: "money" }, text);
  const back = credit === null ? [] : ["; ", element("a", { href: "/my" }, money(credit), " became credit")];
  one("#money-title").textContent = "Paid in all";
  fill(one("#money"), money(cost), ...back);
}

function news({ reason, waiting, back }) {
  if (reason !== null) return [notice("The operator declined this request", `${reason.message} ${reason.remedy}`, "refusal")];
  if (back?.news) {
    const late = notice(back.title, "", "warning");
    fill(one("p:last-child", late), element("a", { href: "#back-title" }, "What comes back to you, and how"));
    return [late];
  }
  if (waiting === null) return [];
  const until = waiting.until === null ? "" : ` Until ${waiting.until}.`;
  return [notice(`It waits: ${waiting.message}`, `${waiting.remedy}${until}`, "warning")];
}

// --- taking it back

onSubmit(formAt("#take-back"), async () => {
  const { call } = now.back;
  if (!Object.hasOwn(DONE, call)) throw new TypeError("this page offers another call");
  await transact(`ResearchMarket.${call}`, [fromHex(own.request, "request")]);
  show(await getJson(`${here}/now`));
  announce(one("#said"), `${DONE[call]} The chain shows it, and what came back is your credit now.`);
  one("#back-title").focus();
});

/** What can be done about the money now. */
function showBack(back) {
  one("#back").hidden = back === null;
  if (back === null) return;
  one("#back-title").textContent = back.title;
  const command = back.command === null ? [] : [ownCommand()];
  const [words, after] = [back.words, back.after ? [back.after] : []].map((list) => list.map((each) => element("p", {}, each)));
  fill(one("#back-words"), ...words, ...command, ...after);
  const form = one("#take-back");
  form.hidden = back.call === null;
  one("button", form).textContent = back.button;
  one("button", form).dataset.kind = back.danger ? "danger" : "primary";
  one("#to-credit").hidden = back.call === "cancel";
}

/** Not the server's: its text is for no shell. */
function ownCommand() {
  const place = element("code");
  knownCustodians().then((custodians) => fill(place, defaultCommand(own.request, custodians)));
  return element("pre", { class: "command" }, place);
}

/** No event tells of a deadline that passes. */
function lookAgain(at) {
  clearTimeout(looking);
  if (at === null) return;
  const wait = Math.min(MOST_WAIT, Math.max(LEAST_WAIT, Number(at) * 1_000 - Date.now()));
  looking = setTimeout(() => getJson(`${here}/now`).then(show, () => lookAgain(at)), wait);
}

lookAgain(now.look_again);
showBack(now.back);

// --- the answer

/** By itself, where keys are unlocked; not again what somebody cancelled. */
async function offerAnswer() {
  one("#result").hidden = false;
  if (opened || cancelled || (await unlocked()) === null || opening !== null) return;
  const form = formAt("#open");
  open().catch((error) => {
    if (form.dataset.busy !== undefined) return; // who pressed the button meanwhile is told there
    clearRefusals(form);
    showRefusal(form, error, { focus: false });
  });
}

onSubmit(formAt("#open"), async () => {
  await open();
  if (opened) one("#result-title").focus();
});

/** Once at a time, whoever asks for it: news that it is settled, and the button. */
function open() {
  opening ??= openNow().finally(() => (opening = null));
  return opening;
}

/** Sums take a while; nothing else does. Of what is not opened here, key and receipt can be had all the same. */
async function openNow() {
  const work = (how) => openAnswer(own.request, now.result_hash, own, how);
  try {
    const answer = await (own.isOfSums ? underWay(one("#under-way"), one("#how-it-goes"), work, "Opening the sums") : work());
    cancelled = answer === null;
    if (cancelled) one("#open button").focus();
    else reveal(answer);
  } catch (error) {
    if (error?.code === "other_keys") throw error; // who has no key of it here has none to save
    one("#elsewhere-command").textContent = resultCommand(own.request, location.origin, keyName, error?.code === "receipt_needs_node");
    one("#elsewhere").hidden = false;
    throw error;
  }
}

function reveal(answer) {
  opened = true;
  showAnswer(answer, own);
  one("#open").hidden = one("#elsewhere").hidden = true;
  one("#opened").hidden = false;
  one("#publish").hidden = !own.isOfSums;
  one("#publish-command").textContent = resultCommand(own.request, location.origin, keyName, false, `opening-${short}.json`);
}

const keyName = `delivery-${short}.key`;
const kept = {
  "#delivery-key": async () => save(keyName, await deliveryKeyFile(own.request), "text/plain"),
  "#publish-key": () => kept["#delivery-key"](),
  "#its-receipt": async () => save(`receipt-${short}.json`, await receiptOf(own.request), "application/json"),
};
for (const [button, keep] of Object.entries(kept)) onPress(one(button), () => keep().catch((error) => showRefusal(formAt("#open"), error)));

if (now.stage === "settled") await offerAnswer();
