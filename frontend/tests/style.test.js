import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const CSS = readFileSync(new URL("../app/style.css", import.meta.url), "utf8").replace(/\/\*.*?\*\//gs, "");
const LAYERS = ["reset", "base", "layout", "components", "states", "print"];

/** What stands before each block, or in place of one, at the top level of a style sheet. */
function topLevel(css) {
  const found = [];
  let depth = 0;
  let start = 0;
  for (const { index, 0: sign } of css.matchAll(/[{};]/g)) {
    if (depth === 0) found.push(css.slice(start, index).trim());
    depth += { "{": 1, "}": -1, ";": 0 }[sign];
    if (depth === 0) start = index + 1;
  }
  return found.filter((head) => head !== "" && head !== "}");
}

test("every rule is in a layer, and the layers come in their order", () => {
  const heads = topLevel(CSS).filter((head) => !head.startsWith("@page"));
  assert.deepEqual(heads, [`@layer ${LAYERS.join(", ")}`, ...LAYERS.map((layer) => `@layer ${layer}`)]);
});

test("nothing is important: a later layer wins", () => {
  assert.doesNotMatch(CSS, /!important/);
});

test("a rule outside the layers is found", () => {
  assert.deepEqual(topLevel("@layer a, b; @layer a { p { margin: 0; } } b { color: red; }"), ["@layer a, b", "@layer a", "b"]);
});
