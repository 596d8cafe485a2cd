// What each cell of the fleet map shows, straight from a host's columns; pure, and fast enough for ten
// thousand GPUs in every tick.

import { stepOf } from "../state/gpu-metrics.js";
import { GPU_STATES, STATES } from "../state/states.js";

/** @import { Faults } from "../state/states.js" */
/** @import { Gpus, Host, Metric } from "../types.js" */

/** How the states that have a cell of their own are drawn. */
export const CELLS = STATES.flatMap(({ cell }) => cell ?? []);
/** A cell's code is the index of its kind, 0 to 5 being the steps of the ramp; marks are added. */
export const KINDS = ["step0", "step1", "step2", "step3", "step4", "step5", "unmeasured", ...CELLS.map(({ kind }) => kind)];
export const KIND = 15;
export const DIM = 16;
/** Badges that the map draws, with the bit of each; there is room for three. */
export const MARKS = GPU_STATES.filter(({ badge }) => badge?.shape).map((state, number) => ({ state, bit: 32 << number }));
export const EMPTY = 255;
const UNMEASURED = KINDS.indexOf("unmeasured");
const FREE = KINDS.indexOf("free");
const IDLE = KINDS.indexOf("idle");
const ERROR = KINDS.indexOf("error");
const ASLEEP = KINDS.indexOf("asleep");
const OLD = KINDS.indexOf("old");
const MISSING = KINDS.indexOf("missing");
/** Kinds that colour a whole host, the worst first. */
const DOMINANT = CELLS.filter(({ dominates }) => dominates).map(({ kind }) => KINDS.indexOf(kind));
const ALL_MARKS = MARKS.reduce((all, { bit }) => all | bit, 0);

/** The column of each metric, and the column that it is a share of. @type {Record<Metric, [keyof Gpus, keyof Gpus | null]>} */
const COLUMNS = {
  util: ["utilization_percent", null],
  mem: ["memory_used_mib", "memory_total_mib"],
  temp: ["temperature_celsius", null],
  power: ["power_watts", "power_limit_watts"],
};

/**
 * Rows of whole GPUs, without MIG slices.
 * @param {Gpus} gpus
 */
export function cardRows(gpus) {
  return [...gpus.index.keys()].filter((row) => gpus.parent?.[row] == null);
}

/**
 * Writes the codes of a host's GPUs to `codes`. MIG slices have no cell of their own: their GPU shows
 * held idle if one of them is, free if all are, and else the busiest where it reports nothing itself.
 * @param {Gpus | undefined} gpus
 * @param {Faults} faults
 * @param {Host["state"]} state as it is shown
 * @param {Metric} metric
 * @param {boolean[] | null} mask the GPUs that the filter shows; empty for all, null for none
 * @param {Uint8Array} codes
 */
export function writeCodes(gpus, faults, state, metric, mask, codes) {
  codes.fill(state !== "missing" ? EMPTY : mask === null ? DIM | MISSING : MISSING);
  if (gpus === undefined) return;
  // Looked up once: in the loop, that would take longer than all the rest.
  const { parent, use, state: states } = gpus;
  const [valueColumn, wholeColumn] = COLUMNS[metric];
  const values = /** @type {(number | null)[] | undefined} */ (gpus[valueColumn]);
  const wholes = /** @type {(number | null)[] | undefined} */ (wholeColumn === null ? undefined : gpus[wholeColumn]);
  const rows = gpus.index.length;
  let slot = 0;
  let parts = 0;
  for (let row = 0; row < rows; row += 1) {
    if (parent?.[row] != null) {
      parts += 1;
      continue;
    }
    if (slot === codes.length) continue;
    let code = mask === null || (mask.length > 0 && !mask[row]) ? DIM : 0;
    if (state === "live") code |= marksOf(gpus, row, faults);
    if (state !== "live") code |= OLD;
    else if (states[row] !== "ok") code |= kindOf(states[row]);
    else {
      const kind = use?.[row];
      code |= kind === "free" ? FREE
        : kind === "held_idle" ? IDLE
        : (stepOf(metric, values?.[row], wholes?.[row]) ?? UNMEASURED);
    }
    codes[slot] = code;
    slot += 1;
  }
  if (parts > 0) addSlices(gpus, state, metric, mask, codes);
}

/**
 * @param {Gpus} gpus
 * @param {number} row
 * @param {Faults} faults
 */
function marksOf(gpus, row, faults) {
  let marks = 0;
  for (let at = 0; at < MARKS.length; at += 1) {
    const mark = MARKS[at];
    if (mark?.state.holds(gpus, row, faults)) marks |= mark.bit;
  }
  return marks;
}

/** The kind of a GPU that is not ok. @param {string | null | undefined} state */
function kindOf(state) {
  const kind = KINDS.indexOf(state ?? "error");
  return kind < 0 ? ERROR : kind;
}

/**
 * @param {Gpus} gpus
 * @param {Host["state"]} state
 * @param {Metric} metric
 * @param {boolean[] | null} mask
 * @param {Uint8Array} codes
 */
function addSlices(gpus, state, metric, mask, codes) {
  cardRows(gpus).slice(0, codes.length).forEach((card, slot) => {
    const slices = [...gpus.index.keys()].filter((row) => gpus.parent?.[row] === card);
    if (slices.length === 0) return;
    let code = codes[slot] ?? EMPTY;
    if (slices.some((row) => mask?.[row])) code &= ~DIM;
    const uses = new Set(slices.map((row) => gpus.use?.[row]));
    const use = uses.has("held_idle") ? IDLE : uses.has("free") && uses.size === 1 ? FREE : null;
    const busiest = (code & KIND) === UNMEASURED && metric === "util" ? stepOf(metric, most(gpus, slices), null) : null;
    const kind = use ?? busiest;
    codes[slot] = kind !== null && state === "live" && (code & KIND) <= UNMEASURED ? (code & ~KIND) | kind : code;
  });
}

/**
 * The highest utilization of these rows; null when none reports one.
 * @param {Gpus} gpus
 * @param {number[]} rows
 */
function most(gpus, rows) {
  const known = rows.map((row) => gpus.utilization_percent?.[row] ?? null).filter((percent) => percent !== null);
  return known.length === 0 ? null : Math.max(...known);
}

/**
 * One code for a whole host: its worst problem; free when all GPUs are, held idle when at least half
 * of the others are; otherwise the mean of the ramp's steps.
 * @param {Uint8Array} codes of its GPUs
 */
export function hostCode(codes) {
  const counts = new Array(KIND + 1).fill(0);
  let gpus = 0;
  let marks = 0;
  let dim = DIM;
  let steps = 0;
  for (const code of codes) {
    if (code === EMPTY) continue;
    gpus += 1;
    counts[code & KIND] += 1;
    if ((code & KIND) < UNMEASURED) steps += code & KIND;
    marks |= code & (ALL_MARKS);
    dim &= code;
  }
  if (gpus === 0) return EMPTY;
  marks |= dim;
  const of = (/** @type {number} */ kind) => counts[kind];
  for (const kind of DOMINANT) if (of(kind) > 0) return marks | kind;
  if (of(FREE) === gpus) return marks | FREE;
  if (2 * of(IDLE) >= gpus - of(FREE) && of(IDLE) > 0) return marks | IDLE;
  const measured = counts.slice(0, UNMEASURED).reduce((sum, n) => sum + n, 0);
  return marks | (measured > 0 ? Math.round(steps / measured) : of(ASLEEP) > 0 ? ASLEEP : UNMEASURED);
}
