// One GPU of a closed row: its number, who is on it, how full its memory is; each state by a shape.

import { html, nothing } from "../vendor/lit-html.js";
import { celsius, gib, percent, shortSpan, size, watts } from "../format.js";

/**
 * @typedef {import("../types.js").GpuRow} GpuRow
 * @typedef {import("../types.js").Metric} Metric
 */

/** Upper bounds of the ramp's first five steps, in percent. */
const STEPS = [0, 19.999, 44.999, 69.999, 89.999];
const COOL_CELSIUS = 30;
const WARM_CELSIUS = 85;

/**
 * Step 0 to 5 of the ramp for a share in percent; null when it is not known.
 * @param {number | null} share
 */
export function rampStep(share) {
  if (share === null) return null;
  const step = STEPS.findIndex((bound) => share <= bound);
  return step === -1 ? STEPS.length : step;
}

/**
 * A GPU's number for a metric in words, and its place on the ramp.
 * @param {GpuRow} gpu
 * @param {Metric} metric
 * @returns {{ words: string, step: number | null }}
 */
export function reading(gpu, metric) {
  switch (metric) {
    case "util":
      return { words: percent(gpu.utilization), step: rampStep(gpu.utilization) };
    case "mem":
      return {
        words: `${gib(gpu.memoryUsedMib)} G`,
        step: rampStep(share(gpu.memoryUsedMib, gpu.memoryTotalMib)),
      };
    case "temp": {
      const range = WARM_CELSIUS - COOL_CELSIUS;
      const above = gpu.temperature === null ? null : gpu.temperature - COOL_CELSIUS;
      return { words: celsius(gpu.temperature), step: rampStep(share(above, range)) };
    }
    case "power":
      return { words: watts(gpu.power), step: rampStep(share(gpu.power, gpu.powerLimit)) };
  }
}

/**
 * @param {number | null} part
 * @param {number | null} whole
 */
function share(part, whole) {
  return part === null || whole === null || whole <= 0 ? null : (100 * part) / whole;
}

/**
 * Who is on a GPU: "alice", "alice +1"; "–" when nobody is known.
 * @param {GpuRow} gpu
 */
export function usersOf(gpu) {
  const users = [...new Set(gpu.processes.map((process) => process.user).filter(Boolean))];
  if (users.length === 0) return gpu.processes.length > 0 ? "–" : "";
  return users.length === 1 ? users[0] : `${users[0]} +${users.length - 1}`;
}

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
  const fill = share(gpu.memoryUsedMib, gpu.memoryTotalMib);
  const ramp = kind === "busy" && live ? (step === null ? "unmeasured" : `step${step}`) : "";
  return html`<span class="cell ${kind} ${ramp} ${live ? "" : "old"} ${dim ? "dim" : ""}" title=${hover(gpu)}
    ><b>${first}</b><small>${second}</small>${fill === null || kind === "free"
      ? nothing
      : html`<i class="fill" .style=${`--fill:${Math.min(100, Math.round(fill))}%`}></i>`}${gpu.hot && live
      ? html`<i class="hot">▲</i>`
      : nothing}</span>`;
}

/**
 * @param {GpuRow} gpu
 * @param {Metric} metric
 * @param {number} now
 * @returns {{ kind: string, first: unknown, second: unknown }}
 */
function content(gpu, metric, now) {
  const { words } = reading(gpu, metric);
  switch (gpu.state) {
    case "lost":
      return { kind: "lost", first: "✕ lost", second: gpu.reason ?? since(gpu.stateSince, now) };
    case "asleep":
      return { kind: "asleep", first: "☾ asleep", second: since(gpu.stateSince, now) };
    case "error":
      return { kind: "error", first: "! error", second: gpu.reason ?? since(gpu.stateSince, now) };
  }
  if (gpu.sliced) return { kind: "sliced", first: "MIG", second: words };
  if (gpu.use === "free") {
    return { kind: "free", first: "free", second: html`${size(gpu.memoryTotalMib)}<span class="wide"> GiB</span>` };
  }
  if (gpu.use === "held_idle") {
    const idle = html`<span class="wide">idle </span>${since(gpu.idleSince, now)}`;
    return { kind: "idle", first: metric === "util" ? idle : words, second: usersOf(gpu) || "no process" };
  }
  return { kind: "busy", first: words, second: usersOf(gpu) };
}

/**
 * @param {number | null} at
 * @param {number} now
 */
function since(at, now) {
  return at === null ? "" : shortSpan(now - at);
}

/** @param {GpuRow} gpu */
function hover(gpu) {
  const lines = [
    `GPU ${gpu.label} ${gpu.name ?? ""} ${gpu.profile ?? ""}`.trim(),
    `${percent(gpu.utilization)}, ${gib(gpu.memoryUsedMib)} of ${size(gpu.memoryTotalMib)} GiB, `
      + `${celsius(gpu.temperature)}, ${watts(gpu.power)}`,
    ...gpu.processes.map((process) => `${process.user || "–"}: ${process.command ?? "–"}`),
  ];
  if (gpu.reason !== null) lines.push(gpu.reason);
  if (gpu.throttle.length > 0) lines.push(`slowed down: ${gpu.throttle.join(", ")}`);
  if (gpu.memoryKind === "unified") lines.push("memory is shared with the host");
  return lines.join("\n");
}
