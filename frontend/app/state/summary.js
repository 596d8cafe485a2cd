// Counts of one host, and of the whole fleet; pure.

import { model } from "../format.js";
import { faultsOf, findingsOf, isFault } from "./findings.js";
import { GPU_STATES, HOST_STATES, gpuHasProblem, healthReasonsOf, hostHasProblem } from "./states.js";
import { tableProblems } from "./tables.js";

/** @import { Tables } from "./tables.js" */
/** @import { Finding, Gpus, Host, HostSummary, Overview } from "../types.js" */

/** More GPUs than a host has. */
const MANY = 1000;
/** What a host counts and the fleet adds up. */
const COUNTED = GPU_STATES.filter(({ attention, button }) => attention || button !== undefined);
/** The columns that countGpus() reads. */
export const COUNTED_COLUMNS = new Set(["index", "parent", "name", "use", "health_reasons", ...COUNTED.flatMap(({ columns }) => columns)]);
/** @type {Record<string, number>} */
const NONE = Object.fromEntries([...COUNTED, ...HOST_STATES].map(({ key }) => [key, 0]));
const MIB_SECONDS_TO_GIB_HOURS = 1 / 1024 / 3600;

/**
 * What a closed row and the tiles need of a host.
 * @param {string} name
 * @param {Host} host
 * @param {Tables} [tables]
 * @param {Finding[]} [findings]
 * @returns {HostSummary}
 */
export function summarize(name, host, tables = tableProblems(host), findings = findingsOf(host, tables)) {
  /** @type {HostSummary} */
  const summary = {
    name,
    state: host.state,
    gpus: 0,
    cards: 0,
    free: 0,
    sound: 0,
    counts: {},
    hasProblem: false,
    hottest: null,
    hottestRow: 0,
    models: "",
    findings,
    faults: faultsOf(findings),
    isFaulty: findings.some((finding) => finding.gpu === null && isFault(finding)),
  };
  if (host.gpus?.index === undefined || tables.gpus !== null) return summary;
  countGpus(summary, host.gpus);
  findHottest(summary, host.gpus);
  return summary;
}

/**
 * @param {HostSummary} summary
 * @param {Gpus} gpus
 */
function countGpus(summary, gpus) {
  const { parent, use } = gpus;
  const { faults } = summary;
  summary.gpus = summary.cards = gpus.index.length;
  for (let row = 0; row < gpus.index.length; row += 1) {
    if (use?.[row] === "free") {
      summary.free += 1;
      if (healthReasonsOf(gpus, row).length === 0) summary.sound += 1;
    }
    if (gpuHasProblem(gpus, row, faults)) summary.hasProblem = true;
    const of = parent?.[row];
    if (of == null) continue;
    summary.cards -= 1;
    if (parent?.indexOf(of) === row) summary.gpus -= 1; // The card itself, once.
  }
  for (const state of COUNTED) {
    if (state.columns.length > 0 || summary.faults.size > 0) summary.counts[state.key] = countState(summary, gpus, state);
  }
  summary.models = modelsOf(gpus);
}

/**
 * How many GPUs are in a state; a MIG slice is none of its own where its GPU is.
 * @param {HostSummary} summary
 * @param {Gpus} gpus
 * @param {import("./states.js").GpuState} state
 */
function countState({ faults }, gpus, { holds }) {
  let count = 0;
  for (let row = 0; row < gpus.index.length; row += 1) {
    if (!holds(gpus, row, faults)) continue;
    const of = gpus.parent?.[row];
    if (of == null || !holds(gpus, of, faults)) count += 1;
  }
  return count;
}

/**
 * Looks for the hottest GPU again: temperatures change more often than what is counted.
 * @param {HostSummary} summary
 * @param {Gpus} gpus
 */
export function findHottest(summary, gpus) {
  summary.hottest = null;
  for (let row = 0; row < gpus.index.length; row += 1) {
    const celsius = gpus.temperature_celsius?.[row];
    if (celsius == null || (summary.hottest !== null && celsius <= summary.hottest)) continue;
    summary.hottest = celsius;
    summary.hottestRow = row;
  }
}

/**
 * Mean over the GPUs that report it; null when none does.
 * @param {Gpus | undefined} gpus
 */
export function meanUtilization(gpus) {
  const known = gpus?.utilization_percent?.filter((percent) => percent !== null) ?? [];
  return known.length === 0 ? null : known.reduce((sum, percent) => sum + percent, 0) / known.length;
}

