/**
 * Encodings: which columns a record has in the homomorphic lane (what a row makes of them: `statement.js`).
 *
 * Part of a dictionary (usufruct-dictionary/2), so that the chain's dictionary hash pins it. A variable has
 * atoms, all 0 where it is absent:
 *
 *     name?      1 where it is present
 *     name       numbers: q = (s - lower + step / 2) div step, with s, lower and step in the dictionary's
 *                stored integers; halves go up, and 0 <= q <= (upper - lower) / step
 *     name=i     categories: 1 for category i. Numbers with edges: 1 for the i-th interval of q, each closed
 *                below, the last one closed
 *
 * Columns are `name?` (numbers without edges; else it is the sum of the `name=i`), `name`, `name=i` of every
 * encoded variable, then the products that the encoding lists, each of two atoms or earlier products.
 */

import { isObject, require, requireKeys, scaled } from "../dictionarychecks.js";

const MOST_COLUMNS = 512;
const MOST_EDGES = 63;
const MOST_FACTORS = 9; // atoms in one product
/** A value of one patient: 256 of them still add up within the logarithms that can be found. */
const LARGEST_COLUMN = 2n ** 32n;
const TIMES = "*";

/**
 * @typedef {object} Described a variable of the dictionary, as far as an encoding needs it
 * @property {string} name
 * @property {number} decimals
 * @property {[number, number]} domain least and greatest stored integer
 * @property {string[]} [categories]
 */
/**
 * @typedef {object} Encoded one variable
 * @property {string} name
 * @property {number} position in the dictionary
 * @property {bigint} lower
 * @property {bigint} step
 * @property {bigint} steps (upper - lower) / step; 0 for a category
 * @property {bigint[]} starts numbers with edges: first q of each interval, 0 first
 * @property {number} categories 0 for a number
 */
/**
 * @typedef {object} Encoding what the dictionary publishes
 * @property {Encoded[]} variables
 * @property {[string, string][]} products
 * @property {object} document as it stands in the dictionary, digit for digit
 */
/**
 * @typedef {object} Column one encrypted column
 * @property {string} name
 * @property {string[]} atoms sorted, with repetitions
 * @property {bigint} largest value that a record can have in it
 */

/**
 * @param {any} document
 * @param {Described[]} variables
 * @returns {Encoding} a checked encoding of these variables
 * @throws {Refused} bad_dictionary naming the field and the remedy
 */
export function read(document, variables) {
  requireKeys(document, ["variables", "products"], "encoding");
  const listed = document.variables;
  require(Array.isArray(listed) && listed.length > 0, "encoding.variables", "is not a list", "List one.");
  const encoded = [];
  for (const [i, entry] of listed.entries()) encoded.push(readEntry(entry, variables, encoded, `encoding.variables[${i}]`));
  const encoding = { variables: encoded, products: readProducts(document.products), document };
  requireSensible(encoding);
  return encoding;
}

/** @returns {number} how many `name=i` a variable has */
export function indicatorsOf(/** @type {Encoded} */ { categories, starts }) {
  return categories || starts.length;
}

/** @param {string} left @param {string} right names @returns {string} the name of their product */
export function productName(left, right) {
  return left + TIMES + right;
}

/** @param {Encoding} encoding @returns {Column[]} in order: of the variables, then products */
export function columnsOf({ variables, products }) {
  const single = variables.flatMap((each) =>
    namesOf(each).map((name) => ({ name, atoms: [name], largest: name === each.name ? each.steps : 1n })),
  );
  const presences = variables.map(({ name }) => ({ name: `${name}?`, atoms: [`${name}?`], largest: 1n }));
  const known = new Map([...presences, ...single].map((column) => [column.name, column]));
  const further = products.map(([left, right]) => {
    const column = productOf(known.get(left), known.get(right));
    known.set(column.name, column);
    return column;
  });
  return [...single, ...further];
}

/** Of its columns, in order. */
function namesOf(variable) {
  const { name, categories } = variable;
  const indicators = indicatorsOf(variable);
  const present = indicators ? [] : [`${name}?`];
  const value = categories ? [] : [name];
  return [...present, ...value, ...Array.from({ length: indicators }, (_, i) => `${name}=${i}`)];
}

function productOf(left, right) {
  const atoms = [...left.atoms, ...right.atoms].sort();
  return { name: productName(left.name, right.name), atoms, largest: left.largest * right.largest };
}

