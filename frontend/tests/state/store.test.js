import assert from "node:assert/strict";
import { test } from "node:test";

import { Store } from "../../app/state/store.js";
import { gpuRows } from "../../app/state/columns.js";
import { summarize } from "../../app/state/summary.js";
import { findings, fleet, gpus, host, processes } from "../fleets.js";

function storeOf(hosts, members) {
  const store = new Store();
  store.apply({ type: "fleet", sequence: 7, fleet: fleet(hosts, members) });
  return store;
}

test("a patch before any fleet is refused", () => {
  assert.equal(new Store().apply({ type: "patch", sequence: 1, patch: {} }), false);
});

test("a gap in the sequence is refused and changes nothing", () => {
  const store = storeOf({ a: host() });

  assert.equal(store.apply({ type: "patch", sequence: 9, patch: { now: 5 } }), false);
  assert.equal(store.fleet.now, 1000);
});

test("the next patch is merged", () => {
  const store = storeOf({ a: host() });

  assert.equal(store.apply({ type: "patch", sequence: 8, patch: { now: 1001 } }), true);
  assert.equal(store.fleet.now, 1001);
});

test("a message of an unknown type is ignored", () => {
  const store = storeOf({ a: host() });

  assert.equal(store.apply({ type: "news", sequence: 99 }), true);
  assert.equal(store.apply({ type: "patch", sequence: 8, patch: {} }), true);
});

test("a fleet marks every host as changed, a patch only those it names", () => {
  const store = storeOf({ a: host(), b: host() });
  assert.deepEqual([...store.drainDirty()].sort(), ["a", "b"]);

  store.apply({ type: "patch", sequence: 8, patch: { now: 2, hosts: { b: { sequence: 2 } } } });

  assert.deepEqual([...store.drainDirty()], ["b"]);
  assert.deepEqual([...store.drainDirty()], []);
});

test("a new fleet replaces the old one entirely", () => {
  const store = storeOf({ a: host(), b: host() });

  store.apply({ type: "fleet", sequence: 3, fleet: fleet({ c: host() }) });

  assert.deepEqual(store.names(), ["c"]);
  assert.equal(store.apply({ type: "patch", sequence: 4, patch: {} }), true);
});

test("hosts come and go by patches", () => {
  const store = storeOf({ node10: host(), node2: host() });
  assert.deepEqual(store.names(), ["node2", "node10"]);

  store.apply({ type: "patch", sequence: 8, patch: { hosts: { node10: null, node1: { state: "missing" } } } });

  assert.deepEqual(store.names(), ["node1", "node2"]);
  assert.equal(store.host("node10"), undefined);
});

test("summaries and rows follow a patch", () => {
  const store = storeOf({ a: host({ gpus: gpus({ use: "free" }, { use: "busy" }) }) });
  assert.equal(store.summary("a").free, 1);
  assert.equal(store.rows("a")[1].use, "busy");

  store.apply({ type: "patch", sequence: 8, patch: { hosts: { a: { gpus: { use: ["free", "free"] } } } } });

  assert.equal(store.summary("a").free, 2);
  assert.equal(store.rows("a")[1].use, "free");
  assert.equal(store.overview().wholeHosts, 1);
});

test("a summary follows a patch to any of its inputs", () => {
  const before = gpus({ use: "free", temperature_celsius: 40 }, { use: "free" });
  const patches = {
    use: ["busy", "held_idle"],
    health_reasons: [["a row waits"], []],
    state: ["lost", "error"],
    parent: [null, 0],
    name: ["NVIDIA H100", "NVIDIA T4"],
    temperature_celsius: [88, 20],
  };
  for (const [column, values] of Object.entries(patches)) {
    const store = storeOf({ a: host({ gpus: before }) });
    const old = structuredClone(store.summary("a"));

    store.apply({ type: "patch", sequence: 8, patch: { hosts: { a: { gpus: { [column]: values } } } } });

    assert.deepEqual(store.summary("a"), summarize("a", store.host("a")), column);
    assert.notDeepEqual(store.summary("a"), old, column);
  }
});

test("what is derived follows a patch to a finding", () => {
  const store = storeOf({ a: host({ gpus: gpus({}, {}) }) });
  assert.deepEqual(store.rows("a").map(({ findings }) => findings.length), [0, 0]);
  const patches = [
    findings({ kind: "gpu_hot", gpu: 1, words: "hot" }),
    { words: ["hotter"] },
    { gpu: [0] },
    { severity: ["info"] },
    findings({ kind: "gpu_hot", gpu: 1 }, {}),
    findings(),
  ];
  patches.forEach((patch, number) => {
    store.apply({ type: "patch", sequence: 8 + number, patch: { hosts: { a: { findings: patch } } } });

    assert.deepEqual(store.summary("a"), summarize("a", store.host("a")));
    assert.deepEqual(store.rows("a"), gpuRows(store.host("a")));
  });
});

