import assert from "node:assert/strict";
import { test } from "node:test";

import { DIM, EMPTY, KIND, KINDS, MARKS, hostCode, writeCodes } from "../../app/map/codes.js";
import { gpus } from "../fleets.js";

const FREE = KINDS.indexOf("free");
const [UNHEALTHY, HOT] = ["unhealthy", "hot"].map((key) => MARKS.find(({ state }) => state.key === key).bit);

/** The kinds of a host's cells, "" for an empty place. */
function kinds(table, { state = "live", metric = "util", mask = [], slots = table?.index.length ?? 2, faults = new Map() } = {}) {
  const codes = new Uint8Array(slots);
  writeCodes(table, faults, state, metric, mask, codes);
  return [...codes].map((code) => code === EMPTY ? "" : KINDS[code & KIND] + (code & HOT ? " hot" : "") + (code & UNHEALTHY ? " unhealthy" : "") + (code & DIM ? " dim" : ""));
}

test("every state has its own kind", () => {
  const table = gpus(
    { use: "free" }, { use: "held_idle" }, { use: "busy", utilization_percent: 95 }, { use: "busy" },
    { state: "lost" }, { state: "asleep" }, { state: "error" },
  );

  assert.deepEqual(kinds(table), ["free", "idle", "step5", "unmeasured", "lost", "asleep", "error"]);
});

test("a busy GPU shows the step of the chosen metric", () => {
  const table = gpus({
    use: "busy", utilization_percent: 0, memory_used_mib: 50, memory_total_mib: 100,
    temperature_celsius: 84, power_watts: 10, power_limit_watts: 100,
  });

  assert.deepEqual(["util", "mem", "temp", "power"].map((metric) => kinds(table, { metric })[0]), ["step0", "step3", "step5", "step1"]);
});

test("a host that is not live is old, and a missing host is missing", () => {
  assert.deepEqual(kinds(gpus({ use: "free" }, { state: "lost" }), { state: "stale" }), ["old", "old"]);
  assert.deepEqual(kinds(undefined, { state: "missing" }), ["missing", "missing"]);
  assert.deepEqual(kinds(undefined), ["", ""]);
});

test("a hot GPU is marked", () => {
  const table = gpus({ use: "busy", utilization_percent: 1 }, { use: "free" });

  assert.deepEqual(kinds(table, { faults: new Map([[0, new Set(["gpu_hot"])]]) }), ["step1 hot", "free"]);
});

test("an unhealthy GPU is marked beside its use, and so is its host, but not when old", () => {
  const ill = ["a row waits"];
  const table = gpus({ use: "free", health_reasons: ill }, { state: "lost", health_reasons: ill }, { use: "free", health_reasons: [] }, { state: "asleep" });

  assert.deepEqual(kinds(table), ["free unhealthy", "lost", "free", "asleep"]);
  assert.deepEqual(kinds(table, { state: "stale" }), ["old", "old", "old", "old"]);
  assert.equal(hostCode(Uint8Array.of(FREE | UNHEALTHY, FREE)), FREE | UNHEALTHY);
});

test("GPUs excluded by the filter are dim", () => {
  const table = gpus({ use: "free" }, { use: "free" });

  assert.deepEqual(kinds(table, { mask: [true, false] }), ["free", "free dim"]);
  assert.deepEqual(kinds(table, { mask: null }), ["free dim", "free dim"]);
  assert.deepEqual(kinds(undefined, { mask: null, state: "missing", slots: 1 }), ["missing dim"]);
});

test("a GPU in slices is one cell and shows their use", () => {
  const sliced = (...uses) => gpus({}, { use: "free" }, ...uses.map((use) => ({ use, parent: 0 })));

  assert.deepEqual(kinds(sliced("free", "free"), { slots: 2 }), ["free", "free"]);
  assert.deepEqual(kinds(sliced("free", "busy"), { slots: 2 }), ["unmeasured", "free"]);
  assert.deepEqual(kinds(sliced("free", "held_idle"), { slots: 2 }), ["idle", "free"]);
  assert.deepEqual(kinds(sliced("free"), { slots: 2, mask: [false, false, true] }), ["free", "free dim"]);
});

test("a GPU in slices is as busy as the busiest slice that reports it", () => {
  const sliced = (...slices) => gpus({}, ...slices.map((slice) => ({ use: "busy", parent: 0, ...slice })));
  const [working, still, silent] = [{ utilization_percent: 95 }, { utilization_percent: 0 }, {}];

  assert.deepEqual(kinds(sliced(still, working, silent), { slots: 1 }), ["step5"]);
  assert.deepEqual(kinds(sliced(still, silent), { slots: 1 }), ["step0"]);
  assert.deepEqual(kinds(sliced(working, { use: "held_idle", ...still }), { slots: 1 }), ["idle"]);
  assert.deepEqual(kinds(sliced(working), { slots: 1, metric: "temp" }), ["unmeasured"]);
  assert.deepEqual(kinds(sliced(working), { slots: 1, state: "stale" }), ["old"]);
});

test("a host with fewer GPUs leaves cells empty, and one with more is truncated", () => {
  assert.deepEqual(kinds(gpus({ use: "free" }), { slots: 3 }), ["free", "", ""]);
  assert.equal(kinds(gpus({}, {}, {}), { slots: 2 }).length, 2);
});

test("one cell per host shows a fault, else waste, else free GPUs, else utilization", () => {
  const kindOf = (...kinds) => KINDS[hostCode(Uint8Array.from(kinds, (kind) => KINDS.indexOf(kind))) & KIND];

  assert.equal(kindOf("free", "lost"), "lost");
  assert.equal(kindOf("old", "old"), "old");
  assert.equal(kindOf("free", "free"), "free");
  assert.equal(kindOf("idle", "step5", "free"), "idle");
  assert.equal(kindOf("idle", "step5", "step5", "step3"), "step4");
  assert.equal(hostCode(Uint8Array.of(EMPTY)), EMPTY);
  assert.equal(hostCode(Uint8Array.of(DIM | FREE, DIM | FREE)), DIM | FREE);
  assert.equal(hostCode(Uint8Array.of(FREE, DIM | FREE)), FREE);
});