/**
 * GiB times hours held idle.
 * @param {Gpus | undefined} gpus
 * @param {number} now unix seconds by the broker's clock
 */
export function heldGibHours(gpus, now) {
  let sum = 0;
  gpus?.use?.forEach((use, row) => {
    if (use !== "held_idle") return;
    sum += (gpus.memory_used_mib?.[row] ?? 0) * (now - (gpus.idle_since?.[row] ?? now));
  });
  return sum * MIB_SECONDS_TO_GIB_HOURS;
}

/** Models by the column of names, which a patch seldom replaces. @type {WeakMap<object, string>} */
const known = new WeakMap();

/**
 * The models of a host, slices left out: "H100 80GB HBM3", "A100 + T4".
 * @param {Gpus} gpus
 */
function modelsOf({ name: names, parent }) {
  if (names === undefined) return "";
  let models = known.get(names);
  if (models === undefined) {
    const cards = names.filter((name, row) => name !== null && parent?.[row] == null);
    models = [...new Set(cards.map((name) => model(name ?? "")))].join(" + ");
    known.set(names, models);
  }
  return models;
}

/**
 * What the document's totals leave out: the hottest GPU, hosts that are completely free, and what
 * needs attention. A host that is not live counts only under its own state.
 * @param {Iterable<HostSummary>} summaries
 * @param {boolean} [brokerLost] whether no host is live any more: counts of what is shown as live are 0
 * @returns {Overview}
 */
export function overview(summaries, brokerLost = false) {
  /** @type {Overview} */
  const fleet = {
    gpus: 0,
    hottestHost: "",
    wholeHosts: 0,
    bestFit: "",
    counts: { ...NONE },
    withProblems: 0,
    hottest: null,
    hottestRow: 0,
    mostGpus: 0,
    mostCards: 0,
  };
  let fewest = Infinity;
  for (const host of summaries) {
    fleet.gpus += host.gpus;
    if (host.gpus > fleet.mostGpus) fleet.mostGpus = host.gpus;
    if (host.cards > fleet.mostCards) fleet.mostCards = host.cards;
    const shown = brokerLost && host.state === "live" ? "stale" : host.state;
    // Only such a host can be in one of HOST_STATES; to try each on all hosts would take a millisecond.
    if (shown !== "live" || host.isFaulty) countHost(fleet, host, shown);
    else if (host.hasProblem) fleet.withProblems += 1;
    if (host.state !== "live") continue;
    if (host.gpus > 0 && host.free === host.gpus) fleet.wholeHosts += 1;
    // In the finder's order of offers of one GPU.
    const left = host.sound > 0 ? host.free : host.free + MANY;
    if (host.free > 0 && (left < fewest || (left === fewest && host.name < fleet.bestFit))) {
      fewest = left;
      fleet.bestFit = host.name;
    }
    if (shown === "live") for (const { key } of COUNTED) if (host.counts[key]) add(fleet, key, host.counts[key]);
    if (host.hottest !== null && (fleet.hottest === null || host.hottest > fleet.hottest)) {
      fleet.hottest = host.hottest;
      fleet.hottestHost = host.name;
      fleet.hottestRow = host.hottestRow;
    }
  }
  return fleet;
}

/**
 * @param {Overview} fleet
 * @param {HostSummary} host
 * @param {Host["state"]} shown as what it is shown
 */
function countHost(fleet, host, shown) {
  for (const { key, holds } of HOST_STATES) if (holds(host, shown)) add(fleet, key, 1);
  if (hostHasProblem(host, shown) || (host.hasProblem && shown === "live")) fleet.withProblems += 1;
}

/**
 * @param {Overview} fleet
 * @param {string} key
 * @param {number} n
 */
function add({ counts }, key, n) {
  counts[key] = (counts[key] ?? 0) + n;
}

/**
 * A host in one sentence, for screen readers: "node4: 3 of 8 free, 1 held idle".
 * @param {HostSummary} host
 * @param {string} state as it is shown; a lost broker makes live hosts stale
 */
export function sentence(host, state) {
  if (state === "missing") return `${host.name}: has never reported`;
  const parts = [host.gpus === 0 ? "no GPUs" : `${host.free} of ${host.gpus} free`];
  for (const { key, words, attention } of COUNTED) {
    if (attention && host.counts[key]) parts.push(`${host.counts[key]} ${words}`);
  }
  if (host.isFaulty) parts.push("has problems");
  if (state !== "live") parts.unshift(state);
  return `${host.name}: ${parts.join(", ")}`;
}