function readEntry(entry, variables, before, at) {
  require(isObject(entry), at, "is not an object", "Describe one variable.");
  const position = variables.findIndex(({ name }) => name === entry.name);
  require(position >= 0, `${at}.name`, "is no variable here", "Use the dictionary's.");
  const isRepeated = before.some((each) => each.position === position);
  require(!isRepeated, `${at}.name`, "is repeated", "Encode each variable once.");
  const { categories } = variables[position];
  if (categories === undefined) return readNumber(entry, variables[position], position, at);
  requireKeys(entry, ["name"], at);
  const none = { lower: 0n, step: 1n, steps: 0n, starts: [] };
  return { name: entry.name, position, ...none, categories: categories.length };
}

function readNumber(entry, variable, position, at) {
  requireKeys(entry, ["name", "step", "edges"], at);
  const [lower, upper] = variable.domain.map(BigInt);
  const width = upper - lower;
  const step = scaled(entry.step, variable.decimals, `${at}.step`);
  const fits = step > 0n && width % step === 0n;
  require(fits, `${at}.step`, "does not divide the range", "Give a part of upper - lower.");
  const steps = width / step;
  require(steps <= LARGEST_COLUMN, `${at}.step`, "is too fine", "Give a coarser one.");
  const grid = { lower, step, steps, decimals: variable.decimals };
  const starts = readStarts(entry.edges, grid, `${at}.edges`);
  return { name: entry.name, position, lower, step, steps, starts, categories: 0 };
}

function readStarts(edges, { lower, step, steps, decimals }, at) {
  const sized = Array.isArray(edges) && edges.length <= MOST_EDGES;
  require(sized, at, "is not a list of the right length", `List at most ${MOST_EDGES}.`);
  if (edges.length === 0) return [];
  const starts = [0n];
  for (const [i, edge] of edges.entries()) {
    const start = scaled(edge, decimals, `${at}[${i}]`) - lower;
    const isNext = start % step === 0n && starts.at(-1) < start / step && start / step <= steps;
    require(isNext, `${at}[${i}]`, "is not the next on the grid", "Give lower + a multiple of step.");
    starts.push(start / step);
  }
  return starts;
}

function readProducts(listed) {
  const at = "encoding.products";
  const sized = Array.isArray(listed) && listed.length <= MOST_COLUMNS;
  require(sized, at, "is not a list of the right length", `List at most ${MOST_COLUMNS}.`);
  for (const [i, pair] of listed.entries()) {
    const isPair = Array.isArray(pair) && pair.length === 2 && pair.every((name) => typeof name === "string");
    require(isPair, `${at}[${i}]`, "is not a pair of names", "Name two columns.");
  }
  return listed;
}

/** Every product is of what stands before it, says something new, and stays in bounds. */
function requireSensible(encoding) {
  const names = encoding.variables.flatMap((each) => [...namesOf(each), `${each.name}?`]);
  const atoms = new Map(names.map((name) => [name, [name]]));
  const said = new Set(names);
  for (const [i, pair] of encoding.products.entries()) requireNew(pair, { atoms, said }, `encoding.products[${i}]`);
  const columns = columnsOf(encoding);
  require(columns.length <= MOST_COLUMNS, "encoding", "has too many columns", `At most ${MOST_COLUMNS}.`);
  for (const [i, { largest }] of columns.slice(columns.length - encoding.products.length).entries()) {
    require(largest <= LARGEST_COLUMN, `encoding.products[${i}]`, "is too large", "Use coarser steps.");
  }
}

function requireNew([left, right], { atoms, said }, at) {
  for (const factor of [left, right]) {
    require(atoms.has(factor), at, "names no column before it", "Use names of atoms, or products.");
  }
  const whole = [...atoms.get(left), ...atoms.get(right)].sort();
  require(whole.length <= MOST_FACTORS, at, "has too many factors", `Use at most ${MOST_FACTORS}.`);
  const isNew = !isIdle(whole) && !said.has(whole.join(TIMES));
  require(isNew, at, "says nothing new", "Leave it out: it is 0, or another column.");
  atoms.set(productName(left, right), whole);
  said.add(whole.join(TIMES));
}

/** Whether a product of these atoms is 0, or a product of fewer: 0 and 1 are their own squares. */
function isIdle(atoms) {
  const isZeroOrOne = (atom) => atom.includes("=") || atom.includes("?");
  const ofOne = atoms.filter(isZeroOrOne).map(variableOf);
  const values = new Set(atoms.filter((atom) => !isZeroOrOne(atom)).map(variableOf));
  const presences = atoms.filter((atom) => atom.includes("?")).map(variableOf);
  return new Set(ofOne).size < ofOne.length || presences.some((name) => values.has(name));
}

function variableOf(atom) {
  return atom.split("=")[0].replace(/\?$/, "");
}
