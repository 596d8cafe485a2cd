import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { merge } from "../../app/state/patch.js";

const VECTORS = JSON.parse(
  readFileSync(new URL("../../../tests/rfc7396.json", import.meta.url), "utf8"),
);

/** As plain JSON, so that objects without a prototype compare by their members. */
const plain = (value) => JSON.parse(JSON.stringify(value));

for (const { original, patch, result } of VECTORS) {
  test(`RFC 7396: ${JSON.stringify(original)} + ${JSON.stringify(patch)}`, () => {
    assert.deepEqual(plain(merge(structuredClone(original), patch)), result);
  });
}

/** A legal user name that is a setter of ordinary objects. */
const PROTO = "__proto__";

test("hostile names are names", () => {
  const users = JSON.parse('{"__proto__": {"gpus": 1}, "constructor": {"gpus": 2}}');

  const document = merge(undefined, { users });

  assert.deepEqual(Object.keys(document.users).sort(), ["__proto__", "constructor"]);
  assert.equal(document.users[PROTO].gpus, 1);
  assert.equal({}.gpus, undefined);
});

test("a hostile name is patched and deleted like any other", () => {
  const document = merge(undefined, JSON.parse('{"users": {"__proto__": {"gpus": 1, "on": 1}}}'));

  merge(document, JSON.parse('{"users": {"__proto__": {"gpus": 3}}}'));
  assert.equal(document.users[PROTO].gpus, 3);
  assert.equal(document.users[PROTO].on, 1);
  merge(document, JSON.parse('{"users": {"__proto__": null}}'));
  assert.deepEqual(Object.keys(document.users), []);
});

test("a name that was never sent does not exist", () => {
  const document = merge(undefined, { users: {}, hosts: {} });

  for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
    assert.equal(document.users[name], undefined);
    merge(document, { hosts: { [name]: { state: "live" } } });
    assert.equal(document.hosts[name].state, "live");
  }
});

test("a patch replaces a column whole and leaves the others", () => {
  const document = merge(undefined, { gpus: { index: [0, 1], state: ["ok", "ok"] } });

  merge(document, { gpus: { state: ["ok", null] } });

  assert.deepEqual(plain(document), { gpus: { index: [0, 1], state: ["ok", null] } });
});
