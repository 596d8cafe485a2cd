// One host, or the whole fleet, in a few numbers; pure.

import { model } from "../format.js";
import { ailmentsOf, isHot, tableProblems } from "./columns.js";

/** @import { Tables } from "./columns.js" */
/** @import { Gpus, Host, HostSummary, Overview } from "../types.js" */

/** More than a host has. */
const MANY = 1000;
/**
 * What a host counts and the fleet adds up, with its words.
 * @type {["heldIdle" | "lost" | "errors" | "ailing" | "hot" | "lowPower", string][]}
 */
const COUNTS = [
  ["heldIdle", "held idle"], ["lost", "lost"], ["errors", "with an error"], ["ailing", "ailing"], ["hot", "hot"],
  ["lowPower", "at low power"],
];
const MIB_SECONDS_TO_GIB_HOURS = 1 / 1024 / 3600;

/**
 * What a closed row shows of a host and what the tiles count. The state of each GPU (`use`) is
 * the broker's; nothing is judged here but heat.
 * @param {string} name
 * @param {Host} host
 * @param {Tables} [tables]
 * @returns {HostSummary}
 */
export function summarize(name, host, tables = tableProblems(host)) {
  const problems = [...(host.problems ?? []), tables.gpus, tables.processes].filter((line) => line !== null);
  /** @type {HostSummary} */
  const summary = {
    name,
    state: host.state,
    gpus: 0,
    cards: 0,
    free: 0,
    sound: 0,
    heldIdle: 0,
    lost: 0,
    errors: 0,
    ailing: 0,
    hot: 0,
    lowPower: 0,
    hottest: null,
    hottestRow: 0,
    models: "",
    problems,
  };
  if (host.gpus?.index === undefined || tables.gpus !== null) return summary;
  countGpus(summary, host.gpus);
  feel(summary, host.gpus);
  return summary;
}

/**
 * @param {HostSummary} summary
 * @param {Gpus} gpus
 */
function countGpus(summary, gpus) {
  const { parent, use, state } = gpus;
  summary.gpus = summary.cards = gpus.index.length;
  for (let row = 0; row < gpus.index.length; row += 1) {
    const kind = use?.[row];
    const ailing = ailmentsOf(gpus, row).length > 0;
    if (kind === "free") {
      summary.free += 1;
      if (!ailing) summary.sound += 1;
    } else if (kind === "held_idle") summary.heldIdle += 1;
    if (gpus.low_power_since?.[row] != null) summary.lowPower += 1;
    if (state[row] === "lost") summary.lost += 1;
    else if (state[row] === "error") summary.errors += 1;
    const of = parent?.[row];
    if (of == null) {
      if (ailing) summary.ailing += 1;
      continue;
    }
    summary.cards -= 1;
    if (parent?.indexOf(of) === row) summary.gpus -= 1; // The card itself, once.
  }
  summary.models = modelsOf(gpus);
}

/**
 * Reads the heat anew, which changes more often than all the rest.
 * @param {HostSummary} summary
 * @param {Gpus} gpus
 */
export function feel(summary, gpus) {
  summary.hot = 0;
  summary.hottest = null;
  for (let row = 0; row < gpus.index.length; row += 1) {
    const celsius = gpus.temperature_celsius?.[row];
    if (isHot(gpus, row)) summary.hot += 1;
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
 * GiB times hours held without use.
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

/** Models of hosts by their column of names, which a patch seldom brings. @type {WeakMap<object, string>} */
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
 * What the totals of the document do not say: the hottest GPU, hosts that are wholly free, and
 * what needs a look. A host that is not live counts in its own state only.
 * @param {Iterable<HostSummary>} summaries
 * @returns {Overview}
 */
export function overview(summaries) {
  /** @type {Overview} */
  const fleet = {
    gpus: 0,
    hottestHost: "",
    wholeHosts: 0,
    bestFit: "",
    heldIdle: 0,
    lost: 0,
    errors: 0,
    ailing: 0,
    hot: 0,
    lowPower: 0,
    hottest: null,
    hottestRow: 0,
    stale: 0,
    missing: 0,
    conflict: 0,
    problems: 0,
    mostGpus: 0,
    mostCards: 0,
  };
  let fewest = Infinity;
  for (const host of summaries) {
    fleet.gpus += host.gpus;
    if (host.gpus > fleet.mostGpus) fleet.mostGpus = host.gpus;
    if (host.cards > fleet.mostCards) fleet.mostCards = host.cards;
    if (host.state !== "live") {
      fleet[host.state] += 1;
      continue;
    }
    if (host.gpus > 0 && host.free === host.gpus) fleet.wholeHosts += 1;
    // As the finder orders its offers of one GPU.
    const left = host.sound > 0 ? host.free : host.free + MANY;
    if (host.free > 0 && (left < fewest || (left === fewest && host.name < fleet.bestFit))) {
      fewest = left;
      fleet.bestFit = host.name;
    }
    if (host.problems.length > 0) fleet.problems += 1;
    for (const [what] of COUNTS) fleet[what] += host[what];
    if (host.hottest !== null && (fleet.hottest === null || host.hottest > fleet.hottest)) {
      fleet.hottest = host.hottest;
      fleet.hottestHost = host.name;
      fleet.hottestRow = host.hottestRow;
    }
  }
  return fleet;
}

/**
 * A host in one sentence, for those who hear the page: "node4: 3 of 8 free, 1 held idle".
 * @param {HostSummary} host
 * @param {string} state as it is shown; a lost broker makes live hosts stale
 */
export function sentence(host, state) {
  if (state === "missing") return `${host.name}: never heard`;
  const parts = [host.gpus === 0 ? "no GPUs" : `${host.free} of ${host.gpus} free`];
  for (const [what, words] of COUNTS) if (host[what] > 0) parts.push(`${host[what]} ${words}`);
  if (host.problems.length > 0) parts.push("has problems");
  if (state !== "live") parts.unshift(state);
  return `${host.name}: ${parts.join(", ")}`;
}
