import assert from "node:assert/strict";
import { test } from "node:test";

import { freeMib, memoryWords, rampStep, reading, slowdown, unaccountedMib, unmeasured, usersOf } from "../../app/state/gpu-metrics.js";
import { gpuRows } from "../../app/state/columns.js";
import { findings, gpus, host, processes } from "../fleets.js";

test("the ramp has six steps", () => {
  const shares = [0, 1, 19, 20, 44, 45, 69, 70, 89, 90, 100, 140];

  assert.deepEqual(shares.map(rampStep), [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5]);
  assert.equal(rampStep(null), null);
  assert.equal(rampStep(-10), 0);
});

test("each metric has its text and its step", () => {
  const [gpu] = gpuRows(host({ gpus: gpus({
    utilization_percent: 80, memory_used_mib: 40960, memory_total_mib: 81920,
    temperature_celsius: 30, power_watts: 690, power_limit_watts: 700,
  }) }));

  assert.deepEqual(reading(gpu, "util"), { words: "80%", step: 4 });
  assert.deepEqual(reading(gpu, "mem"), { words: "40.0", step: 3 });
  assert.deepEqual(reading(gpu, "temp"), { words: "30°", step: 0 });
  assert.deepEqual(reading(gpu, "power"), { words: "690 W", step: 5 });
});

test("an unknown value has no step", () => {
  const [gpu] = gpuRows(host({ gpus: gpus({ memory_used_mib: 10, power_watts: 60, memory_total_mib: 0 }) }));

  for (const metric of ["util", "mem", "temp", "power"]) assert.equal(reading(gpu, metric).step, null, metric);
  assert.equal(reading(gpu, "util").words, "–");
});

test("a utilization that is not reported has its reason", () => {
  const slices = [{ parent: 0 }, { parent: 0, utilization_percent: 0 }];
  const [card, silent, idle, lost] = gpuRows(host({ gpus: gpus({}, ...slices, { state: "lost" }) }));

  assert.match(unmeasured(card), /slice/);
  assert.match(unmeasured(silent), /driver does not report/);
  assert.deepEqual([unmeasured(idle), unmeasured(lost)], [null, null]);
  assert.equal(reading(idle, "util").words, "0%");
});

test("the cause of a slowdown is named, heat only where no finding does", () => {
  const throttle = ["power limit", "hardware thermal slowdown", "power brake"];
  const rows = gpuRows(host({
    gpus: gpus({ throttle }, { throttle }, { throttle: ["software thermal slowdown"] }, {}),
    findings: findings({ kind: "gpu_hot", gpu: 1 }, { kind: "gpu_hot", gpu: 2 }),
  }));

  assert.deepEqual(rows.map(slowdown), [
    "slowed down: hardware thermal slowdown, power brake", "slowed down: power brake", null, null,
  ]);
});

test("the power limit and chosen clocks are no slowdown", () => {
  const normal = ["power limit", "application clocks", "sync boost", "display clocks", "board limit", "reliability"];
  const slow = ["hardware slowdown", "software thermal slowdown", "hardware thermal slowdown", "power brake"];
  const rows = gpuRows(host({ gpus: gpus(...[...normal, ...slow].map((limit) => ({ throttle: [limit] }))) }));

  assert.deepEqual(rows.map(slowdown), [...normal.map(() => null), ...slow.map((limit) => `slowed down: ${limit}`)]);
});

test("users of a GPU are named once", () => {
  const names = (...rows) => usersOf(gpuRows(host({ gpus: gpus({}), processes: processes(...rows) }))[0]);

  assert.equal(names(), "");
  assert.equal(names({ user: "alice" }, { user: "alice" }), "alice");
  assert.equal(names({ user: "alice" }, { user: "bob" }), "alice +1");
  assert.equal(names({ pid: 4 }), "–");
});

/** The first row of a host with one GPU and these processes. */
function row(gpu, ...running) {
  return gpuRows(host({ gpus: gpus(gpu), processes: processes(...running) }))[0];
}

test("memory that no process holds is reported", () => {
  assert.equal(unaccountedMib(row({ memory_used_mib: 9000 }, { gpu_memory_mib: 2000 }, { gpu_memory_mib: 3000 })), 4000);
  assert.equal(unaccountedMib(row({ memory_used_mib: 9000 })), 9000);
  assert.equal(unaccountedMib(row({ memory_used_mib: 2100 }, { gpu_memory_mib: 2000 })), null);
});

test("memory that cannot be attributed is not reported", () => {
  assert.equal(unaccountedMib(row({ memory_used_mib: 9000 }, { gpu_memory_mib: 10 }, {})), null);
  assert.equal(unaccountedMib(row({})), null);
  assert.equal(unaccountedMib(row({ memory_used_mib: 9000, memory_kind: "unified" })), null);
  assert.equal(unaccountedMib(row({ memory_used_mib: 9000, memory_kind: "numa" })), null);
  const [card, slice] = gpuRows(host({ gpus: gpus({ memory_used_mib: 9000 }, { parent: 0, memory_used_mib: 8000 }) }));
  assert.deepEqual([unaccountedMib(card), unaccountedMib(slice)], [null, 8000]);
});

test("memory that others use too names what the processes hold", () => {
  const words = (kind, held) => memoryWords(row({ memory_kind: kind, process_memory_mib: held }));

  assert.equal(words("device", null), null);
  assert.equal(words(null, null), null);
  assert.equal(words("unified", 2048), "memory is shared with the host; processes hold 2.0 GiB");
  assert.equal(words("numa", null), "memory is managed by the operating system");
});

test("what no process holds of a NUMA node is free", () => {
  const memory = { memory_total_mib: 1000, memory_used_mib: 900, process_memory_mib: 100 };
  const free = (kind) => freeMib(gpus({ ...memory, memory_kind: kind }), 0);

  assert.deepEqual(["device", "unified", "numa", null].map(free), [100, 100, 900, 100]);
  assert.equal(freeMib(gpus({ memory_total_mib: 1000 }), 0), null);
  assert.equal(freeMib(gpus({ memory_used_mib: 10 }), 0), null);
});
