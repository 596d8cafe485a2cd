// The table of an open host: every GPU with its processes.

import { html, nothing } from "../vendor/lit-html.js";
import { DASH, age, celsius, count, gib, percent, size, span, watts } from "../format.js";
import { told } from "../state/findings.js";
import { memoryWords, slowdown, unaccountedMib, unmeasured } from "../state/gpu-metrics.js";
import { gpuState } from "../state/states.js";
import { copy } from "./copy-button.js";
import { SEVERITY, severitySign, toldSince } from "./findings.js";
import { bars } from "./sparkline.js";

/** @import { Hour } from "../state/last-hour.js" */
/** @import { Finding, GpuRow, ProcessRow } from "../types.js" */

const SHORTEST_IDLE_SECONDS = 60;
/** The finding that says why a GPU is in a state. */
const STATE_FINDINGS = new Map([["lost", "gpu_lost"], ["error", "gpu_error"]]);

/**
 * @param {GpuRow[]} rows
 * @param {Map<string, Hour>} hours the last one of each GPU, by its key
 * @param {number} now unix seconds by the host's clock
 * @param {boolean} live
 */
export function gpuTable(rows, hours, now, live) {
  return html`<div class="scroll" role="group" aria-label="GPUs" tabindex="0"><table class="gpus ${live ? "" : "old"}">
    <thead><tr>
      <th scope="col">GPU</th>
      <th scope="col" class="hour">util, 60 min</th>
      <th scope="col" class="n">util</th>
      <th scope="col" class="n" title="Share of time in which memory was read or written">mem busy</th>
      <th scope="col" class="n memory">memory GiB</th>
      <th scope="col" class="n">temp</th>
      <th scope="col" class="n power">power</th>
      <th scope="col" class="user">user</th>
      <th scope="col" class="n runtime">runtime</th>
      <th scope="col" class="n held">proc GiB</th>
      <th scope="col" class="n">SM</th>
      <th scope="col" class="command-head">command</th>
    </tr></thead>
    <tbody>${rows.map((gpu) => linesOf(gpu, hours.get(gpu.key ?? ""), now))}</tbody>
  </table></div>`;
}

/**
 * One line per process, or one for the state where there is no process or the GPU is not ok; then a
 * line for the reason why no other process can start there, one for unaccounted memory, one for what
 * slows the GPU down, and one for each of its findings.
 * @param {GpuRow} gpu
 * @param {Hour | undefined} hour
 * @param {number} now
 */
function linesOf(gpu, hour, now) {
  const state = gpu.state !== "ok" || gpu.processes.length === 0;
  const unaccounted = unaccountedMib(gpu);
  const slow = slowdown(gpu);
  const lines = [
    ...(state ? [stateCells(gpu, now)] : []),
    ...gpu.processes.map((process) => processCells(gpu, process, now)),
    ...(state || gpu.useReason === null ? [] : [stateCell("muted", gpu.useReason)]),
    ...(unaccounted === null ? [] : [unaccountedCells(unaccounted)]),
    ...(slow === null ? [] : [stateCell("amber", slow)]),
    ...ownFindings(gpu).map((finding) => findingCell(finding, now)),
  ];
  return lines.map((cells, line) => html`<tr class=${line === 0 ? "first" : ""}>${line === 0
    ? gpuCells(gpu, hour, lines.length)
    : nothing}${cells}</tr>`);
}

/**
 * Those of a card are told at the card, not at its MIG slices, and why it is lost in its state.
 * @param {GpuRow} gpu
 */
function ownFindings({ findings, row, state }) {
  return findings.filter((finding) => finding.gpu === row && finding.kind !== STATE_FINDINGS.get(state));
}

/**
 * @param {Finding} finding
 * @param {number} now
 */
function findingCell(finding, now) {
  const { hue } = SEVERITY[finding.severity];
  return stateCell(hue, html`${severitySign(finding.severity)} ${toldSince(finding, now)}`);
}

/** @param {number} mib */
function unaccountedCells(mib) {
  return html`<td class="user amber" colspan="2">no visible process</td>
    <td class="n held">${gib(mib)}</td><td></td>
    <td class="command">No visible process holds this memory. Run on the host:
      <code>sudo fuser -v /dev/nvidia*</code><button type="button" class="link copy" @click=${copy}>Copy</button></td>`;
}

/**
 * @param {GpuRow} gpu
 * @param {Hour | undefined} hour
 * @param {number} lines
 */
