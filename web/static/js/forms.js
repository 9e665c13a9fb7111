/**
 * Forms whose work a module does: a refusal stands at its field, and what was typed survives, also a page
 * that is left and come back to. Nothing of a health record is ever kept: such fields say `data-private`.
 */

import { element, one } from "./dom.js";
import { Refused, eachOf } from "./refused.js";
import { atLabel } from "./saying.js";

const UNKNOWN = {
  code: "page_fault",
  message: "This page met a fault of its own; nothing was sent.",
  remedy: "Load it again. If that does not help, tell the operator which page it was.",
};

/**
 * Runs `work` when the form is submitted, one at a time. Until then a form is `inert`, so that nothing is pressed in
 * vain; and of the method `dialog`, by which a browser alone sends nothing: else what was typed would be in a URL.
 * @param {HTMLFormElement} form
 * @param {(values: Object<string, string>) => Promise<unknown>} work throws Refused, whose `field` names a control
 */
export function onSubmit(form, work) {
  remember(form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.dataset.busy !== undefined) return;
    clearRefusals(form);
    setBusy(form, true);
    try {
      await work(values(form));
      forget(form);
    } catch (error) {
      showRefusal(form, error);
    } finally {
      setBusy(form, false);
    }
  });
  form.inert = false;
}

/** Keeps what is typed until `forget`, also for a form that the browser itself sends. */
export function remember(form) {
  giveBack(form);
  form.addEventListener("input", () => keep(form));
}

/** @param {HTMLFormElement} form @returns {Object<string, string>} by name; several of one name by comma */
export function values(form) {
  const found = {};
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string") found[name] = name in found ? `${found[name]},${value}` : value;
  }
  return found;
}

/** Shows why not: at the field where there is one, else above the form's buttons; goes to the first, unless told not to. */
export function showRefusal(form, error, { focus = true } = {}) {
  eachOf(error).forEach((each, place) => showOne(form, each, { focus: focus && place === 0 }));
}

function showOne(form, error, { focus }) {
  const refused = error instanceof Refused ? error : new Refused(UNKNOWN);
  if (!(error instanceof Refused)) console.error(error?.name ?? "fault");
  const control = controlOf(form, refused.field);
  const shown = control === null ? whole(form, refused) : atField(control, refused);
  // What is said of a group stands at its box, which cannot take the focus.
  const first = control instanceof HTMLFieldSetElement ? control.querySelector("input") : control;
  if (focus) (first ?? shown).focus();
}

/** Takes away what was said before. */
export function clearRefusals(form) {
  for (const shown of form.querySelectorAll("[data-refusal]")) shown.remove();
  for (const control of form.querySelectorAll('[aria-invalid="true"]')) {
    control.removeAttribute("aria-invalid");
    describe(control, (ids) => ids.filter((id) => id !== `${control.id}-error`));
  }
}

/** @param {HTMLFormElement} form @param {string|null} field @returns {boolean} whether a refusal of it stands at a control that is seen */
export function hasControl(form, field) {
  const control = controlOf(form, field);
  return control !== null && control.closest("[hidden]") === null;
}

function controlOf(form, field) {
  if (typeof field !== "string") return null;
  const parts = field.split(/[.[\]]+/).filter(Boolean);
  for (const name of [field, ...parts.reverse()]) {
    const found = form.elements.namedItem(name);
    if (found instanceof HTMLElement && found.type !== "hidden") return found;
    if (found instanceof RadioNodeList && found.length > 0) return found[0];
  }
  return null;
}

function atField(control, refused) {
  const id = `${control.id}-error`;
  document.getElementById(id)?.remove();
  const said = element("p", { class: "error", id, "data-refusal": true }, atLabel(refused, control));
  (control.closest(".file-drop, .with-unit, .choice") ?? control).before(said);
  control.setAttribute("aria-invalid", "true");
  describe(control, (ids) => [...ids, id]);
  return said;
}

function whole(form, refused) {
  const shown = element(
    "div",
    { class: "notice", "data-kind": "refusal", "data-refusal": true, role: "alert", tabindex: -1 },
    element("p", { class: "notice-title" }, refused.message),
    element("p", {}, refused.remedy),
    element("p", { class: "note" }, `Code ${refused.code}`),
  );
  const actions = form.querySelector(".actions");
  if (actions === null) form.append(shown);
  else actions.before(shown);
  return shown;
}

function describe(control, change) {
  const ids = change((control.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean));
  if (ids.length === 0) control.removeAttribute("aria-describedby");
  else control.setAttribute("aria-describedby", [...new Set(ids)].join(" "));
}

function setBusy(form, busy) {
  if (busy) form.dataset.busy = "";
  else delete form.dataset.busy;
  form.setAttribute("aria-busy", String(busy));
  for (const button of form.querySelectorAll('button[type="submit"]')) {
    button.setAttribute("aria-disabled", String(busy));
  }
}

// --- what was typed

function kept(form) {
  return `form ${location.pathname} ${form.id}`;
}

function mayKeep(control) {
  return Boolean(control.name) && !["password", "file", "hidden"].includes(control.type) && control.closest("[data-private]") === null;
}

function keep(form) {
  const typed = [...form.elements].filter(mayKeep).map((control) => {
    const checkable = control.type === "checkbox" || control.type === "radio";
    return [control.name, control.value, checkable ? control.checked : null];
  });
  sessionStorage.setItem(kept(form), JSON.stringify(typed));
}

function giveBack(form) {
  let typed = [];
  try {
    typed = JSON.parse(sessionStorage.getItem(kept(form)) ?? "[]");
  } catch {
    return;
  }
  for (const [name, value, checked] of typed) {
    for (const control of [...form.elements].filter((each) => each.name === name && mayKeep(each))) {
      if (checked !== null && control.value === value) control.checked = checked;
      // What somebody typed before this module ran is newer.
      if (checked === null && control.value === (control.defaultValue ?? control.value)) control.value = value;
    }
  }
}

/** Keeps nothing more of what was typed here. */
export function forget(form) {
  sessionStorage.removeItem(kept(form));
}

/** @param {string} selector @returns {HTMLFormElement} */
export function formAt(selector) {
  return /** @type {HTMLFormElement} */ (one(selector));
}
