import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { gpuLabels, gpuRows, tableProblem } from "../../app/state/columns.js";
import { isHot } from "../../app/state/states.js";
import { gpus, host, processes } from "../fleets.js";

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

test("a table whose columns differ in length is reported and not drawn", () => {
  const odd = host({ gpus: { index: [0, 1], state: ["ok", "ok"], uuid: ["GPU-1"] } });

  assert.equal(tableProblem(odd, "gpus"), "gpus are not shown: uuid has 1 rows, index 2");
  assert.deepEqual(gpuRows(odd), []);
});

test("a malformed table of processes leaves the GPUs alone", () => {
  const odd = host({ gpus: gpus({}), processes: { gpu: [0, 0], pid: [1] } });

  assert.match(tableProblem(odd, "processes"), /pid has 1 rows, gpu 2/);
  assert.deepEqual(gpuRows(odd)[0].processes, []);
});

test("a host without tables has no rows and no problem", () => {
  assert.deepEqual(gpuRows({ state: "missing" }), []);
  assert.equal(tableProblem({ state: "missing" }, "gpus"), null);
  assert.equal(tableProblem(host({ gpus: {} }), "gpus"), null);
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

test("a slice shares the health reasons of its GPU; without the column there are none", () => {
  const rows = gpuRows(host({ gpus: gpus({ health_reasons: ["a row waits"] }, { parent: 0, health_reasons: [] }, {}) }));

  assert.deepEqual(rows.map((gpu) => gpu.health_reasons), [["a row waits"], ["a row waits"], []]);
  assert.deepEqual(gpuRows(host({ gpus: gpus({}) }))[0].health_reasons, []);
});

test("hot is within 5 degrees of the card's own limit, or slowed down by heat", () => {
  /** @param {Record<string, unknown>} card */
  const hot = (card) => isHot(gpus(card), 0);
  assert.equal(hot({ temperature_celsius: 84, slowdown_celsius: 90, throttle: [] }), false);
  assert.equal(hot({ temperature_celsius: 85, slowdown_celsius: 90 }), true);
  assert.equal(hot({ temperature_celsius: 95, throttle: [] }), false);
  assert.equal(hot({ slowdown_celsius: 90 }), false);
  assert.equal(hot({ temperature_celsius: 40, slowdown_celsius: 90, throttle: ["software thermal slowdown"] }), true);
  assert.equal(hot({ temperature_celsius: 40, slowdown_celsius: 90, throttle: ["power cap"] }), false);
});