function gpuCells(gpu, hour, lines) {
  const identity = [gpu.name, gpu.uuid].filter(Boolean).join("\n");
  return html`
    <th scope="row" rowspan=${lines} title=${identity}>${gpu.label}${gpu.profile === null
      ? nothing
      : html` <small>${gpu.profile}</small>`}</th>
    <td class="hour" rowspan=${lines}>${bars(hour, 100)}</td>
    <td class="n" rowspan=${lines} title=${unmeasured(gpu) ?? nothing}>${percent(gpu.utilization)}</td>
    <td class="n memory-busy" rowspan=${lines}>${percent(gpu.memoryUtilization)}</td>
    <td class="n" rowspan=${lines} title=${memoryWords(gpu) ?? nothing}>${gib(gpu.memoryUsedMib)} / ${size(gpu.memoryTotalMib)}${gpu.processMemoryMib === null
      ? nothing
      : html`<br><small>processes ${gib(gpu.processMemoryMib)}</small>`}</td>
    <td class="n" rowspan=${lines}>${marks(gpu)}${celsius(gpu.temperature)}</td>
    <td class="n" rowspan=${lines}>${gpu.powerLimit === null ? nothing : html`${count(gpu.power)} / `}${watts(gpu.powerLimit ?? gpu.power)}</td>`;
}

/** What is marked at the temperature: that it is too high. @param {GpuRow} gpu */
function marks({ badges }) {
  return badges.filter(({ badge }) => !badge?.corner)
    .map(({ glyph, hue }) => html`<span class=${hue} aria-hidden="true">${glyph}</span> `);
}

/**
 * @param {GpuRow} gpu
 * @param {ProcessRow} process
 * @param {number} now
 */
function processCells(gpu, process, now) {
  const runtime = process.startedAt === null ? null : now - process.startedAt;
  const idleSince = process.idleSince ?? (gpu.use === "held_idle" ? gpu.idleSince : null);
  const idle = idleSince === null ? 0 : now - idleSince;
  const who = [process.user, process.actsAs && `as ${process.actsAs}`, process.state].filter(Boolean).join(", ");
  const group = process.group && ` (group ${process.group})`;
  return html`
    <td class="user" title=${who ? who + (group || "") : "Unknown, or hidden for your role"}>${who || DASH}</td>
    <td class="n">${span(runtime)}</td>
    <td class="n held">${gib(process.memoryMib)}</td>
    <td class="n sm">${percent(process.smPercent)}</td>
    <td class="command"><div class="clamp" title=${process.command ?? ""}>${process.pid === null ? nothing : html`<span class="muted">${process.pid}</span> `}${idle < SHORTEST_IDLE_SECONDS
      ? nothing
      : html`<b class=${gpu.use === "held_idle" ? "amber" : "muted"}>idle ${span(idle)}</b> `}${[job(process), process.mps && `MPS ${process.mps}`, process.container && `container ${process.container}`]
      .map((words) => words ? html`<span class="chip">${words}</span> ` : nothing)}${onHost(process)}${process.command
      ?? html`<span title=${process.state ?? "Hidden for your role, or by commands: in config.yml"}>${DASH}</span>`}</div></td>`;
}

/** What the process uses beside the GPU, where a starved one shows. @param {ProcessRow} process */
function onHost({ cpuPercent, hostMemoryMib }) {
  const words = [
    cpuPercent !== null && `CPU ${percent(cpuPercent)}`,
    hostMemoryMib !== null && `${gib(hostMemoryMib)} GiB host memory`,
  ].filter(Boolean).join(" · ");
  return words === "" ? nothing : html`<span class="muted on-host" title="CPU: 100% is one core">${words}</span> `;
}

/** @param {ProcessRow} process */
function job({ slurmJobId, podUid }) {
  return slurmJobId !== null ? `job ${slurmJobId}` : podUid && `pod ${podUid}`;
}

/**
 * @param {GpuRow} gpu
 * @param {number} now
 */
function stateCells(gpu, now) {
  const ago = gpu.stateSince === null ? "" : ` for ${age(now - gpu.stateSince)}`;
  const state = gpu.state === "ok" ? undefined : gpuState(gpu.state);
  if (state !== undefined) {
    const why = gpu.findings.find(({ kind }) => kind === STATE_FINDINGS.get(gpu.state));
    const reason = why === undefined ? (state.problem ? gpu.reason : null) : told(why);
    return stateCell(state.hue, `${state.glyph} ${gpu.state}${ago}${reason === null ? "" : `: ${reason}`}`);
  }
  if (gpu.sliced) return stateCell("muted", "split into MIG slices");
  if (gpu.use === "free") return stateCell("free", "free");
  if (gpu.use === "held_idle") {
    const idle = gpu.idleSince === null ? "" : ` ${span(now - gpu.idleSince)}`;
    return stateCell("amber", `held idle${idle}`);
  }
  if (gpu.useReason !== null) return stateCell("muted", gpu.useReason);
  return stateCell("muted", gpu.use === "busy" ? "in use, process not visible" : "no process");
}

/**
 * @param {string} kind
 * @param {unknown} words
 */
function stateCell(kind, words) {
  return html`<td colspan="5" class=${`state ${kind}`}>${words}</td>`;
}