test("the labels of findings follow the GPUs", () => {
  const store = storeOf({ a: host({ gpus: gpus({}, {}), findings: findings({ gpu: 1 }) }) });
  assert.equal(store.summary("a").findings[0].label, "1");

  store.apply({ type: "patch", sequence: 8, patch: { hosts: { a: { gpus: { parent: [null, 0] } } } } });

  assert.equal(store.summary("a").findings[0].label, "0.1");
});

test("the findings stay the same array while none of them changes", () => {
  const store = storeOf({ a: host({ gpus: gpus({}), findings: findings({}) }) });
  const before = store.summary("a").findings;

  store.apply({ type: "patch", sequence: 8, patch: { hosts: { a: { gpus: { use: ["free"] } } } } });

  assert.equal(store.summary("a").free, 1);
  assert.equal(store.summary("a").findings, before);
});

test("hosts with hostile names are hosts", () => {
  const store = storeOf(JSON.parse(`{"constructor": ${JSON.stringify(host())}}`));

  store.apply({ type: "patch", sequence: 8, patch: JSON.parse('{"hosts": {"__proto__": {"state": "live"}}}') });

  assert.deepEqual(store.names(), ["__proto__", "constructor"]);
  assert.equal(store.summary("__proto__").state, "live");
  assert.equal(store.host("toString"), undefined);
});

test("no host is live while the broker is silent", () => {
  const store = storeOf({ a: host(), b: { state: "missing" } });
  assert.equal(store.stateOf("a"), "live");

  store.apply({ type: "patch", sequence: 8, patch: { broker: { state: "lost" } } });

  assert.equal(store.stateOf("a"), "stale");
  assert.equal(store.stateOf("b"), "missing");
});

test("before the first contact with a broker the fleet has no hosts", () => {
  const store = new Store();
  const empty = { version: 1, stale_after_seconds: 2, broker: { state: "lost" }, totals: {}, users: {}, hosts: {} };

  store.apply({ type: "fleet", sequence: 4, fleet: empty });

  assert.deepEqual(store.names(), []);
  assert.equal(store.brokerLost(), true);
  assert.equal(store.overview().hottest, null);
});

test("hosts sort by free GPUs, those that are not live last", () => {
  const free = (n) => gpus(...Array.from({ length: n }, () => ({ use: "free" })));
  const store = storeOf({
    a: host({ gpus: free(1) }),
    b: host({ gpus: free(3) }),
    c: host({ gpus: free(1) }),
    d: host({ state: "stale", gpus: free(8) }),
  });

  assert.deepEqual(store.sorted("free"), ["b", "a", "c", "d"]);
  assert.deepEqual(store.sorted("host"), ["a", "b", "c", "d"]);
});

test("held idle sorts by memory multiplied by time", () => {
  const held = (mib, since) =>
    host({ gpus: gpus({ use: "held_idle", memory_used_mib: mib, idle_since: since }), processes: processes() });
  const store = storeOf({ small: held(1024, 0), large: held(4096, 0), short: held(80_000, 999) });

  assert.deepEqual(store.sorted("idle"), ["large", "small", "short"]);
});

test("a table malformed by a patch is reported until another patch repairs it", () => {
  const store = storeOf({ a: host({ gpus: gpus({ use: "free" }) }) });
  assert.deepEqual(store.summary("a").findings, []);

  store.apply({ type: "patch", sequence: 8, patch: { hosts: { a: { gpus: { use: ["free", "busy"] } } } } });
  assert.match(store.summary("a").findings[0].words, /^gpus are not shown: use has 2 rows/);

  store.apply({ type: "patch", sequence: 9, patch: { hosts: { a: { gpus: { use: ["free"] } } } } });
  assert.deepEqual(store.summary("a").findings, []);

  store.apply({ type: "patch", sequence: 10, patch: { hosts: { a: { findings: { kind: ["clock"] } } } } });
  assert.match(store.summary("a").findings[0].words, /^findings are not shown: severity has 0 rows/);
  assert.equal(store.rows("a")[0].use, "free");

  store.apply({ type: "patch", sequence: 11, patch: { hosts: { a: { findings: findings({ words: "late" }) } } } });
  assert.deepEqual(store.summary("a").findings.map(({ words }) => words), ["late"]);
});
