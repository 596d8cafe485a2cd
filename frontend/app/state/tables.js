// The tables of one host: whether they can be drawn, and what their GPUs are called; pure.

import { isObject } from "./patch.js";

/** @import { Host, Json } from "../types.js" */

/** The required column of each table; all others must be as long. */
const KEY_COLUMNS = /** @type {const} */ ({ gpus: "index", processes: "gpu", findings: "kind", disks: "mount" });
/** What the page cannot do without. */
const CHECKED = /** @type {const} */ (["gpus", "processes", "findings"]);

/** Why a table is malformed, in words; null when it is not. @typedef {Record<typeof CHECKED[number], string | null>} Tables */

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
 * Why a host's tables are malformed; usually null for each.
 * @param {Host} host
 * @returns {Tables}
 */
export function tableProblems(host) {
  return {
    gpus: tableProblem(host, "gpus"),
    processes: tableProblem(host, "processes"),
    findings: tableProblem(host, "findings"),
  };
}

/**
 * Whether a patch may change the length of a host's columns. It reads the patch alone: checking
 * every column of every host takes 5 ms at 1,250 hosts.
 * @param {Host | undefined} host before the patch
 * @param {Json | undefined} patch
 */
export function mayReshape(host, patch) {
  if (host === undefined || !isObject(patch)) return true;
  for (const name of CHECKED) {
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
