import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { gpuRows } from "../../app/state/columns.js";
import { gpuLabels } from "../../app/state/tables.js";
import { findings, gpus, host, processes } from "../fleets.js";

test("every process is listed with its GPU", () => {
  const rows = gpuRows(host({
    gpus: gpus({}, {}),
    processes: processes({ gpu: 1, pid: 5, user: "alice", state: "ended" }, { gpu: 0, pid: 6, uid: 1003 }, { gpu: 1, pid: 7 }),
  }));

  assert.deepEqual(rows.map((gpu) => gpu.processes.map((one) => one.pid)), [[6], [5, 7]]);
  assert.deepEqual(rows.map((gpu) => gpu.processes.map((one) => one.user)), [["uid 1003"], ["alice", ""]]);
  assert.deepEqual(rows.map((gpu) => gpu.processes.map((one) => one.state)), [[null], ["ended", null]]);
});

test("a missing column is unknown, and zero stays zero", () => {
  const [row] = gpuRows(host({ gpus: { index: [3], state: ["ok"], utilization_percent: [0] } }));

  assert.equal(row.label, "3");
  assert.equal(row.utilization, 0);
  assert.equal(row.temperature, null);
  assert.equal(row.use, null);
});

test("a malformed table of GPUs is not drawn; one of processes leaves the GPUs alone", () => {
  assert.deepEqual(gpuRows(host({ gpus: { index: [0, 1], state: ["ok", "ok"], uuid: ["GPU-1"] } })), []);
  assert.deepEqual(gpuRows(host({ gpus: gpus({}), processes: { gpu: [0, 0], pid: [1] } }))[0].processes, []);
  assert.deepEqual(gpuRows({ state: "missing" }), []);
});

const LABELS = JSON.parse(readFileSync(new URL("../../../tests/gpu_label_vectors.json", import.meta.url), "utf8"));

for (const { name, index, parent, labels } of LABELS) {
  test(`labels as the server's: ${name}`, () => {
    assert.deepEqual(gpuLabels(host({ gpus: { index, parent, state: index.map(() => "ok") } })), labels);
  });
}

test("without the column of parents, every row is a GPU", () => {
  assert.deepEqual(gpuLabels(host({ gpus: { index: [0, 4] } })), ["0", "4"]);
});

test("a GPU is sliced when a slice names it as its parent", () => {
  const rows = gpuRows(host({
    gpus: gpus({}, { index: 2, parent: 0 }, { index: 3, parent: 0, mig_profile: "3g.40gb" }, { index: 1 }),
  }));

  assert.deepEqual(rows.map((gpu) => gpu.label), ["0", "0.2", "0.3", "1"]);
  assert.deepEqual(rows.map((gpu) => gpu.sliced), [true, false, false, false]);
  assert.equal(rows[2].profile, "3g.40gb");
});

test("GPUs have a key each, even where two have one UUID", () => {
  const rows = gpuRows(host({ gpus: gpus({ uuid: "u" }, { uuid: "v" }, { uuid: "u" }, {}, { uuid: "u" }) }));

  assert.deepEqual(rows.map((gpu) => gpu.key), ["u", "v", "u 2", null, "u 3"]);
  assert.equal(gpuRows(host({ gpus: { index: [0], state: ["ok"] } }))[0].key, null);
});

test("a GPU has its own findings, and a slice those of its GPU, too", () => {
  const rows = gpuRows(host({
    gpus: gpus({}, { parent: 0 }, {}),
    findings: findings({ kind: "xid", gpu: 0 }, { kind: "gpu_stalled", gpu: 1 }, { kind: "disk_full" }),
  }));

  assert.deepEqual(rows.map((gpu) => gpu.findings.map(({ kind }) => kind)), [["xid"], ["xid", "gpu_stalled"], []]);
});

test("badges follow health, heat and stall, but no finding that needs no attention", () => {
  const rows = gpuRows(host({
    gpus: gpus({ health_reasons: ["a row waits"] }, {}, {}, {}),
    findings: findings({ kind: "row_remap", gpu: 0 }, { kind: "gpu_hot", gpu: 1 }, { kind: "gpu_stalled", gpu: 2 }, { kind: "gpu_hot", gpu: 3, severity: "info" }),
  }));

  assert.deepEqual(rows.map((gpu) => gpu.badges.map(({ key }) => key)), [["unhealthy"], ["hot"], ["stalled"], []]);
});
