// The document as the page holds it, and what is derived from it for the views; pure.

import { byName, mostFirst } from "./sort-order.js";
import { isObject, merge } from "./patch.js";
import { gpuRows } from "./columns.js";
import { findingsOf } from "./findings.js";
import { COUNTED_COLUMNS, findHottest, heldGibHours, meanUtilization, overview, summarize } from "./summary.js";
import { mayReshape, tableProblems } from "./tables.js";

/** @import { Tables } from "./tables.js" */
/** @import { Finding, Fleet, GpuRow, Gpus, Host, HostSummary, Json, Message, Overview, Sort } from "../types.js" */

/**
 * What has been derived from a host; null where that is yet to be done.
 * @typedef {object} Known
 * @property {Tables} tables checked again only when a patch may change their shape
 * @property {Finding[] | null} findings
 * @property {HostSummary | null} summary
 * @property {boolean} hottestIsFound whether the hottest GPU in the summary is current
 * @property {GpuRow[] | null} rows
 */

const NEVER_HEARD = /** @type {Host} */ ({ state: "missing" });

export class Store {
  /** @type {Fleet | null} */
  fleet = null;
  /** Sequence of the newest message; null before the first. */
  #sequence = /** @type {number | null} */ (null);
  /** Names of hosts whose document changed since drainDirty(). */
  #dirty = /** @type {Set<string>} */ (new Set());
  #names = /** @type {string[] | null} */ (null);
  #known = /** @type {Map<string, Known>} */ (new Map());
  #overview = /** @type {Overview | null} */ (null);

  /**
   * Applies a message. Returns false when that is impossible (a gap, or a patch before any fleet):
   * the document is then unchanged, and the link must be restarted for a fresh one.
   * @param {Message} message
   * @returns {boolean}
   */
  apply(message) {
    if (message.type === "fleet") {
      this.fleet = /** @type {any} */ (merge(undefined, message.fleet));
      this.#names = null;
      this.#known.clear();
      for (const name of this.names()) this.#dirty.add(name);
    } else if (message.type !== "patch") {
      return true; // Of a newer server; this page has no use for it.
    } else if (this.fleet === null || message.sequence !== (this.#sequence ?? 0) + 1) {
      return false;
    } else {
      this.#patch(message.patch);
    }
    this.#sequence = message.sequence;
    this.#overview = null;
    return true;
  }

  /** @param {Json} patch */
  #patch(patch) {
    const hosts = isObject(patch) && isObject(patch.hosts) ? patch.hosts : {};
    for (const name of Object.keys(hosts)) {
      const host = this.fleet?.hosts[name];
      if ((host !== undefined) !== (hosts[name] !== null)) this.#names = null;
      this.#dirty.add(name);
      const known = this.#known.get(name);
      if (known === undefined) continue;
      if (isMalformed(known.tables) || mayReshape(host, hosts[name])) this.#known.delete(name);
      else outdate(known, /** @type {any} */ (hosts[name]));
    }
    merge(/** @type {any} */ (this.fleet), patch);
  }

  /** Names of the hosts in natural order: node2 before node10. */
  names() {
    this.#names ??= byName(Object.keys(this.fleet?.hosts ?? {}));
    return this.#names;
  }

  /** The hosts that changed since the last call. */
  drainDirty() {
    const dirty = this.#dirty;
    this.#dirty = new Set();
    return dirty;
  }

  /** @param {string} name */
  host(name) {
    return this.fleet?.hosts[name];
  }

  /**
   * @param {string} name
   * @param {Host} host
   * @returns {Known}
   */
  #of(name, host) {
    let known = this.#known.get(name);
    if (known === undefined) {
      known = { tables: tableProblems(host), findings: null, summary: null, hottestIsFound: true, rows: null };
      this.#known.set(name, known);
    }
    return known;
  }

  /**
   * The same array until a finding changes: searches in it are cached.
   * @param {Host} host
   * @param {Known} known
   */
  #findings(host, known) {
    known.findings ??= findingsOf(host, known.tables);
    return known.findings;
  }

  /** A host's table of GPUs, if it can be drawn. @param {string} name */
  gpus(name) {
    const host = this.host(name);
    return host?.gpus?.index === undefined || this.#of(name, host).tables.gpus !== null ? undefined : host.gpus;
  }

  /** A host's table of processes, if it can be drawn. @param {string} name */
  processes(name) {
    const host = this.host(name);
    return host?.processes?.gpu === undefined || this.#of(name, host).tables.processes !== null ? undefined : host.processes;
  }

  /**
   * @param {string} name
   * @returns {GpuRow[]}
   */
  rows(name) {
    const host = this.host(name) ?? NEVER_HEARD;
    const known = this.#of(name, host);
    known.rows ??= gpuRows(host, this.#findings(host, known));
    return known.rows;
  }

  /**
   * @param {string} name
   * @returns {HostSummary}
   */
  summary(name) {
    const before = this.#known.get(name);
    if (before?.hottestIsFound && before.summary !== null) return before.summary;
    const host = this.host(name) ?? NEVER_HEARD;
    const known = this.#of(name, host);
    if (known.summary === null) known.summary = summarize(name, host, known.tables, this.#findings(host, known));
    else if (known.summary.cards > 0) findHottest(known.summary, /** @type {Gpus} */ (host.gpus));
    known.hottestIsFound = true;
    return known.summary;
  }

  overview() {
    this.#overview ??= overview(this.names().map((name) => this.summary(name)), this.brokerLost());
    return this.#overview;
  }

  /** Whether the web server has lost the broker; then nothing here is live. */
  brokerLost() {
    return this.fleet?.broker?.state === "lost";
  }

  /**
   * A host's state as it is shown.
   * @param {string} name
   * @returns {Host["state"]}
   */
  stateOf(name) {
    const state = this.host(name)?.state ?? "missing";
    return state === "live" && this.brokerLost() ? "stale" : state;
  }

  /**
   * Host names in the given order.
   * @param {Sort} sort
   * @returns {string[]}
   */
  sorted(sort) {
    if (sort === "host") return this.names();
    return mostFirst(this.names(), (name) => {
      if (this.host(name)?.state !== "live") return -1;
      if (sort === "free") return this.summary(name).free;
      if (sort === "idle") return heldGibHours(this.gpus(name), this.fleet?.now ?? 0);
      return meanUtilization(this.gpus(name)) ?? -0.5;
    });
  }
}

/** @param {Tables} tables */
function isMalformed({ gpus, processes, findings }) {
  return gpus !== null || processes !== null || findings !== null;
}

/**
 * Drops what a patch outdates. Deriving all of 1,250 hosts again in every tick would take 2 ms.
 * @param {Known} known
 * @param {Partial<Host>} patch
 */
function outdate(known, { state, findings, gpus }) {
  known.rows = null;
  if (findings !== undefined || gpus?.parent !== undefined) known.findings = null;
  if (state !== undefined || known.findings === null) known.summary = null;
  if (gpus === undefined) return;
  for (const column in gpus) if (COUNTED_COLUMNS.has(column)) known.summary = null;
  if ("temperature_celsius" in gpus) known.hottestIsFound = false;
}
