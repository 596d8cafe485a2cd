// Turns the columns of one host into rows of GPUs with their processes; pure.

import { faultsOf, findingsOf } from "./findings.js";
import { GPU_STATES } from "./states.js";
import { gpuKeys, gpuLabels, tableProblem } from "./tables.js";

/** @import { Finding, GpuRow, Gpus, Host, Processes, ProcessRow } from "../types.js" */

const BADGES = GPU_STATES.filter(({ badge }) => badge !== undefined);

/** The column of each field. @satisfies {Record<string, keyof Gpus>} */
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
  energyJoules: "energy_joules",
  pcieGeneration: "pcie_generation",
  pcieWidth: "pcie_width",
  nvlinksUp: "nvlinks_up",
  idleSince: "idle_since",
};
/** @satisfies {Record<string, keyof Processes>} */
const PROCESS = {
  pid: "pid",
  command: "command",
  container: "container",
  slurmJobId: "slurm_job_id",
  podUid: "pod_uid",
  actsAs: "effective_user",
  mps: "mps",
  group: "group",
  state: "state",
  startedAt: "started_at",
  idleSince: "idle_since",
  memoryMib: "gpu_memory_mib",
  smPercent: "sm_utilization_percent",
  cpuPercent: "cpu_percent",
  hostMemoryMib: "host_memory_mib",
};

/**
 * The GPUs of a host in the order of its columns; none when the table is malformed.
 * @param {Host} host
 * @param {Finding[]} [findings] of the host
 * @returns {GpuRow[]}
 */
export function gpuRows(host, findings = findingsOf(host)) {
  const gpus = host.gpus;
  if (gpus?.index === undefined || tableProblem(host, "gpus") !== null) return [];
  const labels = gpuLabels(host);
  const keys = gpuKeys(gpus.uuid ?? []);
  const processes = processesByGpu(host);
  const faults = faultsOf(findings);
  const parents = new Set(gpus.parent?.filter((parent) => parent !== null));
  return gpus.index.map((_, row) => ({
    ...read(gpus, GPU, row),
    row,
    label: labels[row] ?? String(row),
    key: keys[row] ?? null,
    state: gpus.state?.[row] ?? "error",
    sliced: parents.has(row),
    throttle: gpus.throttle?.[row] ?? [],
    findings: findings.filter(({ gpu }) => gpu !== null && (gpu === row || gpu === gpus.parent?.[row])),
    badges: BADGES.filter(({ holds }) => holds(gpus, row, faults)),
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
