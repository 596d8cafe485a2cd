// What is shown as CSV (RFC 4180): one line per process, or per GPU without one.

import { findingsOf, told } from "./state/findings.js";

/** @import { Finding, Fleet, Gpus, Host, Processes } from "./types.js" */

/** In every file, so that files can be joined; columns of newer collectors follow them. @type {(keyof Gpus)[]} */
const GPU_COLUMNS = [
  "index", "uuid", "name", "pci_bus_id", "parent", "mig_profile", "state", "reason", "state_since", "use",
  "use_reason", "idle_since", "utilization_percent", "memory_used_mib", "memory_total_mib", "memory_controller_utilization_percent",
  "temperature_celsius", "slowdown_celsius", "power_watts", "power_limit_watts", "fan_percent", "sm_clock_mhz",
  "memory_clock_mhz", "energy_joules", "pcie_generation", "pcie_width", "nvlinks_up",
  "throttle", "health", "health_reasons", "memory_kind",
];
/** @type {(keyof Processes)[]} */
const PROCESS_COLUMNS = [
  "pid", "user", "uid", "group", "command", "container", "slurm_job_id", "pod_uid", "type", "started_at", "idle_since", "gpu_memory_mib",
  "sm_utilization_percent", "cpu_percent", "host_memory_mib",
];

/** A host with what is shown of it: one boolean per GPU, empty for all.
 * @typedef {{ name: string, state: string, host: Host, mask: boolean[] }} Shown */

const REVOKE_AFTER_MS = 60_000;

/**
 * Saves hosts as a file named after the time of the data.
 * @param {Shown[]} hosts
 * @param {Fleet | null} fleet
 */
export function saveCsv(hosts, fleet) {
  const file = document.createElement("a");
  const taken = new Date((fleet?.now ?? 0) * 1000).toISOString().slice(0, 19).replaceAll(":", "-");
  file.download = `gpus${fleet?.simulated ? "-simulated" : ""}-${taken}Z.csv`;
  file.href = URL.createObjectURL(new Blob([toCsv(hosts)], { type: "text/csv" }));
  file.click();
  // The browser has read the file by then; until it is revoked it stays in memory.
  setTimeout(() => URL.revokeObjectURL(file.href), REVOKE_AFTER_MS);
}

/**
 * @param {Shown[]} hosts
 * @returns {string}
 */
export function toCsv(hosts) {
  const gpuColumns = columns(GPU_COLUMNS, hosts.map(({ host }) => host.gpus));
  const processColumns = columns(PROCESS_COLUMNS, hosts.map(({ host }) => host.processes)).filter((name) => name !== "gpu");
  const header = [
    "host", "host_state",
    ...gpuColumns.map((name) => `gpu_${unit(name)}`),
    "gpu_findings", "host_findings",
    ...processColumns.map((name) => `process_${unit(name)}`),
  ];
  const lines = [header.map(text)];
  for (const { name, state, host, mask } of hosts) {
    const gpus = host.gpus?.index ?? [];
    const findings = findingsOf(host);
    const own = text(listed(findings.filter(({ gpu }) => gpu === null)));
    // The page shows hosts without GPUs, too.
    if (gpus.length === 0) lines.push([text(name), text(state), ...gpuColumns.map(() => ""), "", own]);
    for (const row of gpus.keys()) {
      if (mask.length > 0 && !mask[row]) continue;
      const of = host.gpus?.parent?.[row] ?? row;
      const found = findings.filter(({ gpu }) => gpu !== null && (gpu === row || gpu === of));
      const line = [text(name), text(state), ...cells(host.gpus, gpuColumns, row), text(listed(found)), own];
      const mine = (host.processes?.gpu ?? []).flatMap((gpu, number) => (gpu === row ? [number] : []));
      if (mine.length === 0) lines.push(line);
      for (const number of mine) lines.push([...line, ...cells(host.processes, processColumns, number)]);
    }
  }
  return lines.map((line) => `${full(line, header.length).join(",")}\r\n`).join("");
}

/**
 * Findings in one field: "critical: fell off the bus: reset it; warning: …".
 * @param {Finding[]} findings
 */
function listed(findings) {
  return findings.map((finding) => `${finding.severity}: ${told(finding)}`);
}

/**
 * Pads a line to the length of the first.
 * @param {string[]} line
 * @param {number} length
 */
function full(line, length) {
  return [...line, ...Array(length - line.length).fill("")];
}

/**
 * @param {string[]} known
 * @param {(object | undefined)[]} tables
 */
function columns(known, tables) {
  return [...new Set([...known, ...tables.flatMap((table) => Object.keys(table ?? {}))])];
}

/** Names of columns carry their unit, except times. @param {string} name */
function unit(name) {
  return /_(at|since)$/.test(name) ? `${name}_unix_seconds` : name;
}

/**
 * @param {object | undefined} table
 * @param {string[]} names
 * @param {number} row
 */
function cells(table, names, row) {
  const known = /** @type {Record<string, unknown[] | undefined>} */ (table ?? {});
  return names.map((name) => text(known[name]?.[row]));
}

/**
 * One field. An apostrophe keeps a spreadsheet from reading text as a formula.
 * @param {unknown} value
 */
export function text(value) {
  if (value == null) return "";
  if (typeof value === "number") return String(value);
  const words = Array.isArray(value) ? value.join("; ") : String(value);
  const safe = /^[=+\-@\t\r]/.test(words) ? `'${words}` : words;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
