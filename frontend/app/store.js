// The document as the page holds it: fed by messages, asked by views; pure, time is handed in.

import { byName, sortedHosts } from "./order.js";
import { isObject, merge } from "./patch.js";
import { gpuRows, mayReshape, tableProblems } from "./rows.js";
import { overview, summarize } from "./summary.js";

/** @import { Fleet, GpuRow, Host, HostSummary, Json, Message, Overview, Sort } from "./types.js" */

export class Store {
  /** @type {Fleet | null} */
  fleet = null;
  /** Sequence of the newest message; null before the first. */
  #sequence = /** @type {number | null} */ (null);
  /** Names of hosts whose document changed since takeDirty(). */
  #dirty = /** @type {Set<string>} */ (new Set());
  #names = /** @type {string[] | null} */ (null);
  #rows = /** @type {Map<string, GpuRow[]>} */ (new Map());
  #summaries = /** @type {Map<string, HostSummary>} */ (new Map());
  /** What keeps tables from being drawn: looked for only where a patch may have changed it. */
  #tables = /** @type {Map<string, string[]>} */ (new Map());
  #overview = /** @type {Overview | null} */ (null);

  /**
   * Takes a message in. False when it cannot be applied (a gap, or a patch before any fleet):
   * the document is then as it was, and a fresh one must be asked for.
   * @param {Message} message
   * @returns {boolean}
   */
  take(message) {
    if (message.type === "fleet") {
      this.fleet = /** @type {any} */ (merge(undefined, message.fleet));
      this.#names = null;
      this.#rows.clear();
      this.#summaries.clear();
      this.#tables.clear();
      for (const name of this.names()) this.#dirty.add(name);
    } else if (message.type !== "patch") {
      return true; // A newer server's message: nothing of ours.
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
      const known = this.fleet?.hosts[name] !== undefined;
      if (known !== (hosts[name] !== null)) this.#names = null;
      this.#dirty.add(name);
      this.#rows.delete(name);
      this.#summaries.delete(name);
      const sound = this.#tables.get(name)?.length === 0;
      if (!sound || mayReshape(this.fleet?.hosts[name], hosts[name])) this.#tables.delete(name);
    }
    merge(/** @type {any} */ (this.fleet), patch);
  }

  /** Names of the hosts in natural order: node2 before node10. */
  names() {
    this.#names ??= byName(Object.keys(this.fleet?.hosts ?? {}));
    return this.#names;
  }

  /** The hosts that changed since the last call. */
  takeDirty() {
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
   * @returns {GpuRow[]}
   */
  rows(name) {
    let rows = this.#rows.get(name);
    if (rows === undefined) {
      const host = this.host(name);
      rows = host === undefined ? [] : gpuRows(host);
      this.#rows.set(name, rows);
    }
    return rows;
  }

  /**
   * @param {string} name
   * @returns {HostSummary}
   */
  summary(name) {
    let summary = this.#summaries.get(name);
    if (summary === undefined) {
      const host = this.host(name) ?? { state: /** @type {const} */ ("missing") };
      const tables = this.#tables.get(name) ?? tableProblems(host);
      this.#tables.set(name, tables);
      summary = summarize(name, host, this.fleet?.now ?? 0, tables);
      this.#summaries.set(name, summary);
    }
    return summary;
  }

  overview() {
    this.#overview ??= overview(this.names().map((name) => this.summary(name)));
    return this.#overview;
  }

  /** Whether the web server hears the broker; when not, nothing here is live. */
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
   * Names in the order asked for.
   * @param {Sort} sort
   * @returns {string[]}
   */
  sorted(sort) {
    return sortedHosts(this.names(), sort, (name) => this.summary(name));
  }
}
