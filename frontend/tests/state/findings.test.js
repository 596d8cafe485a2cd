import assert from "node:assert/strict";
import { test } from "node:test";

import { faultsOf, findingsOf, told, toldOfHost } from "../../app/state/findings.js";
import { findings, gpus, host } from "../fleets.js";

const SLICED = gpus({}, { index: 0, parent: 0 }, { index: 3 });

test("the worst comes first, and otherwise the order of the table", () => {
  const rows = [{ words: "a", severity: "info" }, { words: "b" }, { words: "c", severity: "critical" }, { words: "d" }];

  assert.deepEqual(findingsOf(host({ findings: findings(...rows) })).map(({ words }) => words), ["c", "b", "d", "a"]);
});

test("a finding names its GPU as the list does, and says what helps", () => {
  const found = findingsOf(host({
    gpus: SLICED,
    findings: findings(
      { gpu: 2, words: "fell off the bus", advice: "reset the GPU" }, { gpu: 1, words: "hot" }, { words: "the disk at / is nearly full" },
    ),
  }));

  assert.deepEqual(found.map(toldOfHost), ["GPU 3: fell off the bus: reset the GPU", "GPU 0.0: hot", "the disk at / is nearly full"]);
  assert.equal(told(found[0]), "fell off the bus: reset the GPU");
});

test("without words a finding is told by its kind, also one of a newer collector", () => {
  const table = { kind: ["gpu_lost", "fan_stuck"], severity: ["critical", "warning"], gpu: [0, null], since: [4, null] };
  const found = findingsOf(host({ gpus: SLICED, findings: table }));

  assert.deepEqual(found.map(toldOfHost), ["GPU 0: fell off the bus", "fan stuck"]);
  assert.deepEqual(found.map(({ isBare }) => isBare), [true, true]);
  assert.equal(found[0].since, 4);
});

test("a severity that is not known needs attention", () => {
  assert.equal(findingsOf(host({ findings: findings({ severity: "fatal" }) }))[0].severity, "warning");
  assert.equal(findingsOf(host({ findings: { kind: ["clock"] } }))[0].severity, "warning");
});

test("one about a row that there is not is the host's", () => {
  for (const gpu of [7, -1, "x"]) {
    assert.equal(findingsOf(host({ gpus: SLICED, findings: findings({ gpu }) }))[0].gpu, null);
  }
});

test("a table that cannot be drawn is a finding, and breaks no other", () => {
  const odd = { ...findings({}), severity: [] };
  const texts = (members) => findingsOf(host(members)).map(({ severity, words }) => `${severity}: ${words}`);

  assert.deepEqual(texts({ findings: odd }), ["critical: findings are not shown: severity has 0 rows, kind 1"]);
  assert.deepEqual(texts({ gpus: { index: [0], state: [] }, findings: findings({ gpu: 0, words: "hot" }) }), [
    "critical: gpus are not shown: state has 0 rows, index 1", "warning: hot",
  ]);
  for (const table of [{}, undefined, [], "x", 5]) assert.doesNotThrow(() => findingsOf(host({ findings: table })));
});

test("faults are the kinds of each GPU that need attention", () => {
  const rows = [{ kind: "xid", gpu: 0 }, { kind: "ecc", gpu: 0 }, { kind: "gpu_hot", gpu: 2, severity: "info" }, { kind: "clock" }];

  assert.deepEqual(faultsOf(findingsOf(host({ gpus: SLICED, findings: findings(...rows) }))), new Map([[0, new Set(["xid", "ecc"])]]));
  assert.equal(faultsOf([]).size, 0);
});
