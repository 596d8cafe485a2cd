// Which GPUs of a host match a query, straight from its columns: fast enough for ten thousand GPUs.

import { MIB_PER_GIB } from "../format.js";
import { told } from "../state/findings.js";
import { freeMib } from "../state/gpu-metrics.js";
import { PROBLEMS, gpuHasProblem, gpuState, hostHasProblem, hostState } from "../state/states.js";

/** @import { Query, Term } from "./query.js" */
/** @import { Finding, Gpus, Host, HostSummary, Processes } from "../types.js" */

/**
 * A host as a query sees it.
 * @typedef {object} Subject
 * @property {HostSummary} summary
 * @property {Host["state"]} state as it is shown
 * @property {string} hostname what the host calls itself
 * @property {Gpus | undefined} gpus undefined when the table is malformed
 * @property {Processes | undefined} processes undefined when the table is malformed
 */

/** Text columns by field; `:` compares those of EXACT as a whole and searches the others. @type {Record<string, { gpus?: (keyof Gpus)[], processes?: (keyof Processes)[] }>} */
const TEXTS = {
  user: { processes: ["user"] },
  group: { processes: ["group"] },
  model: { gpus: ["name", "mig_profile"] },
  job: { processes: ["slurm_job_id", "pod_uid"] },
  container: { processes: ["container"] },
  command: { processes: ["command"] },
  pid: {},
  "": { gpus: ["reason", "name", "mig_profile"], processes: ["user", "group", "slurm_job_id", "pod_uid", "container", "command", "state"] },
};
const EXACT = ["user", "group", "job", "host"];
/** After `finding:`, for all of them. */
const ANY = "any";
/** @type {Finding[]} */
const NO_FINDINGS = [];

/** Numbers in the units shown on the page. @type {Record<string, (gpus: Gpus, row: number) => number | null | undefined>} */
const NUMBERS = {
  util: (gpus, row) => gpus.utilization_percent?.[row],
  mem: (gpus, row) => gibOf(gpus.memory_used_mib?.[row]),
  free: (gpus, row) => gibOf(freeMib(gpus, row)),
  temp: (gpus, row) => gpus.temperature_celsius?.[row],
  power: (gpus, row) => gpus.power_watts?.[row],
};

/** @param {number | null | undefined} mib */
function gibOf(mib) {
  return mib == null ? null : mib / MIB_PER_GIB;
}

/**
 * One boolean per row; empty when the whole host matches; null when nothing does.
 * @param {Query} query
 * @param {Subject} subject
 * @returns {boolean[] | null}
 */
export function match({ terms }, subject) {
  /** @type {Term[]} */
  const left = [];
  for (const term of terms) {
    const holds = matchHost(term, subject);
    if (holds === null) left.push(term);
    else if (holds === term.negate) return null;
  }
  if (left.length === 0) return [];
  const count = subject.gpus?.index.length ?? 0;
  if (count === 0) return left.every(({ negate }) => negate) ? [] : null;
  const found = Array(count).fill(true);
  for (const term of left) {
    const held = matchGpus(term, subject);
    for (let row = 0; row < count; row += 1) if (held[row] === term.negate) found[row] = false;
  }
  return found.includes(true) ? found : null;
}

/**
 * Whether a term holds for the host as a whole, before negation; null when its GPUs decide.
 * @param {Term} term
 * @param {Subject} subject
 * @returns {boolean | null}
 */
function matchHost(term, { summary, state, hostname }) {
  const { field, op, text } = term;
  const { name, models, findings } = summary;
  switch (field) {
    case "host":
      return contains(name, text, op === "~") || contains(hostname, text, op === "~");
    case "gpus":
      return compare(summary.gpus, op, term.wanted);
    case "": {
      const own = cached(term, name, "host", [name, hostname, models, findings], (one) => {
        const said = findings.filter(({ gpu }) => gpu === null).map(told);
        one[0] = [name, hostname, models, ...said].some((words) => contains(words, text, true));
      });
      return own[0] === true || null;
    }
    case "finding":
      return findings.some((finding) => finding.gpu === null && isOf(finding, term)) || null;
    case "state":
      return matchHostState(text, summary, state);
    default:
      return null;
  }
}

/**
 * @param {string} word
 * @param {HostSummary} summary
 * @param {Host["state"]} state
 */
function matchHostState(word, summary, state) {
  const asked = hostState(word);
  if (asked !== undefined) return asked.holds(summary, state);
  if (word === PROBLEMS && hostHasProblem(summary, state)) return true;
  return state === "live" ? null : false;
}

/**
 * Whether a term holds, before negation, for each GPU of a host.
 * @param {Term} term
 * @param {Subject} subject with a table of GPUs
 * @returns {boolean[]}
 */
