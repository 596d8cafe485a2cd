import assert from "node:assert/strict";
import { test } from "node:test";

import { cornerOf, layoutOf, placeAt } from "../../app/map/layout.js";

const DESK = 1060;
const PHONE = 340;

test("a small fleet has no map unless the viewer chooses one", () => {
  assert.equal(layoutOf(8, 8, DESK, "auto"), null);
  assert.equal(layoutOf(8, 8, DESK, "strips")?.mode, "strips");
  assert.equal(layoutOf(0, 0, DESK, "strips"), null);
  assert.equal(layoutOf(100, 8, DESK, "off"), null);
});

test("a hundred hosts are strips, a thousand are blocks, and on a phone one cell each", () => {
  assert.deepEqual(
    [[100, DESK], [1250, DESK], [1250, PHONE]].map(([hosts, width]) => layoutOf(hosts, 8, width, "auto").mode),
    ["strips", "blocks", "hosts"],
  );
});

test("a map has its intended height and never exceeds its width", () => {
  for (const [hosts, width, height] of [[100, DESK, 180], [1250, DESK, 390], [1250, PHONE, 270], [40, PHONE, 270]]) {
    const layout = layoutOf(hosts, 8, width, "auto");

    assert.ok(layout.height <= height, `${hosts} hosts: ${layout.height}`);
    assert.ok(layout.perLine * layout.hostWidth <= width + 3);
  }
});

test("a map that does not fit uses the smallest cells", () => {
  assert.equal(layoutOf(5000, 8, DESK, "strips").pitch, 10);
  assert.equal(layoutOf(100_000, 8, PHONE, "auto").mode, "hosts");
});

test("every point of a cell and its gap maps back to that cell", () => {
  for (const wanted of ["strips", "blocks", "hosts"]) {
    const layout = layoutOf(30, 6, PHONE, wanted);
    for (let host = 0; host < 30; host += 1) {
      for (let slot = 0; slot < layout.slots; slot += 1) {
        const [x, y] = cornerOf(layout, host, slot);

        assert.deepEqual(placeAt(layout, x + 1, y + 1), { host, slot });
      }
    }
  }
});

test("a point beside the hosts hits none", () => {
  const layout = layoutOf(10, 8, DESK, "strips");

  assert.equal(placeAt(layout, -1, 3), null);
  assert.equal(placeAt(layout, layout.perLine * layout.hostWidth + 1, 3), null);
  assert.equal(placeAt(layout, 3, layout.height + 1), null);
});
