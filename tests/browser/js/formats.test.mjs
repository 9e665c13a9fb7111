/** Run by `node --test`: every vector in Node. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { SUITES, VECTORS, checks, load } from "./checks.mjs";

const ROOT = new URL("../../../", import.meta.url);
const FEWEST = 100; // of a suite: one that checked next to nothing has shown nothing
const modules = await load(new URL("web/static/js/", ROOT).href);
const read = (name) => JSON.parse(readFileSync(new URL(`tests/vectors/${name}.json`, ROOT)));
const done = await checks(Object.fromEntries(VECTORS.map((name) => [name, read(name)])), modules);

for (const suite of Object.keys(SUITES)) {
  test(`vectors of ${suite}`, () => {
    const mine = done.filter(({ name }) => name.startsWith(`${suite}: `));
    assert.ok(mine.length >= FEWEST, `only ${mine.length} checks`);
    const wrong = mine.filter(({ ok }) => !ok);
    assert.equal(wrong.length, 0, wrong.slice(0, 20).map(told).join("\n"));
  });
}

function told({ name, got, wanted }) {
  return `${name}\n  got    ${got.slice(0, 400)}\n  wanted ${wanted.slice(0, 400)}`;
}
