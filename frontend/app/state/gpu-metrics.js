// A GPU's metrics in words and as a step of the colour ramp, and its users; pure.

import { celsius, gib, percent, watts } from "../format.js";

/** @import { GpuRow, Gpus, Metric } from "../types.js" */

/** Steps 1 to 4 of the ramp end below these shares; 0 % is step 0, and 90 % or more step 5. */
const BOUNDS_PERCENT = [20, 45, 70, 90];
const COOL_CELSIUS = 30;
const WARM_CELSIUS = 85;

/**
 * Step 0 to 5 of the ramp for a share in percent; null when it is not known.
 * @param {number | null} share
 */
export function rampStep(share) {
  if (share === null) return null;
  if (share <= 0) return 0;
  const step = BOUNDS_PERCENT.findIndex((bound) => share < bound);
  return step === -1 ? 5 : step + 1;
}

/**
 * The step of a metric's value; null when it is not known.
 * @param {Metric} metric
 * @param {number | null | undefined} value
 * @param {number | null | undefined} whole what memory and power are a share of
 */
export function stepOf(metric, value, whole) {
  if (value == null) return null;
  if (metric === "util") return rampStep(value);
  if (metric === "temp") return rampStep((100 * (value - COOL_CELSIUS)) / (WARM_CELSIUS - COOL_CELSIUS));
  return rampStep(share(value, whole ?? null));
}

/**
 * A GPU's value of a metric in words, and its step.
 * @param {GpuRow} gpu
 * @param {Metric} metric
 * @returns {{ words: string, step: number | null }}
 */
export function reading(gpu, metric) {
  switch (metric) {
    case "util":
      return { words: percent(gpu.utilization), step: stepOf(metric, gpu.utilization, null) };
    case "mem":
      return { words: gib(gpu.memoryUsedMib), step: stepOf(metric, gpu.memoryUsedMib, gpu.memoryTotalMib) };
    case "temp":
      return { words: celsius(gpu.temperature), step: stepOf(metric, gpu.temperature, null) };
    case "power":
      return { words: watts(gpu.power), step: stepOf(metric, gpu.power, gpu.powerLimit) };
  }
}

/**
 * Why a working GPU has no utilization, in words; null when it has one, or does not work.
 * @param {GpuRow} gpu
 */
export function unmeasured(gpu) {
  if (gpu.state !== "ok" || gpu.utilization !== null) return null;
  if (gpu.profile !== null) return "MIG slice utilization needs Hopper or newer";
  return gpu.sliced ? "utilization is reported per MIG slice, where supported" : "the driver does not report utilization";
}

/** The limits of the clocks that are a fault: heat, or too little power from outside the card. */
const SLOWDOWN = /slowdown|power brake/;

/**
 * What slows a GPU down, in words, beside what its findings say: not its power limit, where a full load
 * is, nor clocks that were chosen. Null when nothing does.
 * @param {GpuRow} gpu
 */
export function slowdown({ throttle, findings }) {
  const isHot = findings.some(({ kind }) => kind === "gpu_hot");
  const limits = throttle.filter((limit) => SLOWDOWN.test(limit) && !(isHot && limit.includes("thermal")));
  return limits.length === 0 ? null : `slowed down: ${limits.join(", ")}`;
}

/**
 * How much memory of a GPU is not in use, in MiB; null when that is not known. Memory that is a NUMA
 * node keeps pages in use when a job ends: there, what no process holds is free.
 * @param {Gpus} gpus
 * @param {number} row
 */
export function freeMib(gpus, row) {
  const total = gpus.memory_total_mib?.[row] ?? null;
  const inUse = gpus.memory_kind?.[row] === "numa" ? gpus.process_memory_mib : gpus.memory_used_mib;
  const used = inUse?.[row] ?? null;
  return total === null || used === null ? null : total - used;
}

/**
 * Who else uses a GPU's memory, in words; null where only its processes do.
 * @param {GpuRow} gpu
 */
export function memoryWords({ memoryKind, processMemoryMib }) {
  if (memoryKind !== "unified" && memoryKind !== "numa") return null;
  const whose = memoryKind === "unified" ? "shared with the host" : "managed by the operating system";
  const held = processMemoryMib === null ? "" : `; processes hold ${gib(processMemoryMib)} GiB`;
  return `memory is ${whose}${held}`;
}

/**
 * How full a GPU's memory is, in percent; null when that is not known.
 * @param {GpuRow} gpu
 */
export function memoryShare(gpu) {
  return share(gpu.memoryUsedMib, gpu.memoryTotalMib);
}

/**
 * @param {number | null} part
 * @param {number | null} whole
 */
function share(part, whole) {
  return part === null || whole === null || whole <= 0 ? null : (100 * part) / whole;
}

/**
 * The users of a GPU: "alice", "alice +1"; "–" when there are processes of unknown users.
 * @param {GpuRow} gpu
 */
export function usersOf(gpu) {
  const users = [...new Set(gpu.processes.map((process) => process.user).filter(Boolean))];
  if (users.length === 0) return gpu.processes.length > 0 ? "–" : "";
  return users.length === 1 ? users[0] : `${users[0]} +${users.length - 1}`;
}

/** Less is what the driver itself allocates beside each process. */
const UNACCOUNTED_FROM_MIB = 256;

/**
 * Memory of a GPU that no visible process holds, in MiB, as after a crash or with a process in another
 * container. Null when that is little, or unknown: a process without a figure, memory that the
 * operating system uses, or MIG slices that account for it.
 * @param {GpuRow} gpu
 */
export function unaccountedMib(gpu) {
  if (gpu.memoryUsedMib === null || memoryWords(gpu) !== null || gpu.sliced || gpu.state !== "ok") return null;
  let rest = gpu.memoryUsedMib;
  for (const { memoryMib } of gpu.processes) {
    if (memoryMib === null) return null;
    rest -= memoryMib;
  }
  return rest >= UNACCOUNTED_FROM_MIB ? rest : null;
}
