import assert from "node:assert/strict";
import { test } from "node:test";

import { readView, writeView } from "../../app/pages/live-url.js";

test("defaults are left out of the URL", () => {
  assert.equal(writeView(readView("")), "");
});

test("every choice survives a round trip", () => {
  const address = "?q=alice+%26+bob&metric=mem&sort=free&by=idle&need=4x40.5&model=H100&on=any&open=node3,fe80::1";

  assert.equal(writeView(readView(address)), address);
  assert.deepEqual([...readView(address).open], ["node3", "fe80::1"]);
});

test("an empty list of open hosts differs from no list", () => {
  assert.equal(readView("").open, null);
  assert.equal(readView("?open=").open.size, 0);
  assert.equal(writeView(readView("?open=")), "?open=");
});

test("an unknown value falls back to the default", () => {
  assert.equal(writeView(readView("?metric=&sort=__proto__&by=x&need=many&utm=1")), "");
});

test("hostile text stays text", () => {
  const view = { ...readView(""), q: "<img src=x onerror=alert(1)>&show=idle" };

  assert.equal(readView(writeView(view)).q, view.q);
});

test("show is short for a state in the query", () => {
  assert.equal(readView("?show=idle").q, "state:idle");
  assert.equal(readView("?q=alice&show=trouble").q, "alice state:trouble");
  assert.equal(readView("?show=all").q, "");
});

test("a need is a number of GPUs, and optionally of GiB", () => {
  assert.deepEqual(readView("?need=4x40").need, { gpus: 4, gib: 40, model: "", anywhere: false });
  assert.equal(readView("?need=2").need.gib, 0);
  for (const wrong of ["0x40", "65x1", "x", "-1x2", "4x", "4x1e9", "4x40x1"]) assert.equal(readView(`?need=${wrong}`).need, null, wrong);
});
