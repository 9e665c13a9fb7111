/**
 * A refusal in the words of the form at which it stands: servers name what programs send, and somebody at a page
 * knows the labels alone.
 */

/** A parameter as servers begin a sentence with it, such as `variables[0].lower`; other sentences begin large. */
const PARAMETER = /^(?:The field )?[a-z][a-z0-9_]*(?:\[\d+\]|\.[a-z][a-z0-9_]*)* /;
/** What servers say to programs, and how somebody reads it. */
const SAID = {
  "Give [lower, upper] with lower below upper.": "Write the smaller number first.",
  'Give a number such as "120.5".': "Write it with a point and no commas, such as 120.5.",
  "Choose a number, or use histogram.v1.": "Choose one that is a number, or ask for a histogram.",
  "Correct it and send the request again.": "Correct it.",
};

/** What is wrong with a pair, of which the first control is the one that it is said at. */
const OF_PAIRS = { "“Clip below” does not rise.": "“Clip below” is not below “Clip above”." };

/**
 * @param {import("./refused.js").Reason} refused
 * @param {HTMLElement} control that it is about
 * @returns {string} message and remedy, with the control's label in the place of the parameter's name
 */
export function atLabel({ message, remedy }, control) {
  const label = labelOf(control);
  const said = label === "" ? message : message.replace(PARAMETER, () => `“${label}” `);
  return `${OF_PAIRS[said] ?? said} ${SAID[remedy] ?? remedy}`;
}

/** Of a group of choices its legend; without “(optional)”. */
function labelOf(control) {
  const group = control.closest("fieldset.choices:not([data-part])");
  const label = group?.querySelector("legend") ?? control.labels?.[0];
  if (label === undefined || label === null) return "";
  const text = [...label.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.textContent);
  return text.join("").trim().replace(/[.:?]$/, "");
}
