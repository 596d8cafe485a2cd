// One host, or the whole fleet, in a few numbers; pure.

import { model } from "./format.js";
import { isHot, tableProblem } from "./rows.js";

/** @import { Gpus, Host, HostSummary, Overview } from "./types.js" */

const MIB_HOURS_TO_GIB_HOURS = 1 / 1024 / 3600;

/**
 * What a closed row shows of a host and what it is sorted by. The state of each GPU (`use`) is
 * the broker's; nothing is judged here but heat.
 * @param {string} name
 * @param {Host} host
 * @param {number} now unix seconds by the broker's clock
 * @returns {HostSummary}
 */
export function summarize(name, host, now) {
  const problems = [
    ...(host.problems ?? []),
    ...[tableProblem(host, "gpus"), tableProblem(host, "processes")].filter((line) => line !== null),
  ];
  /** @type {HostSummary} */
  const summary = {
    name,
    state: host.state,
    gpus: 0,
    free: 0,
    busy: 0,
    heldIdle: 0,
    lost: 0,
    errors: 0,
    hot: 0,
    utilization: null,
    hottest: null,
    hottestLabel: "",
    heldGibHours: 0,
    models: "",
    problems,
    trouble: host.state !== "live" || problems.length > 0,
  };
  if (host.gpus?.index !== undefined && tableProblem(host, "gpus") === null) {
    countGpus(summary, host.gpus, now);
  }
  return summary;
}

/**
 * @param {HostSummary} summary
 * @param {Gpus} gpus
 * @param {number} now
 */
function countGpus(summary, gpus, now) {
  const parents = gpus.parent ?? [];
  let utilization = 0;
  let measured = 0;
  gpus.index.forEach((index, row) => {
    const use = gpus.use?.[row];
    const state = gpus.state[row];
    if (!parents.includes(row)) summary.gpus += 1;
    if (use === "free") summary.free += 1;
    else if (use === "busy") summary.busy += 1;
    else if (use === "held_idle") {
      summary.heldIdle += 1;
      const held = now - (gpus.idle_since?.[row] ?? now);
      summary.heldGibHours += (gpus.memory_used_mib?.[row] ?? 0) * held * MIB_HOURS_TO_GIB_HOURS;
    }
    if (state === "lost") summary.lost += 1;
    if (state === "error") summary.errors += 1;
    const percent = gpus.utilization_percent?.[row];
    if (percent != null) {
      utilization += percent;
      measured += 1;
    }
    const celsius = gpus.temperature_celsius?.[row];
    if (isHot(celsius, gpus.slowdown_celsius?.[row], gpus.throttle?.[row])) summary.hot += 1;
    if (celsius != null && (summary.hottest === null || celsius > summary.hottest)) {
      summary.hottest = celsius;
      summary.hottestLabel = String(index ?? row);
    }
  });
  if (measured > 0) summary.utilization = utilization / measured;
  if (summary.lost + summary.errors > 0) summary.trouble = true;
  summary.models = modelsOf(gpus);
}

/**
 * The models of a host, slices left out: "H100 80GB HBM3", "A100 + T4".
 * @param {Gpus} gpus
 */
function modelsOf(gpus) {
  /** @type {Set<string>} */
  const models = new Set();
  let last = /** @type {string | null} */ (null);
  gpus.name?.forEach((name, row) => {
    if (name === null || name === last || gpus.parent?.[row] != null) return;
    models.add(model(name));
    last = name;
  });
  return [...models].join(" + ");
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
    hottest: null,
    hottestHost: "",
    hottestLabel: "",
    wholeHosts: 0,
    heldIdle: 0,
    hot: 0,
    lost: 0,
    errors: 0,
    stale: 0,
    missing: 0,
    conflict: 0,
    problems: 0,
    mostGpus: 0,
  };
  for (const host of summaries) {
    fleet.gpus += host.gpus;
    fleet.mostGpus = Math.max(fleet.mostGpus, host.gpus);
    if (host.state !== "live") {
      fleet[host.state] += 1;
      continue;
    }
    if (host.gpus > 0 && host.free === host.gpus) fleet.wholeHosts += 1;
    if (host.problems.length > 0) fleet.problems += 1;
    fleet.heldIdle += host.heldIdle;
    fleet.hot += host.hot;
    fleet.lost += host.lost;
    fleet.errors += host.errors;
    if (host.hottest !== null && (fleet.hottest === null || host.hottest > fleet.hottest)) {
      fleet.hottest = host.hottest;
      fleet.hottestHost = host.name;
      fleet.hottestLabel = host.hottestLabel;
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
  if (host.heldIdle > 0) parts.push(`${host.heldIdle} held idle`);
  if (host.lost > 0) parts.push(`${host.lost} lost`);
  if (host.errors > 0) parts.push(`${host.errors} with an error`);
  if (host.hot > 0) parts.push(`${host.hot} hot`);
  if (host.problems.length > 0) parts.push("has problems");
  if (state !== "live") parts.unshift(state);
  return `${host.name}: ${parts.join(", ")}`;
}
