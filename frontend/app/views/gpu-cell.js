// One GPU of a closed row: metric, user and memory; every state has a shape as well as a colour.

import { html, nothing } from "../vendor/lit-html.js";
import { DASH, celsius, gib, percent, shortSpan, size, watts } from "../format.js";
import { isFault, told } from "../state/findings.js";
import { memoryShare, memoryWords, reading, slowdown, unmeasured, usersOf } from "../state/gpu-metrics.js";
import { gpuState } from "../state/states.js";
import { SEVERITY } from "./findings.js";

/** @import { GpuRow, Metric } from "../types.js" */

/**
 * @param {GpuRow} gpu
 * @param {object} given
 * @param {Metric} given.metric
 * @param {boolean} given.live whether the host is
 * @param {boolean} given.dim whether the view's filter leaves this GPU out
 * @param {number} given.now unix seconds by the host's clock
 */
export function cell(gpu, { metric, live, dim, now }) {
  const { kind, first, second } = content(gpu, metric, now);
  const { step } = reading(gpu, metric);
  const fill = memoryShare(gpu);
  const ramp = kind === "busy" && live ? (step === null ? "unmeasured" : `step${step}`) : "";
  return html`<span class="cell ${kind} ${ramp} ${live ? "" : "old"} ${dim ? "dim" : ""}"
    ><b>${first}</b><small>${second}</small>${fill === null || kind === "free"
      ? nothing
      : html`<i class="fill" .style=${`--fill:${Math.min(100, Math.round(fill))}%`}></i>`}${badges(gpu, live)}</span>`;
}

/**
 * At most one badge in the corner, the most severe, and one inside while the host is live.
 * @param {GpuRow} gpu
 * @param {boolean} live
 */
function badges({ badges }, live) {
  if (badges.length === 0) return nothing;
  const corner = badges.find(({ badge }) => badge?.corner);
  const inside = badges.find(({ badge }) => !badge?.corner);
  return [
    corner === undefined ? nothing : html`<i class="mark ${corner.hue}">${corner.glyph}</i>`,
    inside === undefined || !live ? nothing : html`<i class="inside">${inside.glyph}</i>`,
  ];
}

/**
 * @param {GpuRow} gpu
 * @param {Metric} metric
 * @param {number} now
 * @returns {{ kind: string, first: unknown, second: unknown }}
 */
function content(gpu, metric, now) {
  const { words } = reading(gpu, metric);
  const state = gpu.state === "ok" ? undefined : gpuState(gpu.state);
  if (state !== undefined) {
    const { glyph, glyphAlone, problem } = state;
    const first = glyphAlone ? html`${glyph}<span class="wide"> ${gpu.state}</span>` : `${glyph} ${gpu.state}`;
    return { kind: state.cell?.kind ?? "", first, second: (problem && gpu.reason) || since(gpu.stateSince, now) };
  }
  if (gpu.sliced) return { kind: "sliced", first: "MIG", second: words === DASH ? html`<span class="wide">in </span>slices` : words };
  if (gpu.use === "free") {
    return { kind: "free", first: "free", second: html`${size(gpu.memoryTotalMib)}<span class="wide"> GiB</span>` };
  }
  if (gpu.use === "held_idle") {
    const held = since(gpu.idleSince, now);
    const first = metric === "util"
      ? html`<span class="wide">idle </span>${held}`
      : html`${words} <small>${held}</small>`;
    return { kind: "idle", first, second: usersOf(gpu) || "no process" };
  }
  if (gpu.use === null && gpu.useReason !== null) return { kind: "withheld", first: words, second: "not free" };
  const [slices, memory] = (gpu.profile ?? DASH).split(/(?=\.\d+gb)/);
  const first = words === DASH ? html`${slices}<span class="wide">${memory}</span>` : words;
  return { kind: "busy", first, second: usersOf(gpu) };
}

/**
 * @param {number | null} at
 * @param {number} now
 */
function since(at, now) {
  return at === null ? "" : shortSpan(now - at);
}

/**
 * Everything about a GPU in words, as the title of its cell.
 * @param {GpuRow} gpu
 * @param {number} now unix seconds by the host's clock
 */
export function hover(gpu, now) {
  const lines = [
    `GPU ${gpu.label} ${gpu.name ?? ""} ${gpu.profile ?? ""}`.trim(),
    `${percent(gpu.utilization)}, ${gib(gpu.memoryUsedMib)} of ${size(gpu.memoryTotalMib)} GiB, `
      + `${celsius(gpu.temperature)}, ${watts(gpu.power)}`,
    ...gpu.processes.map((process) => `${process.user || "–"}: ${process.command ?? "–"}`),
  ];
  if (gpu.use === "held_idle") lines.push(`held idle for ${since(gpu.idleSince, now)}`);
  const silent = unmeasured(gpu);
  if (silent !== null) lines.push(silent);
  if (gpu.reason !== null) lines.push(gpu.reason);
  if (gpu.useReason !== null) lines.push(gpu.useReason);
  if (gpu.throttle.includes("power limit")) lines.push("at its power limit");
  const slow = slowdown(gpu);
  if (slow !== null) lines.push(slow);
  lines.push(...gpu.findings.filter(isFault).map((finding) => `${SEVERITY[finding.severity].glyph} ${told(finding)}`));
  const whose = memoryWords(gpu);
  if (whose !== null) lines.push(whose);
  return lines.join("\n");
}
