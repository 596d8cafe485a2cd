// One host: its closed row, and the details below it.

import { html, nothing } from "../vendor/lit-html.js";
import { age, energy, many, percent, timeOfDay } from "../format.js";
import { told } from "../state/findings.js";
import { isPastable } from "../state/tables.js";
import { cell } from "./gpu-cell.js";
import { copy } from "./copy-button.js";
import { findingList, findingSign } from "./findings.js";
import { gpuTable } from "./gpu-table.js";

/** @import { Hour } from "../state/last-hour.js" */
/** @import { GpuRow, Host, HostSummary, Metric } from "../types.js" */

/**
 * Everything that a host's row is drawn from.
 * @typedef {object} Drawn
 * @property {Host} host
 * @property {HostSummary} summary
 * @property {GpuRow[]} rows
 * @property {number} lines how many lines the cells of the closed row take
 * @property {Map<string, Hour>} hours the last one of each GPU, by its key; empty while closed
 * @property {Host["state"]} state as it is shown
 * @property {Metric} metric
 * @property {boolean[]} mask the GPUs that the filter shows; empty for all
 * @property {number} now unix seconds by the broker's clock
 * @property {boolean} brokerLost whether `now` does not advance, so that ages are unknown
 */

/**
 * The time by the host's own clock, which its timestamps are measured by. A host that is not live is
 * drawn as of its last report.
 * @param {Drawn} drawn
 */
export function hostTime({ host, state, now }) {
  const then = state === "live" ? now : Math.min(now, host.heard_at ?? now);
  return then + (host.clock_offset_seconds ?? 0);
}

/** @param {Drawn} drawn */
export function closedRow(drawn) {
  const { host, summary, state, rows, metric, mask } = drawn;
  const now = hostTime(drawn);
  const live = state === "live";
  return html`<span class="who"
      ><b class="name">${summary.name}</b>${badge(drawn) ?? html`<span class="model">${summary.models}</span>`}${findingSign(summary.findings)}</span
    ><span class="gauges ${live ? "" : "old"}">${host.system === undefined
      ? nothing
      : [gauge("CPU", host.system.cpu_percent), gauge("RAM", ramPercent(host))]}</span
    ><span class="cells">${rows.length > 0
      ? rows.map((gpu, row) => cell(gpu, { metric, live, now, dim: mask.length > 0 && !mask[row] }))
      : html`<span class="none">${instead(drawn)}</span>`}</span
    ><i class="chevron" aria-hidden="true"></i>`;
}

/**
 * The badge of a host that is not live; null when it is.
 * @param {Drawn} drawn
 */
function badge({ host, state, now, brokerLost }) {
  switch (state) {
    case "live":
      return null;
    case "missing":
      return html`<span class="badge missing">◌ missing</span>`;
    case "conflict":
      return html`<span class="badge stale">⇄ conflict</span>`;
    case "stale": {
      const at = host.state === "live" ? now : host.heard_at;
      const words = brokerLost ? timeOfDay(at) : `stale ${at === undefined ? "" : age(now - at)}`;
      return html`<span class="badge stale">◷ ${words}</span>`;
    }
  }
}

/**
 * The text in place of the cells when there are none.
 * @param {Drawn} drawn
 */
function instead({ state, summary }) {
  if (state === "missing") {
    return html`Not reporting yet. On that machine: <code>gpu-monitor collector</code>`;
  }
  const [worst] = summary.findings;
  return worst === undefined ? "no GPUs" : told(worst);
}

/** @param {Host} host */
function ramPercent(host) {
  const { memory_used_mib: used, memory_total_mib: total } = host.system ?? {};
  return used === undefined || total === undefined || total <= 0 ? undefined : (100 * used) / total;
}

/**
 * @param {string} words
 * @param {number | undefined} share
 */
function gauge(words, share) {
  return html`<span class="gauge"><small>${words}</small><i .style=${`--fill:${Math.round(share ?? 0)}%`}></i
    ><span>${percent(share)}</span></span>`;
}

/** @param {Drawn} drawn */
export function openRow(drawn) {
  const { host, summary, rows, state } = drawn;
  return html`${state === "missing"
    ? html`<p class="note">This host is configured but has never reported. On that machine, run
        <code>gpu-monitor collector</code> with <code>broker:</code> in its config.yml set to the broker's address.</p>`
    : nothing}${state === "conflict"
    ? html`<p class="note">Two collectors report under this name. Give one of them another <code>name:</code>.</p>`
    : nothing}${findingList(summary.findings, hostTime(drawn))}${rows.length > 0
    ? html`${gpuTable(rows, drawn.hours, hostTime(drawn), state === "live")}${identities(rows)}`
    : nothing}${facts(host, drawn.now)}`;
}

/** The other names of each GPU, its links, and what it has used. @param {GpuRow[]} rows */
function identities(rows) {
  return html`<details class="identities"><summary>UUIDs, links and energy</summary>${rows.map((gpu) => html`<div
    >${gpu.label} <code>${gpu.uuid}</code>${isPastable(gpu.uuid) ? html`<button type="button" @click=${copy}>Copy</button>` : nothing} <code>${gpu.busId}</code> <span
    >${linksAndEnergy(gpu)}</span></div>`)}</details>`;
}

/** @param {GpuRow} gpu */
function linksAndEnergy({ pcieGeneration, pcieWidth, nvlinksUp, energyJoules }) {
  const pcie = pcieWidth === null ? null : `PCIe ${pcieGeneration === null ? "" : `gen ${pcieGeneration} `}x${pcieWidth}`;
  const used = energyJoules === null ? null : `${energy(energyJoules)} since the driver was loaded`;
  return [pcie, nvlinksUp === null ? null : `${many(nvlinksUp, "NVLink")} up`, used].filter(Boolean).join(" · ");
}

/**
 * @param {Host} host
 * @param {number} now
 */
function facts(host, now) {
  const system = host.system ?? {};
  const disks = host.disks;
  const sound = disks?.mount !== undefined && disks.total_mib?.length === disks.mount.length
    && disks.used_mib?.length === disks.mount.length;
  const lines = [
    system.hostname !== undefined && system.hostname,
    system.os,
    system.kernel && `Linux ${system.kernel}`.replace("Linux Linux", "Linux"),
    system.driver_version && `driver ${system.driver_version}`,
    system.cuda_version && `CUDA ${system.cuda_version}`,
    system.cpu_count && `${system.cpu_count} CPUs`,
    system.load_1m !== undefined && `load ${system.load_1m.toFixed(1)}`,
    system.booted_at !== undefined && `up ${age(now + (host.clock_offset_seconds ?? 0) - system.booted_at)}`,
    ...(sound ? disks.mount.map((mount, row) => {
      const total = disks.total_mib?.[row];
      const used = disks.used_mib?.[row];
      return total ? `${mount} ${percent((100 * (used ?? 0)) / total)} full` : null;
    }) : []),
    host.collector?.version && `collector ${host.collector.version}${host.collector.cpu_percent === undefined
      ? ""
      : ` (${host.collector.cpu_percent.toFixed(1)}% CPU)`}`,
  ].filter(Boolean);
  return lines.length === 0 ? nothing : html`<p class="facts">${lines.map((line) => html`<span>${line}</span>`)}</p>`;
}
