// The states of GPUs and hosts, each with all that the page says and draws of it: counts, tiles,
// filter buttons, search, help, legend and fleet map follow from this one table.

/** @import { Gpus, HostSummary } from "../types.js" */

/** The kinds of findings of each GPU that need attention, by its row. @typedef {Map<number, Set<string>>} Faults */

/**
 * How a GPU in a state is drawn, as a cell of the list (class `kind`) and of the map.
 * @typedef {object} Cell
 * @property {string} kind
 * @property {string} [ground] colour token of the whole cell
 * @property {string} [frame] colour token of its outline
 * @property {string} [ink] colour token of its lines
 * @property {number[]} [lines] ends of lines, in shares of the size: x1, y1, x2, y2, and so on
 * @property {boolean} [dominates] whether one such GPU colours a host that is a single cell of the map
 */

/**
 * @typedef {object} State
 * @property {string} key what summaries count it under
 * @property {string[]} query the words for it after `state:`; the first is shown, the others are aliases
 * @property {"gpu" | "host"} level
 * @property {string} words after a number and its noun: "2 GPUs lost"
 * @property {string} [name] for the legend; `words` if absent
 * @property {string} [noun] "GPU" or "host" if absent
 * @property {string} glyph
 * @property {"free" | "amber" | "red" | "muted"} hue
 * @property {boolean} [problem] whether `state:problems` finds it
 * @property {boolean} [attention] whether the tile "Needs attention" counts it
 * @property {string} [button] its button in the filter bar
 * @property {Cell} [cell]
 * @property {"swatch" | "glyph" | "badge"} [legend] how the legend of the map shows it
 */

/**
 * @typedef {object} GpuTest
 * @property {(gpus: Gpus, row: number, faults: Faults) => boolean} holds of a GPU of a live host, or
 * of a MIG slice of one
 * @property {(keyof Gpus)[]} columns what `holds` reads beside `parent`; none where the findings decide
 * @property {boolean} [glyphAlone] whether a narrow cell has no room for the words
 * @property {{ corner: boolean, shape: "triangle" | "square" | null }} [badge] a mark on a cell that
 * is drawn by another state; its shape on the map, null for none
 */

/** @typedef {State & GpuTest} GpuState */
/** @typedef {State & { holds: (summary: HostSummary, state: string) => boolean }} HostState */

const WARNING = "⚠\uFE0E";
/** Findings about a card itself, which make it unhealthy; HEALTH_KINDS of wire/document.py. */
const HEALTH_KINDS = ["xid", "ecc", "row_remap", "page_retirement", "recovery"];
/** Findings of GPUs that are counted under a state of their own. */
const COUNTED_KINDS = new Set(["gpu_lost", "gpu_error", "gpu_hot", "gpu_stalled", ...HEALTH_KINDS]);

/** @type {GpuState[]} */
export const GPU_STATES = [
  {
    key: "free", query: ["free"], level: "gpu", words: "free", glyph: "", hue: "free",
    button: "Free", legend: "swatch",
    cell: { kind: "free", frame: "green" },
    holds: ({ use }, row) => use?.[row] === "free", columns: ["use"],
  },
  {
    key: "busy", query: ["busy"], level: "gpu", words: "busy", glyph: "", hue: "muted",
    holds: ({ use }, row) => use?.[row] === "busy", columns: ["use"],
  },
  {
    key: "heldIdle", query: ["held_idle", "idle"], level: "gpu", words: "held idle", glyph: "▨", hue: "amber",
    attention: true, button: "Held idle", legend: "swatch",
    cell: { kind: "idle", ground: "amber-ground", ink: "amber", lines: [0, 1, 1, 0] },
    holds: ({ use }, row) => use?.[row] === "held_idle", columns: ["use"],
  },
  {
    key: "lost", query: ["lost"], level: "gpu", words: "lost", glyph: "✕", hue: "red",
    problem: true, attention: true, legend: "glyph",
    cell: { kind: "lost", ground: "red-ground", ink: "red", lines: [0.1, 0.1, 0.9, 0.9, 0.1, 0.9, 0.9, 0.1], dominates: true },
    holds: (gpus, row) => brokenState(gpus, row) === "lost", columns: ["state"],
  },
  {
    key: "error", query: ["error"], level: "gpu", words: "with an error", name: "error", glyph: "!", hue: "red",
    problem: true, attention: true, legend: "glyph",
    cell: { kind: "error", ground: "red-ground", ink: "red", lines: [0.5, 0, 0.5, 0.6, 0.5, 0.75, 0.5, 1], dominates: true },
    holds: (gpus, row) => brokenState(gpus, row) === "error", columns: ["state"],
  },
  {
    key: "asleep", query: ["asleep"], level: "gpu", words: "asleep", glyph: "☾", hue: "muted",
    legend: "swatch", glyphAlone: true,
    cell: { kind: "asleep", frame: "muted", ink: "muted", lines: [0.35, 0.65, 0.65, 0.65] },
    holds: ({ state }, row) => state?.[row] === "asleep", columns: ["state"],
  },
  {
    key: "unhealthy", query: ["unhealthy", "ailing"], level: "gpu", words: "unhealthy", glyph: WARNING, hue: "red",
    problem: true, attention: true, legend: "badge",
    badge: { corner: true, shape: "square" },
    holds: isUnhealthy, columns: ["health_reasons", "state"],
  },
  {
    key: "hot", query: ["hot"], level: "gpu", words: "hot", glyph: "▲", hue: "red",
    attention: true, button: "Hot", legend: "glyph",
    badge: { corner: false, shape: "triangle" },
    holds: (gpus, row, faults) => faults.size > 0 && kindsOf(gpus, row, faults).includes("gpu_hot"), columns: [],
  },
  {
    key: "stalled", query: ["stalled", "lowpower"], level: "gpu", words: "possibly stuck", glyph: "?", hue: "amber",
    attention: true, badge: { corner: true, shape: null },
    holds: (gpus, row, faults) => faults.size > 0 && kindsOf(gpus, row, faults).includes("gpu_stalled"), columns: [],
  },
  {
    key: "faulty", query: ["gpu_problems"], level: "gpu", words: "with problems", glyph: WARNING, hue: "amber",
    problem: true, attention: true, badge: { corner: true, shape: null },
    holds: (gpus, row, faults) => faults.size > 0 && kindsOf(gpus, row, faults).some((kind) => !COUNTED_KINDS.has(kind)), columns: [],
  },
];

