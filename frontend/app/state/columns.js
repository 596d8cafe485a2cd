// Turns the columns of one host into rows of GPUs with their processes; pure.

import { isObject } from "./patch.js";
import { GPU_STATES, healthReasonsOf, isHot } from "./states.js";

/** @import { GpuRow, Host, Json, ProcessRow } from "../types.js" */

/** Why a table is malformed, in words; null when it is not. @typedef {{ gpus: string | null, processes: string | null }} Tables */

const BADGES = GPU_STATES.filter(({ badge }) => badge !== undefined);
/** The required column of each table; all others must be as long. */
const KEY_COLUMNS = /** @type {const} */ ({ gpus: "index", processes: "gpu", disks: "mount" });

/** The column of each field. */
const GPU = {
  uuid: "uuid",
  busId: "pci_bus_id",
  name: "name",
  profile: "mig_profile",
  reason: "reason",
  stateSince: "state_since",
  use: "use",
  useReason: "use_reason",
  memoryKind: "memory_kind",
  memoryTotalMib: "memory_total_mib",
  memoryUsedMib: "memory_used_mib",
  processMemoryMib: "process_memory_mib",
  utilization: "utilization_percent",
  memoryUtilization: "memory_controller_utilization_percent",
  temperature: "temperature_celsius",
  power: "power_watts",
  powerLimit: "power_limit_watts",
  idleSince: "idle_since",
  stalledSince: "stalled_since",
};
const PROCESS = {
  pid: "pid",
  command: "command",
  container: "container",
  slurmJobId: "slurm_job_id",
  podUid: "pod_uid",
  actsAs: "effective_user",
  mps: "mps",
  state: "state",
  startedAt: "started_at",
  idleSince: "idle_since",
  memoryMib: "gpu_memory_mib",
  smPercent: "sm_utilization_percent",
};

/**
 * Why a table is malformed, in words; null when all its columns have one length.
 * @param {Host} host
 * @param {keyof typeof KEY_COLUMNS} name
 * @returns {string | null}
 */
export function tableProblem(host, name) {
  const table = /** @type {Record<string, unknown[]> | undefined} */ (host[name]);
  if (table === undefined) return null;
  const columns = Object.keys(table);
  const key = KEY_COLUMNS[name];
  const length = table[key]?.length;
  if (length === undefined) {
    return columns.length === 0 ? null : `${name} are not shown: no column ${key}`;
  }
  let odd = null;
  for (const column of columns) if (table[column]?.length !== length) odd ??= column;
  if (odd === null) return null;
  return `${name} are not shown: ${odd} has ${table[odd]?.length ?? "no"} rows, ${key} ${length}`;
}

/**
 * Why a host's tables are malformed; usually null for both.
 * @param {Host} host
 * @returns {Tables}
 */
export function tableProblems(host) {
  return { gpus: tableProblem(host, "gpus"), processes: tableProblem(host, "processes") };
}

/**
 * Whether a patch may change the length of a host's columns. It reads the patch alone: checking
 * every column of every host takes 5 ms at 1,250 hosts.
 * @param {Host | undefined} host before the patch
 * @param {Json | undefined} patch
 */
export function mayReshape(host, patch) {
  if (host === undefined || !isObject(patch)) return true;
  for (const name of /** @type {const} */ (["gpus", "processes"])) {
    const columns = patch[name];
    if (columns === undefined) continue;
    if (!isObject(columns)) return true;
    const table = /** @type {Record<string, unknown[]> | undefined} */ (host[name]);
    const key = KEY_COLUMNS[name];
    for (const column in columns) {
      const values = /** @type {unknown[] | null} */ (columns[column]);
      if (column === key || values?.length !== table?.[key]?.length) return true;
    }
  }
  return false;
}

/**
 * The GPUs of a host in the order of its columns; none when the table is malformed.
 * @param {Host} host
 * @returns {GpuRow[]}
 */
export function gpuRows(host) {
  const gpus = host.gpus;
  if (gpus?.index === undefined || tableProblem(host, "gpus") !== null) return [];
  const labels = gpuLabels(host);
  const processes = processesByGpu(host);
  const parents = new Set(gpus.parent?.filter((parent) => parent !== null));
  return gpus.index.map((_, row) => ({
    ...read(gpus, GPU, row),
    row,
    label: labels[row] ?? String(row),
    state: gpus.state?.[row] ?? "error",
    sliced: parents.has(row),
    throttle: gpus.throttle?.[row] ?? [],
    health_reasons: healthReasonsOf(gpus, row),
    hot: isHot(gpus, row),
    badges: BADGES.filter(({ holds }) => holds(gpus, row)),
    processes: processes.get(row) ?? [],
  }));
}

/**
 * One row of a table; null where a value is not known.
 * @param {object} table
 * @param {Record<string, string>} names of fields, and of the columns they come from
 * @param {number} row
 * @returns {any}
 */
function read(table, names, row) {
  const columns = /** @type {Record<string, unknown[] | undefined>} */ (table);
  const values = /** @type {Record<string, unknown>} */ ({});
  for (const field in names) values[field] = columns[names[field] ?? ""]?.[row] ?? null;
  return values;
}

/**
 * The label of each GPU: its index; for a MIG slice "0.2", after the GPU that it is part of.
 * @param {Host} host
 * @returns {string[]}
 */
export function gpuLabels(host) {
  const index = host.gpus?.index ?? [];
  const parent = host.gpus?.parent;
  /** @type {Map<number, number>} */
  const slices = new Map();
  return index.map((own, row) => {
    const of = parent?.[row];
    if (of == null) return String(own ?? row);
    const number = slices.get(of) ?? 0;
    slices.set(of, number + 1);
    return `${index[of] ?? of}.${number}`;
  });
}

/**
 * @param {Host} host
 * @returns {Map<number, ProcessRow[]>}
 */
function processesByGpu(host) {
  /** @type {Map<number, ProcessRow[]>} */
  const byGpu = new Map();
  const table = host.processes;
  if (table?.gpu === undefined || tableProblem(host, "processes") !== null) return byGpu;
  table.gpu.forEach((gpu, row) => {
    if (gpu === null) return;
    const uid = table.uid?.[row];
    const process = { ...read(table, PROCESS, row), user: table.user?.[row] ?? (uid == null ? "" : `uid ${uid}`) };
    const others = byGpu.get(gpu);
    if (others === undefined) byGpu.set(gpu, [process]);
    else others.push(process);
  });
  return byGpu;
}
