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
 * The label of each GPU, by the rule of wire/gpu_labels.py: its index; "0.2" is the MIG slice with
 * index 2 on GPU 0, Device 2 of `nvidia-smi -L`. A row stands in for an index not known.
 * @param {Host} host
 * @returns {string[]}
 */
export function gpuLabels(host) {
  const known = (host.gpus?.index ?? []).map((own, row) => own ?? row);
  return known.map((own, row) => {
    const of = host.gpus?.parent?.[row];
    return of == null ? String(own) : `${known[of] ?? of}.${own}`;
  });
}

/**
 * Whether a UUID is offered to paste: of this form it means the same to a shell, to CUDA and in a list
 * between commas. The same rule as api/v1/free.
 * @param {string | null} uuid
 * @returns {uuid is string}
 */
export function isPastable(uuid) {
  return uuid !== null && /^[A-Za-z0-9/._-]+$/.test(uuid);
}

/**
 * What tells the GPUs of a host apart when their rows change: the UUID; for another one with the same
 * UUID "UUID 2". null where it is not known.
 * @param {(string | null)[]} uuids
 * @returns {(string | null)[]}
 */
export function gpuKeys(uuids) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  return uuids.map((uuid) => {
    if (uuid === null) return null;
    const number = (seen.get(uuid) ?? 0) + 1;
    seen.set(uuid, number);
    return number === 1 ? uuid : `${uuid} ${number}`;
  });
}