/** Of hosts; `state` is what the page shows a host as. @type {HostState[]} */
export const HOST_STATES = [
  {
    key: "stale", query: ["stale"], level: "host", words: "stale", glyph: "◷", hue: "red",
    problem: true, attention: true, legend: "swatch",
    cell: { kind: "old", ground: "old-ground", ink: "old", lines: [0.2, 0.5, 0.8, 0.5], dominates: true },
    holds: (_, state) => state === "stale",
  },
  {
    key: "missing", query: ["missing"], level: "host", words: "missing", glyph: "◌", hue: "red",
    problem: true, attention: true, legend: "swatch",
    cell: { kind: "missing", ink: "muted", lines: [0.35, 0.5, 0.65, 0.5], dominates: true },
    holds: (_, state) => state === "missing",
  },
  {
    key: "conflict", query: ["conflict"], level: "host", noun: "host name", words: "used twice", glyph: "⇄", hue: "red",
    problem: true, attention: true,
    holds: (_, state) => state === "conflict",
  },
  {
    key: "problems", query: ["host_problems"], level: "host", words: "with problems", glyph: WARNING, hue: "amber",
    problem: true, attention: true,
    holds: ({ isFaulty }, state) => state === "live" && isFaulty,
  },
];

export const STATES = [...GPU_STATES, ...HOST_STATES];

/** Finds every host with a problem, and the GPUs that have one. */
export const PROBLEMS = "problems";
const PROBLEMS_ALIAS = "trouble";

/** What may follow `state:`, without aliases. */
export const STATE_WORDS = [...STATES.map(wordOf), PROBLEMS];

/** @type {Map<string, GpuState>} */
const GPU_STATE_BY_WORD = new Map(GPU_STATES.flatMap((state) => state.query.map((word) => [word, state])));
/** @type {Map<string, HostState>} */
const HOST_STATE_BY_WORD = new Map(HOST_STATES.flatMap((state) => state.query.map((word) => [word, state])));

/** @param {string} word */
export function gpuState(word) {
  return GPU_STATE_BY_WORD.get(word);
}

/** @param {string} word */
export function hostState(word) {
  return HOST_STATE_BY_WORD.get(word);
}

/** The word that a search shows for a state. @param {State} state */
export function wordOf({ query }) {
  return query[0] ?? "";
}

/**
 * The word of a state that may be written in several ways; undefined when there is no such state.
 * @param {string} word
 */
export function canonicalWord(word) {
  if (word === PROBLEMS || word === PROBLEMS_ALIAS) return PROBLEMS;
  const state = gpuState(word) ?? hostState(word);
  return state && wordOf(state);
}

/**
 * Whether a host has a problem of its own, so that all of its GPUs match.
 * @param {HostSummary} summary
 * @param {string} state as it is shown
 */
export function hostHasProblem(summary, state) {
  return HOST_STATES.some(({ problem, holds }) => problem && holds(summary, state));
}

/**
 * @param {Gpus} gpus
 * @param {number} row
 * @param {Faults} faults
 */
export function gpuHasProblem(gpus, row, faults) {
  return GPU_STATES.some(({ problem, holds }) => problem && holds(gpus, row, faults));
}

/**
 * The kinds of faults of a GPU; a MIG slice has those of its GPU, too.
 * @param {Gpus} gpus
 * @param {number} row
 * @param {Faults} faults
 */
function kindsOf({ parent }, row, faults) {
  return [...(faults.get(row) ?? []), ...(faults.get(parent?.[row] ?? -1) ?? [])];
}

/**
 * "lost" or "error" if a GPU, or the one that a MIG slice is part of, is in this state.
 * @param {Gpus} gpus
 * @param {number} row
 */
function brokenState({ state, parent }, row) {
  const own = state?.[row] ?? "error";
  if (own === "lost") return own;
  const of = parent?.[row];
  const card = of == null ? own : (state?.[of] ?? "error");
  return card === "lost" ? card : own === "error" || card === "error" ? "error" : null;
}

/**
 * Asked of every GPU in every tick: unlike healthReasonsOf() it makes no array.
 * @param {Gpus} gpus
 * @param {number} row
 */
function isUnhealthy(gpus, row) {
  const { health_reasons, parent } = gpus;
  return (health_reasons?.[parent?.[row] ?? row]?.length ?? 0) > 0 && brokenState(gpus, row) === null;
}

/**
 * Why a GPU is unhealthy, in words; a MIG slice shares the reasons of its GPU.
 * @param {Gpus} gpus
 * @param {number} row
 */
export function healthReasonsOf({ health_reasons, parent }, row) {
  return health_reasons?.[parent?.[row] ?? row] ?? [];
}
