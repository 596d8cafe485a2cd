// Which GPUs of a host a query asks for, straight from the columns: quick enough for ten thousand of them.

import { MIB_PER_GIB } from "./format.js";
import { HOST_STATES } from "./query.js";
import { healthReasonsOf, isHot } from "./rows.js";

/** @import { Query, Term } from "./query.js" */
/** @import { Gpus, Host, HostSummary, Processes } from "./types.js" */

/**
 * A host as terms see it.
 * @typedef {object} Subject
 * @property {HostSummary} summary
 * @property {Host["state"]} state as it is shown
 * @property {string} hostname what the host calls itself
 * @property {Gpus | undefined} gpus unless they cannot be drawn
 * @property {Processes | undefined} processes unless they cannot be drawn
 */

/** Columns of texts. Those of EXACT are compared whole by `:`, the others are searched. @type {Record<string, { gpus?: (keyof Gpus)[], processes?: (keyof Processes)[] }>} */
const TEXTS = {
  user: { processes: ["user"] },
  model: { gpus: ["name", "mig_profile"] },
  job: { processes: ["slurm_job_id", "pod_uid"] },
  container: { processes: ["container"] },
  command: { processes: ["command"] },
  pid: {},
  "": { gpus: ["reason", "name", "mig_profile"], processes: ["user", "slurm_job_id", "pod_uid", "container", "command", "state"] },
};
const EXACT = ["user", "job", "host"];

/** Numbers in the units in which they are shown. @type {Record<string, (gpus: Gpus, row: number) => number | null | undefined>} */
const NUMBERS = {
  util: (gpus, row) => gpus.utilization_percent?.[row],
  mem: (gpus, row) => gibBeyond(gpus.memory_used_mib?.[row], 0),
  free: (gpus, row) => gibBeyond(gpus.memory_total_mib?.[row], gpus.memory_used_mib?.[row]),
  temp: (gpus, row) => gpus.temperature_celsius?.[row],
  power: (gpus, row) => gpus.power_watts?.[row],
};

/**
 * @param {number | null | undefined} mib
 * @param {number | null | undefined} less
 */
function gibBeyond(mib, less) {
  return mib == null || less == null ? null : (mib - less) / MIB_PER_GIB;
}

/**
 * One boolean per row, none of them where the whole host is wanted, or null when nothing of it is.
 * @param {Query} query
 * @param {Subject} subject
 * @returns {boolean[] | null}
 */
export function match({ terms }, subject) {
  /** @type {Term[]} */
  const left = [];
  for (const term of terms) {
    const holds = ofHost(term, subject);
    if (holds === null) left.push(term);
    else if (holds === term.negate) return null;
  }
  if (left.length === 0) return [];
  const count = subject.gpus?.index.length ?? 0;
  if (count === 0) return left.every(({ negate }) => negate) ? [] : null;
  const found = Array(count).fill(true);
  for (const term of left) {
    const held = ofGpus(term, subject);
    for (let row = 0; row < count; row += 1) if (held[row] === term.negate) found[row] = false;
  }
  return found.includes(true) ? found : null;
}

/**
 * Whether a term holds for all of a host (before negation); null when its GPUs decide.
 * @param {Term} term
 * @param {Subject} subject
 * @returns {boolean | null}
 */
function ofHost(term, { summary, state, hostname }) {
  const { field, op, text } = term;
  const { name, models, problems } = summary;
  switch (field) {
    case "host":
      return says(name, text, op === "~") || says(hostname, text, op === "~");
    case "gpus":
      return compare(summary.gpus, op, term.wanted);
    case "": {
      const own = remembered(term, name, "host", [name, hostname, models, problems], (one) => {
        one[0] = [name, hostname, models, ...problems].some((words) => says(words, text, true));
      });
      return own[0] === true || null;
    }
    case "state":
      break;
    default:
      return null;
  }
  if (HOST_STATES.includes(text)) return state === text;
  if (text === "problems") return state === "live" && problems.length > 0;
  if (text === "trouble" && (state !== "live" || problems.length > 0)) return true;
  return state === "live" ? null : false;
}

/**
 * Whether a term holds, for each GPU of a host.
 * @param {Term} term
 * @param {Subject} subject whose GPUs can be drawn
 * @returns {boolean[]}
 */
function ofGpus(term, subject) {
  const { field, op, wanted, text } = term;
  const gpus = /** @type {Gpus} */ (subject.gpus);
  const number = NUMBERS[field];
  if (number === undefined && field !== "state") return ofTexts(term, subject);
  return gpus.index.map((_, row) => {
    if (number === undefined) return inState(gpus, row, text);
    const value = number(gpus, row);
    return value != null && compare(value, op, wanted);
  });
}

/**
 * @param {Term} term
 * @param {Subject} subject
 */
function ofTexts(term, { summary, gpus, processes }) {
  const { field, op, text } = term;
  const part = op !== "=" && !(op === ":" && EXACT.includes(field));
  const names = TEXTS[field] ?? {};
  const of = (names.gpus ?? []).map((column) => gpus?.[column]);
  const held = (names.processes ?? []).map((column) => processes?.[column]);
  const sources = [gpus?.index, gpus?.uuid, processes?.gpu, processes?.pid, processes?.uid, ...of, ...held];
  return remembered(term, summary.name, "gpus", sources, (found) => {
    gpus?.index.forEach((_, row) => {
      found[row] = of.some((column) => says(column?.[row], text, part))
        || (field === "" && gpus.uuid?.[row]?.toLowerCase().startsWith(text) === true);
    });
    processes?.gpu.forEach((gpu, row) => {
      if (gpu === null || found[gpu]) return;
      found[gpu] = held.some((column) => says(column?.[row], text, part))
        || (names.processes?.[0] === "user" && says(nameless(processes, row), text, part))
        || ((field === "" || field === "pid") && String(processes.pid[row]) === text);
    });
  });
}

/**
 * What a process is shown under whose user has no name.
 * @param {Processes} processes
 * @param {number} row
 */
function nameless({ user, uid }, row) {
  return user?.[row] != null || uid?.[row] == null ? null : `uid ${uid[row]}`;
}

/**
 * What a term found at a host, searched anew only when the columns are other ones: a patch brings
 * a changed column whole, as a new array.
 * @param {Term} term
 * @param {string} host
 * @param {"host" | "gpus"} what
 * @param {unknown[]} sources
 * @param {(found: boolean[]) => void} search
 */
function remembered(term, host, what, sources, search) {
  const memory = (term.memory ??= { host: new Map(), gpus: new Map() })[what];
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
 * @param {boolean} part whether a part is enough
 */
function says(words, text, part) {
  if (typeof words !== "string") return false;
  const own = words.toLowerCase();
  return part ? own.includes(text) : own === text;
}

/**
 * Equal is what is equal as it is shown, in whole numbers unless tenths are asked for.
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

/**
 * @param {Gpus} gpus
 * @param {number} row
 * @param {string} asked
 */
function inState(gpus, row, asked) {
  const state = gpus.state[row] ?? "error";
  const use = gpus.use?.[row];
  const unhealthy = healthReasonsOf(gpus, row).length > 0;
  if (asked === "unhealthy") return unhealthy;
  if (asked === "trouble") return unhealthy || state === "lost" || state === "error";
  if (asked === "idle") return use === "held_idle";
  if (asked === "hot") return isHot(gpus, row);
  if (asked === "stalled") return gpus.stalled_since?.[row] != null;
  return state === asked || use === asked;
}