function matchGpus(term, subject) {
  const { field, op, wanted, text } = term;
  const gpus = /** @type {Gpus} */ (subject.gpus);
  if (field === "state") {
    const { faults } = subject.summary;
    const holds = text === PROBLEMS ? gpuHasProblem : gpuState(text)?.holds;
    return gpus.index.map((_, row) => holds?.(gpus, row, faults) ?? false);
  }
  if (field === "finding") return matchFindings(gpus, subject.summary.findings.filter((finding) => isOf(finding, term)));
  const number = NUMBERS[field];
  if (number === undefined) return matchTexts(term, subject);
  return gpus.index.map((_, row) => {
    const value = number(gpus, row);
    return value != null && compare(value, op, wanted);
  });
}

/**
 * Whether a finding is of the kind, or the severity, that a term names.
 * @param {Finding} finding
 * @param {Term} term
 */
function isOf({ kind, severity }, { op, text }) {
  return text === ANY || contains(kind, text, op === "~") || contains(severity, text, op === "~");
}

/**
 * Whether each GPU, or the one that a MIG slice is part of, has one of these findings.
 * @param {Gpus | undefined} gpus
 * @param {Finding[]} findings
 * @returns {boolean[]}
 */
function matchFindings(gpus, findings) {
  const rows = new Set(findings.map(({ gpu }) => gpu));
  return gpus?.index.map((_, row) => rows.has(row) || rows.has(gpus.parent?.[row] ?? -1)) ?? [];
}

/**
 * @param {Term} term
 * @param {Subject} subject
 */
function matchTexts(term, { summary, gpus, processes }) {
  const { field, op, text } = term;
  const part = op !== "=" && !(op === ":" && EXACT.includes(field));
  const names = TEXTS[field] ?? {};
  const of = (names.gpus ?? []).map((column) => gpus?.[column]);
  const held = (names.processes ?? []).map((column) => processes?.[column]);
  const findings = field === "" ? summary.findings : NO_FINDINGS;
  const sources = [gpus?.index, gpus?.uuid, gpus?.parent, processes?.gpu, processes?.pid, processes?.uid, ...of, ...held, findings];
  return cached(term, summary.name, "gpus", sources, (found) => {
    const said = matchFindings(gpus, findings.filter((finding) => contains(told(finding), text, true)));
    gpus?.index.forEach((_, row) => {
      found[row] = said[row] === true || of.some((column) => contains(column?.[row], text, part))
        || (field === "" && gpus.uuid?.[row]?.toLowerCase().startsWith(text) === true);
    });
    processes?.gpu.forEach((gpu, row) => {
      if (gpu === null || found[gpu]) return;
      found[gpu] = held.some((column) => contains(column?.[row], text, part))
        || (names.processes?.[0] === "user" && contains(nameless(processes, row), text, part))
        || ((field === "" || field === "pid") && String(processes.pid[row]) === text);
    });
  });
}

/**
 * How a process is shown whose user has no name.
 * @param {Processes} processes
 * @param {number} row
 */
function nameless({ user, uid }, row) {
  return user?.[row] != null || uid?.[row] == null ? null : `uid ${uid[row]}`;
}

/**
 * What a term found on a host. The search runs again only when a column is another array: a patch
 * replaces a changed column whole.
 * @param {Term} term
 * @param {string} host
 * @param {"host" | "gpus"} what
 * @param {unknown[]} sources
 * @param {(found: boolean[]) => void} search
 */
function cached(term, host, what, sources, search) {
  term.memory ??= { host: new Map(), gpus: new Map() };
  const memory = term.memory[what];
  let one = memory.get(host);
  if (one === undefined || sources.some((source, at) => one?.sources[at] !== source)) {
    one = { sources, found: [] };
    search(one.found);
    memory.set(host, one);
  }
  return one.found;
}

/**
 * @param {unknown} words
 * @param {string} text
 * @param {boolean} part whether to accept a substring
 */
function contains(words, text, part) {
  if (typeof words !== "string") return false;
  const own = words.toLowerCase();
  return part ? own.includes(text) : own === text;
}

/**
 * `=` compares as shown: in whole numbers unless the query has a fraction.
 * @param {number} number
 * @param {string} op
 * @param {number} wanted
 */
function compare(number, op, wanted) {
  switch (op) {
    case "<":
      return number < wanted;
    case "<=":
      return number <= wanted;
    case ">":
      return number > wanted;
    case ">=":
      return number >= wanted;
  }
  return Number.isInteger(wanted) ? Math.round(number) === wanted : Math.abs(number - wanted) < 0.05;
}
