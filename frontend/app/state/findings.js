// The findings of one host, and the words for those that come without; pure.

import { gpuLabels, tableProblems } from "./tables.js";

/** @import { Tables } from "./tables.js" */
/** @import { Faults } from "./states.js" */
/** @import { Finding, Host } from "../types.js" */

/** Of findings, the worst first. */
export const SEVERITIES = /** @type {const} */ (["critical", "warning", "info"]);

/** What a kind means, after "GPU 3:" or alone, for a viewer whose role gets no words. @type {Map<string, string>} */
const MEANINGS = new Map(Object.entries({
  gpu_lost: "fell off the bus",
  gpu_error: "cannot be read",
  gpu_missing: "a GPU is on the bus, but the driver does not list it",
  gpu_hot: "hot",
  gpu_stalled: "busy at low power, probably waiting",
  mig_without_slices: "in MIG mode, but no slice exists or is visible",
  xid: "the driver has reported an error of the card (Xid)",
  ecc: "the memory has errors (ECC)",
  row_remap: "a memory row is faulty",
  page_retirement: "memory pages are faulty",
  pcie_narrow: "the PCIe link uses fewer lanes than it could",
  nvlink_down: "NVLinks are down",
  recovery: "needs a reset or a restart to recover",
  driver: "the NVIDIA driver cannot be used",
  gpus_silent: "no GPU answers",
  nvml_stuck: "the NVIDIA driver does not answer",
  nvml_reopening: "some GPUs show their last readings while the driver is opened again",
  probe_failed: "cannot find out whether lost GPUs are back",
  processes_unread: "the processes cannot be read",
  no_pids: "the processes on the GPUs are not visible",
  memory_held: "memory is held by processes that have ended or are stuck",
  disk_full: "a disk is nearly full",
  rows_cut: "there is more than is shown",
  source_error: "some readings fail",
  internal_error: "the collector has made an error",
  conflict: "two collectors report under this name",
  clock: "the clock differs from the broker's",
  link_late: "the messages arrive too late to be shown",
}));
/** The kind of the page's own findings, about tables that it cannot draw. */
const MALFORMED = "malformed";

/**
 * The findings of a host, the worst first. A table that cannot be drawn is one, too; where that is
 * the table of findings, it is the only one.
 * @param {Host} host
 * @param {Tables} [tables]
 * @returns {Finding[]}
 */
export function findingsOf(host, tables = tableProblems(host)) {
  const found = Object.values(tables).flatMap((words) => (words === null ? [] : [broken(words)]));
  const count = tables.findings === null ? (host.findings?.kind?.length ?? 0) : 0;
  if (count === 0) return found;
  const labels = tables.gpus === null ? gpuLabels(host) : [];
  for (let row = 0; row < count; row += 1) found.push(readFinding(host, row, labels));
  return found.sort((one, other) => rank(one) - rank(other));
}

/** @param {string} words @returns {Finding} */
function broken(words) {
  return { kind: MALFORMED, severity: "critical", gpu: null, label: "", since: null, words, advice: null, isBare: false };
}

/**
 * @param {Host} host
 * @param {number} row
 * @param {string[]} labels of its GPUs
 * @returns {Finding}
 */
function readFinding({ findings }, row, labels) {
  const kind = String(findings?.kind[row] ?? "");
  const severity = findings?.severity?.[row];
  const gpu = findings?.gpu?.[row];
  const label = labels[gpu ?? -1];
  const words = findings?.words?.[row];
  return {
    kind,
    severity: severity != null && SEVERITIES.includes(severity) ? severity : "warning",
    gpu: label === undefined ? null : (gpu ?? null),
    label: label ?? "",
    since: findings?.since?.[row] ?? null,
    words: words ?? MEANINGS.get(kind) ?? kind.replaceAll("_", " "),
    advice: findings?.advice?.[row] ?? null,
    isBare: words == null,
  };
}

/** @param {Finding} finding */
function rank({ severity }) {
  return SEVERITIES.indexOf(severity);
}

/** Whether a finding needs attention. @param {Finding} finding */
export function isFault({ severity }) {
  return severity !== "info";
}

/** What a finding says and what helps, in one line. @param {Finding} finding */
export function told({ words, advice }) {
  return advice === null ? words : `${words}: ${advice}`;
}

/** The same after the GPU's name: "GPU 3: fell off the bus: reset the GPU". @param {Finding} finding */
export function toldOfHost(finding) {
  return finding.label === "" ? told(finding) : `GPU ${finding.label}: ${told(finding)}`;
}

/** @type {Faults} */
const NO_FAULTS = new Map();

/**
 * The kinds of findings of each GPU that need attention.
 * @param {Finding[]} findings
 * @returns {Faults}
 */
export function faultsOf(findings) {
  let faults = NO_FAULTS;
  for (const finding of findings) {
    if (finding.gpu === null || !isFault(finding)) continue;
    if (faults === NO_FAULTS) faults = new Map();
    const kinds = faults.get(finding.gpu);
    if (kinds === undefined) faults.set(finding.gpu, new Set([finding.kind]));
    else kinds.add(finding.kind);
  }
  return faults;
}
