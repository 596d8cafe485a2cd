import assert from "node:assert/strict";
import { test } from "node:test";

import { readView, writeView } from "../app/url.js";

test("defaults leave no trace", () => {
  assert.equal(writeView(readView("")), "");
});

test("every choice comes back as it was", () => {
  const address = "?q=alice+%26+bob&show=idle&metric=mem&sort=free&open=node3,fe80::1";

  assert.equal(writeView(readView(address)), address);
  assert.deepEqual([...readView(address).open], ["node3", "fe80::1"]);
});

test("no host open is another wish than none said", () => {
  assert.equal(readView("").open, null);
  assert.equal(readView("?open=").open.size, 0);
  assert.equal(writeView(readView("?open=")), "?open=");
});

test("what is not known is the default", () => {
  assert.equal(writeView(readView("?show=everything&metric=&sort=__proto__&utm=1")), "");
});

test("hostile text stays text", () => {
  const view = { ...readView(""), q: "<img src=x onerror=alert(1)>&show=idle" };

  assert.equal(readView(writeView(view)).q, view.q);
  assert.equal(readView(writeView(view)).show, "all");
});
