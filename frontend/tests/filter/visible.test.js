import assert from "node:assert/strict";
import { test } from "node:test";

import { VisibleGpus } from "../../app/filter/visible.js";

/** A filter that shows the first GPU of the given hosts. */
function filterOf(...shown) {
  return {
    shown: new Set(shown),
    active: true,
    key: "one",
    asked: 0,
    mask(name) {
      this.asked += 1;
      return this.shown.has(name) ? [true, false] : null;
    },
  };
}

test("without a filter every GPU is shown and no mask is computed", () => {
  const filter = { ...filterOf(), active: false };
  const masks = new VisibleGpus(filter);
  masks.update(["a", "b"], ["a"]);

  assert.equal(masks.shown, 2);
  assert.deepEqual(masks.of("a"), []);
  assert.equal(filter.asked, 0);
});

test("a new filter computes every mask and counts the shown hosts", () => {
  const masks = new VisibleGpus(filterOf("b"));

  assert.deepEqual(masks.update(["a", "b"], []), ["a", "b"]);
  assert.equal(masks.shown, 1);
  assert.equal(masks.of("a"), null);
  assert.deepEqual(masks.of("b"), [true, false]);
});

test("an unchanged filter recomputes changed hosts only, and returns those that appear or disappear", () => {
  const filter = filterOf("a");
  const masks = new VisibleGpus(filter);
  const names = ["a", "b", "c"];
  masks.update(names, []);
  filter.asked = 0;
  filter.shown = new Set(["b"]);

  assert.deepEqual(masks.update(names, ["a", "b"]), ["a", "b"]);
  assert.equal(filter.asked, 2);
  assert.equal(masks.shown, 1);
  assert.deepEqual(masks.update(names, ["a", "b"]), []);
});

test("hosts that have left are forgotten and not counted", () => {
  const masks = new VisibleGpus(filterOf("a", "b"));
  masks.update(["a", "b"], []);

  assert.deepEqual(masks.update(["b"], []), ["b"]);
  assert.equal(masks.shown, 1);
  assert.equal(masks.of("a"), null);
});
