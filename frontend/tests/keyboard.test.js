import assert from "node:assert/strict";
import { test } from "node:test";

import { actionOf } from "../app/keyboard.js";

const press = (key, more = {}) =>
  actionOf({ key, ctrlKey: false, altKey: false, metaKey: false, target: { tagName: "BODY" }, ...more });

test("each letter triggers its action", () => {
  assert.equal(press("i"), "i");
  assert.equal(press("?"), "?");
  assert.equal(press("Escape"), "Esc");
});

test("in a field only Escape acts", () => {
  for (const tagName of ["INPUT", "SELECT", "TEXTAREA"]) {
    assert.equal(press("i", { target: { tagName } }), null);
    assert.equal(press("Escape", { target: { tagName } }), "Esc");
  }
});

test("no key acts with a modifier", () => {
  for (const modifier of ["ctrlKey", "altKey", "metaKey"]) assert.equal(press("a", { [modifier]: true }), null);
});

test("other keys are left to the browser", () => {
  for (const key of ["Enter", "Tab", "x", "constructor", "__proto__"]) assert.equal(press(key), null);
});
