/** FHIR bundles: what is extracted of them, and why not. */

import { CODE_AND_FIELD, tagged, untagged, utf8 } from "./support.mjs";

export async function fhir(vectors, checks) {
  const cases = vectors.web.fhir;
  const { dictionary, fhirdates, fhir: reader } = checks.modules;
  const read = dictionary.fromJson(cases.dictionary);
  for (const each of cases.changes) {
    const text = each.changes.reduce((whole, [old, wanted]) => whole.replaceAll(old, () => wanted), cases.bundle);
    const name = `bundle with ${JSON.stringify(each.changes).slice(0, 90)}`;
    const told = each.refused?.field === "$" ? CODE_AND_FIELD : undefined; // the place differs
    await checks.agrees(name, () => extractedFrom(checks.modules, utf8(text), read), each, told);
    await checks.same(`${name}, value by value`, () => isFoundAlike(checks.modules, utf8(text), read), true);
    const names = read.variables.map((variable) => variable.name);
    const alone = () => judgedAlone(checks.modules, utf8(text), read, each.refused?.field);
    await checks.agrees(`${name}, one by one`, alone, names.includes(each.refused?.field) ? { value: tagged(each.refused) } : each, told);
  }
  for (const { text, moment, instant, day } of cases.dates) {
    const shown = JSON.stringify(text);
    await checks.same(`dateTime ${shown}`, () => fhirdates.dateTime(text), moment);
    await checks.same(`instant ${shown}`, () => fhirdates.instant(text) !== null, instant);
    await checks.same(`date ${shown}`, () => fhirdates.fullDate(text), day);
  }
  await ordered(cases.dates, fhirdates, checks);
  const large = new Uint8Array(reader.LARGEST_BUNDLE + 1).fill(0x20);
  await checks.agrees("a bundle of 5 MiB and a byte", () => reader.extract(large, read), { refused: { code: "malformed_fhir", field: "$" } }, CODE_AND_FIELD);
  const younger = reader.extract(utf8(cases.bundle), read, { year: 2026, month: 1, day: 30 }).values.age;
  const older = reader.extract(utf8(cases.bundle), read, { year: 2026, month: 1, day: 31 }).values.age;
  await checks.same("a birthday makes older", () => [younger, older].map((age) => age.toText()), ["55", "56"]);
  const values = JSON.stringify(reader.extract(utf8(cases.bundle.replaceAll(":131,", ":173,")), read));
  await checks.same("what was extracted does not print its numbers", () => values.includes("173"), false);
}

/** As the vectors have it: the row that the values become, what is missing, what was rounded. */
export function extractedFrom({ fhir: reader, row }, bundle, dictionary) {
  const { values, missing, rounded } = reader.extract(bundle, dictionary);
  return { row: row.toRow(dictionary, values), missing, rounded };
}

/** As `extractedFrom`, from findings; where one of them is refused, why `field` is. */
function judgedAlone({ fhir: reader, row }, bundle, dictionary, field) {
  const found = reader.findings(bundle, dictionary);
  const refused = found.filter((each) => each.refused);
  if (refused.length > 0) return refused.find(({ name }) => name === field)?.refused.reason() ?? "another";
  const missing = found.filter((each) => each.missing).map((each) => [each.name, each.missing]);
  return {
    row: row.toRow(dictionary, Object.fromEntries(found.map(({ name, value }) => [name, value]))),
    missing: Object.fromEntries(missing),
    rounded: found.filter((each) => each.rounded).map(({ name }) => name),
  };
}

/** Whether what is found variable by variable is what is extracted as a whole, or refused for the same reason. */
function isFoundAlike({ fhir: reader, row }, bundle, dictionary) {
  const [whole, each] = [outcome(() => reader.extract(bundle, dictionary)), outcome(() => reader.findings(bundle, dictionary))];
  if (each.refused) return whole.refused?.code === each.refused.code && whole.refused.field === each.refused.field;
  const refused = each.done.filter((found) => found.refused !== undefined);
  if (whole.refused) return refused.some((found) => found.refused.code === whole.refused.code && found.name === whole.refused.field);
  const values = Object.fromEntries(each.done.map(({ name, value }) => [name, value]));
  const same = JSON.stringify(row.toRow(dictionary, values)) === JSON.stringify(row.toRow(dictionary, whole.done.values));
  const placed = each.done.every(({ value, from }) => value === null || from.path.startsWith("$.entry["));
  const missing = Object.fromEntries(each.done.filter((found) => found.missing).map((found) => [found.name, found.missing]));
  const rounded = each.done.filter((found) => found.rounded).map(({ name }) => name);
  const told = JSON.stringify([missing, rounded]) === JSON.stringify([whole.done.missing, whole.done.rounded]);
  return same && placed && told && refused.length === 0;
}

function outcome(work) {
  try {
    return { done: work(), refused: null };
  } catch (fault) {
    return { done: null, refused: fault };
  }
}

async function ordered(cases, { notBefore }, checks) {
  const moments = cases.filter(({ moment }) => moment !== null).map(({ moment }) => {
    const { seconds, fraction } = untagged(moment);
    return { seconds: Number(seconds), fraction };
  });
  const value = ({ seconds, fraction }) => BigInt(seconds) * 10n ** 12n + BigInt(fraction.padEnd(12, "0"));
  const wrong = moments.flatMap((one) => moments.filter((other) => notBefore(one, other) !== value(one) >= value(other)));
  await checks.same("moments are ordered as their numbers are", () => wrong.length, { n: "0" });
}
