// The query box: `user:alice util<5 host~dgx -state:stale "two words"` to terms, and what they match; pure.

/** @import { GpuRow, HostSummary } from "./types.js" */

/**
 * One condition; all of a query must hold. `text` and `wanted` are folded for comparison.
 * @typedef {{ negate: boolean, field: string, op: string, text: string, wanted: number }} Term
 */

/** What a query means, and the parts of it that mean nothing. @typedef {{ terms: Term[], unknown: string[] }} Query */

/** A host as terms see it. @typedef {{ summary: HostSummary, hostname: string }} Subject */

const TOKEN = /(?:[^\s"]|"[^"]*"?)+/g;
const CONDITION = /^([a-z_]+)([:~=]|[<>]=?)(.*)$/is;
const NUMBER = /^(\d+\.?\d*|\.\d+)(%|w|c|°c?|g(i?b)?)?$/;
/** States of a host; all others are states of a GPU of a live host. */
const HOST_STATES = ["stale", "missing", "conflict"];
const STATES = ["free", "busy", "idle", "lost", "asleep", "error", "hot", ...HOST_STATES, "problems", "trouble"];

/** A GPU's texts. Those of EXACT are compared whole by `:`, the others are searched. @type {Record<string, (gpu: GpuRow) => (string | null)[]>} */
const TEXTS = {
  user: (gpu) => gpu.processes.map(({ user }) => user),
  model: (gpu) => [gpu.name, gpu.profile],
  job: (gpu) => gpu.processes.map(({ job }) => job),
  container: (gpu) => gpu.processes.map(({ container }) => container),
  command: (gpu) => gpu.processes.map(({ command }) => command),
};
const EXACT = ["user", "job", "host"];

/** A GPU's numbers in the units in which they are shown. @type {Record<string, (gpu: GpuRow) => number | null>} */
const NUMBERS = {
  util: (gpu) => gpu.utilization,
  mem: (gpu) => gib(gpu.memoryUsedMib),
  free: (gpu) => (gpu.memoryTotalMib === null ? null : gib(less(gpu.memoryTotalMib, gpu.memoryUsedMib))),
  temp: (gpu) => gpu.temperature,
  power: (gpu) => gpu.power,
};

/** @param {number | null} mib */
function gib(mib) {
  return mib === null ? null : mib / 1024;
}

/**
 * @param {number} whole
 * @param {number | null} part
 */
function less(whole, part) {
  return part === null ? null : whole - part;
}

/**
 * Any text is a query: what is not understood is named and otherwise left out.
 * @param {string} text
 * @returns {Query}
 */
export function parse(text) {
  /** @type {Query} */
  const query = { terms: [], unknown: [] };
  for (const token of text.match(TOKEN) ?? []) {
    const term = termOf(token);
    if (term === null) query.unknown.push(token);
    else if (term.field !== "" || term.text !== "") query.terms.push(term);
  }
  return query;
}

/** @param {string} token */
function termOf(token) {
  const negate = token.length > 1 && token.startsWith("-");
  const rest = negate ? token.slice(1) : token;
  const [, name, op = "", value = ""] = CONDITION.exec(rest) ?? [];
  const field = name?.toLowerCase() ?? "";
  const text = (field === "" ? rest : value).replaceAll('"', "").toLowerCase();
  const wanted = Number.parseFloat(text);
  const term = { negate, field, op, text, wanted };
  if (field === "") return term;
  if (Object.hasOwn(NUMBERS, field) || field === "gpus") return op !== "~" && NUMBER.test(text) ? term : null;
  if (text === "" || op.includes("<") || op.includes(">")) return null;
  if (field === "state") return op !== "~" && STATES.includes(text) ? term : null;
  return Object.hasOwn(TEXTS, field) || field === "host" ? term : null;
}

/**
 * Which GPUs of a host a query asks for: one boolean per row, none of them where it is the whole
 * host, or null when nothing of the host is wanted.
 * @param {Query} query
 * @param {HostSummary} summary with the state that is shown
 * @param {string} hostname what the host calls itself
 * @param {() => GpuRow[]} rows asked for only when needed
 * @returns {boolean[] | null}
 */
export function match({ terms }, summary, hostname, rows) {
  const subject = { summary, hostname };
  /** @type {Term[]} */
  const left = [];
  for (const term of terms) {
    const holds = ofHost(term, subject);
    if (holds === null) left.push(term);
    else if (holds === term.negate) return null;
  }
  if (left.length === 0) return [];
  const gpus = rows();
  if (gpus.length === 0) return left.every(({ negate }) => negate) ? [] : null;
  const found = gpus.map((gpu) => left.every((term) => ofGpu(term, gpu) !== term.negate));
  return found.some(Boolean) ? found : null;
}

/**
 * Whether a term holds for all of a host (before negation); null when its GPUs decide.
 * @param {Term} term
 * @param {Subject} subject
 * @returns {boolean | null}
 */
function ofHost({ field, op, text, wanted }, { summary, hostname }) {
  const { name, state, models, problems } = summary;
  if (field === "host") return says([name, hostname], text, op === "~");
  if (field === "gpus") return compare(summary.gpus, op, wanted);
  if (field === "") return says([name, hostname, models, ...problems], text, true) || null;
  if (field !== "state") return null;
  if (HOST_STATES.includes(text)) return state === text;
  if (text === "problems") return state === "live" && problems.length > 0;
  if (text === "trouble" && (state !== "live" || problems.length > 0)) return true;
  return state === "live" ? null : false;
}

/**
 * @param {Term} term
 * @param {GpuRow} gpu
 */
function ofGpu({ field, op, text, wanted }, gpu) {
  if (field === "") return anywhere(gpu, text);
  if (field === "state") return inState(gpu, text);
  const number = NUMBERS[field]?.(gpu);
  if (number !== undefined) return number !== null && compare(number, op, wanted);
  return says(TEXTS[field]?.(gpu) ?? [], text, op !== "=" && !(op === ":" && EXACT.includes(field)));
}

/**
 * A plain word: in any text of the GPU, or a process's number or the start of a UUID as a whole.
 * @param {GpuRow} gpu
 * @param {string} text
 */
function anywhere(gpu, text) {
  if (gpu.uuid?.toLowerCase().startsWith(text) || gpu.processes.some(({ pid }) => String(pid) === text)) return true;
  return says([gpu.reason, ...Object.values(TEXTS).flatMap((texts) => texts(gpu))], text, true);
}

/**
 * @param {(string | null)[]} texts
 * @param {string} text
 * @param {boolean} part whether a part of one is enough
 */
function says(texts, text, part) {
  return texts.some((one) => {
    const own = one?.toLowerCase();
    return part ? own?.includes(text) : own === text;
  });
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
 * @param {GpuRow} gpu
 * @param {string} state
 */
function inState(gpu, state) {
  if (state === "trouble") return gpu.state === "lost" || gpu.state === "error";
  if (state === "idle") return gpu.use === "held_idle";
  if (state === "hot") return gpu.hot;
  return gpu.state === state || gpu.use === state;
}

/**
 * What a query asks of one field with `:`, or "" when nothing.
 * @param {string} text
 * @param {string} field
 */
export function valueOf(text, field) {
  return parse(text).terms.find((term) => isChoice(term, field))?.text ?? "";
}

/**
 * The query with another value for one field, or none; the other words stay as they were written.
 * @param {string} text
 * @param {string} field
 * @param {string} value "" takes the condition out
 */
export function withValue(text, field, value) {
  const others = (text.match(TOKEN) ?? []).filter((token) => {
    const term = termOf(token);
    return term === null || !isChoice(term, field);
  });
  if (value === "") return others.join(" ");
  // A quote cannot be asked for: what follows it is looked for instead of nothing.
  const plain = value.replaceAll('"', "");
  return [...others, `${field}:${/\s/.test(plain) ? `"${plain}"` : plain}`].join(" ");
}

/**
 * @param {Term} term
 * @param {string} field
 */
function isChoice(term, field) {
  return term.field === field && term.op === ":" && !term.negate;
}
