// Which hosts the query and the finder show, and which of their GPUs are not dimmed.

import { find, isStillFree } from "./finder.js";
import { match } from "./match.js";
import { parse } from "./query.js";

/** @import { Store } from "../state/store.js" */
/** @import { Need, Offer, View } from "../types.js" */

export class Filter {
  query = parse("");
  offers = /** @type {Offer[]} */ ([]);
  /** When this text changes, any mask may have changed. */
  key = "";
  #text = "";
  #need = /** @type {Need | null} */ (null);
  /** Rows on offer by host; null when the finder is not in use or finds nothing. */
  #picks = /** @type {Map<string, Set<number>> | null} */ (null);

  /** @param {Store} store */
  constructor(store) {
    this.store = store;
  }

  /** Whether the filter leaves anything out. */
  get active() {
    return this.query.terms.length > 0 || this.#picks !== null;
  }

  /**
   * Updates the filter from the view and the store; returns whether any mask may have changed.
   * @param {View} view
   * @param {boolean} live whether the data are current
   * @param {boolean} held whether the viewer is using the answer: offers that are still free then stay
   */
  update({ q, need }, live, held) {
    if (q !== this.#text) this.query = parse(q);
    this.#text = q;
    const hosts = live ? (this.store.fleet?.hosts ?? {}) : {};
    const same = held && need === this.#need && this.offers.length > 0;
    if (!same || !this.offers.every((offer) => isStillFree(hosts, offer))) {
      this.offers = need === null ? [] : find(hosts, need);
    }
    this.#need = need;
    this.#picks = this.offers.length === 0
      ? null
      : new Map(this.offers.map(({ host, gpus }) => [host, new Set(gpus.map(({ row }) => row))]));
    const picked = this.offers.map(({ host, devices }) => `${host} ${devices}`);
    const key = [q, this.store.brokerLost(), ...picked].join("\n");
    const changed = key !== this.key;
    this.key = key;
    return changed;
  }

  /**
   * One boolean per GPU of a host; empty for all of them; null when the host is not shown.
   * @param {string} name
   * @returns {boolean[] | null}
   */
  mask(name) {
    const { store } = this;
    const gpus = store.gpus(name);
    const found = this.query.terms.length === 0 ? [] : match(this.query, {
      summary: store.summary(name),
      state: store.stateOf(name),
      hostname: store.host(name)?.system?.hostname ?? "",
      gpus,
      processes: store.processes(name),
    });
    if (found === null || this.#picks === null) return found;
    const picked = this.#picks.get(name);
    return gpus?.index.map((_, row) => (found[row] ?? true) && (picked?.has(row) ?? false)) ?? [];
  }
}
