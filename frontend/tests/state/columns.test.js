import assert from "node:assert/strict";
import { test } from "node:test";

import { gpuRows } from "../../app/state/columns.js";
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

test("MIG slices are named after the GPU they are part of", () => {
  const rows = gpuRows(host({ gpus: gpus({}, { parent: 0 }, { parent: 0, mig_profile: "3g.40gb" }, {}) }));

  assert.deepEqual(rows.map((gpu) => gpu.label), ["0", "0.0", "0.1", "3"]);
  assert.deepEqual(rows.map((gpu) => gpu.sliced), [true, false, false, false]);
  assert.equal(rows[2].profile, "3g.40gb");
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
