// Each count on the page, and what its filter shows.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Filter } from "../../app/filter/filter.js";
import { GPU_STATES, HOST_STATES, PROBLEMS, wordOf } from "../../app/state/states.js";
import { Store } from "../../app/state/store.js";
import { findings, fleet, gpus, host } from "../fleets.js";

const KINDS = [
  "gpu_lost", "gpu_error", "gpu_hot", "gpu_stalled", "xid", "ecc", "row_remap", "memory_held", "processes_unread", "driver",
  "disk_full", "conflict", "clock", "of_a_newer_collector",
];

/** Pseudo-random choices (mulberry32), the same in every run. */
function chooser(seed) {
  let state = seed;
  return (...choices) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return choices[((mixed ^ (mixed >>> 14)) >>> 0) % choices.length];
  };
}

/** A host with any mixture of states, slices and findings, also of rows that there are not. */
function anyHost(choose) {
  const cards = Array.from({ length: choose(0, 1, 2, 4, 8) }, () => ({
    state: choose("ok", "ok", "ok", "lost", "error", "asleep"),
    use: choose("free", "busy", "held_idle", null),
    health_reasons: choose([], [], null, ["Xid 48"]),
  }));
  const slices = choose(false, false, true) && cards.length > 0
    ? Array.from({ length: choose(1, 3) }, () => ({ ...cards[0], parent: 0, state: choose("ok", cards[0].state), health_reasons: [] }))
    : [];
  if (slices.length > 0) cards[0].use = null;
  const rows = Array.from({ length: choose(0, 0, 3, 9) }, () => ({
    kind: choose(...KINDS),
    severity: choose("critical", "warning", "info"),
    gpu: choose(null, 0, 0, 1, 2, 9),
  }));
  const given = host({ state: choose("live", "live", "live", "stale", "conflict"), gpus: gpus(...cards, ...slices), findings: findings(...rows) });
  if (choose(...Array(20).fill(false), true)) given.findings.severity = [];
  if (choose(...Array(20).fill(false), true)) given.gpus.state = [];
  return choose(...Array(10).fill(given), { state: "missing" });
}

/** How many hosts a query shows, and how many GPUs; a MIG slice is none of its own where its GPU is shown. */
function shown(store, q) {
  const filter = new Filter(store);
  filter.update({ q, need: null }, true, false);
  let [hosts, found] = [0, 0];
  for (const name of store.names()) {
    const mask = filter.mask(name);
    if (mask === null) continue;
    hosts += 1;
    const { index, parent } = store.gpus(name) ?? { index: [] };
    const isShown = (row) => mask.length === 0 || mask[row];
    found += index.filter((_, row) => isShown(row) && !(parent?.[row] != null && isShown(parent[row]))).length;
  }
  return { hosts, gpus: found };
}

/** @param {Record<string, object>} hosts */
function check(hosts, broker = { state: "live" }) {
  const store = new Store();
  store.apply({ type: "fleet", sequence: 1, fleet: fleet(hosts, { broker }) });
  const { counts, withProblems } = store.overview();
  for (const state of GPU_STATES.filter(({ attention, button }) => attention || button)) {
    assert.equal(shown(store, `state:${wordOf(state)}`).gpus, counts[state.key], `${state.key}: ${JSON.stringify(hosts)}`);
  }
  for (const state of HOST_STATES) {
    assert.equal(shown(store, `state:${wordOf(state)}`).hosts, counts[state.key], `${state.key}: ${JSON.stringify(hosts)}`);
  }
  assert.equal(shown(store, `state:${PROBLEMS}`).hosts, withProblems, JSON.stringify(hosts));
  return counts;
}

test("the filter of every count shows as many GPUs or hosts, in any fleet", () => {
  const choose = chooser(11);
  const sums = {};
  for (let run = 0; run < 600; run += 1) {
    const hosts = Object.fromEntries(Array.from({ length: choose(1, 3, 6) }, (_, number) => [`node${number}`, anyHost(choose)]));
    const counts = check(hosts, { state: choose("live", "live", "live", "lost") });
    for (const [key, n] of Object.entries(counts)) sums[key] = (sums[key] ?? 0) + n;
  }
  for (const [key, sum] of Object.entries(sums)) assert.ok(sum > 10, `${key} is counted ${sum} times`);
});

test("a fault is counted under one state", () => {
  const counts = check({
    a: host({
      gpus: gpus({ state: "lost", health_reasons: ["Xid 79"] }, { health_reasons: ["a row waits"] }, {}, {}),
      findings: findings({ kind: "gpu_lost", gpu: 0 }, { kind: "xid", gpu: 0 }, { kind: "row_remap", gpu: 1 }, { kind: "gpu_hot", gpu: 2 }, { kind: "memory_held", gpu: 3 }),
    }),
    b: host({ findings: findings({ kind: "disk_full" }, { kind: "clock" }) }),
    c: { ...host({ findings: findings({ kind: "conflict" }) }), state: "conflict" },
  });

  const counted = Object.fromEntries(Object.entries(counts).filter(([, n]) => n > 0));
  assert.deepEqual(counted, { lost: 1, unhealthy: 1, hot: 1, faulty: 1, problems: 1, conflict: 1 });
});
