import assert from "node:assert/strict";
import { test } from "node:test";

import { find } from "../../app/filter/finder.js";
import { heldGibHours, meanUtilization, overview, sentence, summarize } from "../../app/state/summary.js";
import { findings, gpus, host } from "../fleets.js";

const HOUR = 3600;

test("a host's counts follow the broker's verdicts", () => {
  const rows = gpus({ use: "free" }, { use: "busy" }, { use: "held_idle" }, { state: "lost" });
  const summary = summarize("a", host({ gpus: rows }));

  assert.deepEqual([summary.gpus, summary.free, summary.counts.heldIdle, summary.counts.lost], [4, 1, 1, 1]);
});

test("utilization is the mean over the GPUs that report it", () => {
  assert.equal(meanUtilization(gpus({ utilization_percent: 80 }, { utilization_percent: 0 }, {})), 40);
  assert.equal(meanUtilization(gpus({})), null);
  assert.equal(meanUtilization(undefined), null);
});

test("idle memory is weighted by the hours it is held", () => {
  const rows = gpus({ use: "held_idle", memory_used_mib: 2048, idle_since: 0 });

  assert.equal(heldGibHours(rows, 3 * HOUR), 6);
});

test("a GPU divided into slices is not counted in addition to them", () => {
  const summary = summarize("a", host({ gpus: gpus({}, { parent: 0, use: "free" }, { parent: 0, use: "busy" }) }));

  assert.equal(summary.gpus, 2);
  assert.equal(summary.free, 1);
});

test("a table that cannot be drawn is a problem of the host", () => {
  const summary = summarize("a", host({ gpus: { index: [0], state: [] } }));

  assert.match(summary.findings[0].words, /^gpus are not shown/);
  assert.equal(summary.isFaulty, true);
  assert.equal(summary.gpus, 0);
});

test("models are named once, without the vendor", () => {
  const rows = gpus({ name: "NVIDIA H100 80GB HBM3" }, { name: "NVIDIA H100 80GB HBM3" }, { name: "Tesla T4" });

  assert.equal(summarize("a", host({ gpus: rows })).models, "H100 80GB HBM3 + T4");
});

test("a host that is not live counts only under its state", () => {
  const rows = gpus({ use: "free", temperature_celsius: 90 });
  const hot = findings({ kind: "gpu_hot", gpu: 0 });
  const fleet = overview([
    summarize("a", host({ gpus: gpus({ use: "free", temperature_celsius: 40 }) })),
    summarize("b", host({ state: "stale", gpus: rows, findings: hot })),
    summarize("c", { state: "missing" }),
    summarize("d", host({ state: "conflict", gpus: rows, findings: hot })),
  ]);

  assert.deepEqual([fleet.wholeHosts, fleet.counts.stale, fleet.counts.missing, fleet.counts.conflict, fleet.counts.hot], [1, 1, 1, 1, 0]);
  assert.deepEqual([fleet.hottest, fleet.hottestHost, fleet.gpus], [40, "a", 3]);
});

test("the best fit for one GPU is the live host with the fewest free", () => {
  const free = (/** @type {number} */ n) => host({ gpus: gpus(...Array(n).fill({ use: "free" }), { use: "busy" }) });
  const dead = { ...free(1), state: "stale" };
  const hosts = { a: free(3), node10: free(2), node2: free(2), dead, full: free(0) };
  const fleet = overview(Object.entries(hosts).map(([name, given]) => summarize(name, given)));

  assert.equal(fleet.bestFit, find(hosts, { gpus: 1, gib: 0, model: "", anywhere: false })[0].host);
  assert.equal(fleet.bestFit, "node10");
  assert.equal(overview([summarize("full", free(0))]).bestFit, "");
});

test("unhealthy cards are counted, and their hosts are offered last", () => {
  const ill = { use: "free", health_reasons: ["a row waits"] };
  const hosts = {
    a: host({ gpus: gpus(ill) }),
    b: host({ gpus: gpus(ill, { use: "free" }) }),
    c: host({ gpus: gpus({ health_reasons: ["Xid 48"] }, { parent: 0, use: "free" }) }),
  };
  const summaries = Object.entries(hosts).map(([name, given]) => summarize(name, given));

  assert.equal(overview(summaries).counts.unhealthy, 3);
  assert.equal(overview(summaries).bestFit, find(hosts, { gpus: 1, gib: 0, model: "", anywhere: false })[0].host);
  assert.equal(overview(summaries).bestFit, "b");
  assert.equal(sentence(summaries[0], "live"), "a: 1 of 1 free, 1 unhealthy");
});

test("GPUs that are busy at low power are counted and named", () => {
  const summaries = [
    summarize("a", host({ gpus: gpus({ use: "busy" }, { use: "busy" }, { use: "free" }), findings: findings({ kind: "gpu_stalled", gpu: 0 }) })),
    summarize("b", host({ state: "stale", gpus: gpus({}), findings: findings({ kind: "gpu_stalled", gpu: 0 }) })),
  ];

  assert.equal(overview(summaries).counts.stalled, 1);
  assert.equal(sentence(summaries[0], "live"), "a: 1 of 3 free, 1 possibly stuck");
});

test("a host without GPUs is not free", () => {
  assert.equal(overview([summarize("a", host())]).wholeHosts, 0);
});

test("a row reads as one sentence", () => {
  const rows = gpus({ use: "free" }, { use: "held_idle" }, { state: "lost" });
  const summary = summarize("node4", host({ gpus: rows, findings: findings({ kind: "nvml_stuck" }) }));

  assert.equal(sentence(summary, "live"), "node4: 1 of 3 free, 1 held idle, 1 lost, has problems");
  assert.equal(sentence(summary, "stale"), "node4: stale, 1 of 3 free, 1 held idle, 1 lost, has problems");
  assert.equal(sentence(summarize("n", { state: "missing" }), "missing"), "n: has never reported");
  assert.equal(sentence(summarize("n", host()), "live"), "n: no GPUs");
});

test("a fault is counted once: a lost GPU is not unhealthy as well, and its slices are no more of them", () => {
  const ill = { health_reasons: ["Xid 79"] };
  const rows = gpus({ state: "lost", ...ill }, { state: "error", ...ill }, ill, { parent: 0, state: "lost" }, { parent: 2 });
  const faults = findings({ kind: "gpu_lost", gpu: 0 }, { kind: "xid", gpu: 0 }, { kind: "xid", gpu: 1 }, { kind: "xid", gpu: 2 });
  const { counts, isFaulty } = summarize("a", host({ gpus: rows, findings: faults }));

  assert.deepEqual([counts.lost, counts.error, counts.unhealthy, counts.faulty, isFaulty], [1, 1, 1, 0, false]);
});

test("a finding of a GPU that has no state of its own is counted, too; one that needs no attention is not", () => {
  const faults = findings({ kind: "memory_held", gpu: 0 }, { kind: "fan_stuck", gpu: 0 }, { kind: "memory_held", gpu: 1, severity: "info" });

  assert.equal(summarize("a", host({ gpus: gpus({}, {}), findings: faults })).counts.faulty, 1);
});

test("no GPU is counted while the broker is silent, and the last hottest one stays", () => {
  const hosts = [summarize("a", host({ gpus: gpus({ state: "lost" }, { temperature_celsius: 40 }) })), summarize("b", { state: "missing" })];
  const fleet = overview(hosts, true);

  assert.deepEqual([fleet.counts.lost, fleet.counts.stale, fleet.counts.missing, fleet.withProblems, fleet.hottest], [0, 1, 1, 2, 40]);
});
