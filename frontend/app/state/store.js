// The document as the page holds it, and what is derived from it for the views; pure.

import { byName, mostFirst } from "./sort-order.js";
import { isObject, merge } from "./patch.js";
import { gpuRows, mayReshape, tableProblems } from "./columns.js";
import { COUNTED_COLUMNS, HEAT_COLUMNS, countHeat, heldGibHours, meanUtilization, overview, summarize } from "./summary.js";

/** @import { Fleet, GpuRow, Gpus, Host, HostSummary, Json, Message, Overview, Sort } from "../types.js" */

/** @import { Tables } from "./columns.js" */

/**
 * What has been derived from a host; null where that is yet to be done.
 * @typedef {object} Known
 * @property {Tables} tables checked again only when a patch may change their shape
 * @property {HostSummary | null} summary
 * @property {boolean} heatIsCounted whether the heat in the summary is current
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
      const { gpus, processes } = known.tables;
      if (gpus !== null || processes !== null || mayReshape(host, hosts[name])) this.#known.delete(name);
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
      known = { tables: tableProblems(host), summary: null, heatIsCounted: true, rows: null };
      this.#known.set(name, known);
    }
    return known;
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
    known.rows ??= gpuRows(host);
    return known.rows;
  }

  /**
   * @param {string} name
   * @returns {HostSummary}
   */
  summary(name) {
    const before = this.#known.get(name);
    if (before?.heatIsCounted && before.summary !== null) return before.summary;
    const host = this.host(name) ?? NEVER_HEARD;
    const known = this.#of(name, host);
    if (known.summary === null) known.summary = summarize(name, host, known.tables);
    else if (known.summary.cards > 0) countHeat(known.summary, /** @type {Gpus} */ (host.gpus));
    known.heatIsCounted = true;
    return known.summary;
  }

  overview() {
    this.#overview ??= overview(this.names().map((name) => this.summary(name)));
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

/**
 * Drops what a patch outdates. Deriving all of 1,250 hosts again in every tick would take 2 ms.
 * @param {Known} known
 * @param {Partial<Host>} patch
 */
function outdate(known, { state, problems, gpus = /** @type {any} */ ({}) }) {
  known.rows = null;
  if (state !== undefined || problems !== undefined || COUNTED_COLUMNS.some((column) => column in gpus)) known.summary = null;
  else if (HEAT_COLUMNS.some((column) => column in gpus)) known.heatIsCounted = false;
}
