// Which hosts and GPUs a view shows: words that must all be found, and one of five kinds; pure.

/** @import { GpuRow, HostSummary, View } from "./types.js" */

/**
 * The words of a query, folded for comparison.
 * @param {string} query
 * @returns {string[]}
 */
export function wordsOf(query) {
  return query.toLowerCase().split(/\s+/).filter(Boolean);
}

/**
 * Which GPUs of a host a view asks for: one boolean per row, or null when the host is not
 * shown. A host whose own name or trouble fits is shown with all its GPUs.
 * @param {{ words: string[], show: View["show"] }} wanted
 * @param {HostSummary} host
 * @param {string} hostname what the host calls itself
 * @param {() => GpuRow[]} rows asked for only when needed
 * @returns {boolean[] | null}
 */
export function match({ words, show }, host, hostname, rows) {
  const hostText = `${host.name} ${hostname} ${host.models} ${host.problems.join(" ")}`.toLowerCase();
  const left = words.filter((word) => !hostText.includes(word));
  const wholeHost = show === "all" || (show === "trouble" && host.state !== "live");
  const hostTrouble = show === "trouble" && host.problems.length > 0;
  if (left.length === 0 && wholeHost) return [];
  const found = rows().map((gpu) => {
    if (!wholeHost && !hostTrouble && !isKind(gpu, host, show)) return false;
    if (left.length === 0) return true;
    const text = gpuText(gpu);
    return left.every((word) => text.includes(word));
  });
  if (found.some(Boolean)) return found;
  return left.length === 0 && hostTrouble ? found : null;
}

/**
 * @param {GpuRow} gpu
 * @param {HostSummary} host
 * @param {View["show"]} show
 */
function isKind(gpu, host, show) {
  if (show === "trouble") return gpu.state === "lost" || gpu.state === "error";
  if (host.state !== "live") return false;
  if (show === "free") return gpu.use === "free";
  if (show === "idle") return gpu.use === "held_idle";
  return gpu.hot;
}

/** @param {GpuRow} gpu */
function gpuText(gpu) {
  const words = [gpu.name, gpu.profile, gpu.uuid, gpu.reason];
  for (const one of gpu.processes) {
    words.push(one.user, one.command, one.container, one.job, String(one.pid ?? ""));
  }
  return words.join("\n").toLowerCase();
}
