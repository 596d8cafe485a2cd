// What the query and the finder leave of the fleet: hosts that are shown, GPUs that are not dimmed.

import { find, stands } from "./finder.js";
import { match } from "./match.js";
import { parse } from "./query.js";

/** @import { Store } from "../state/store.js" */
/** @import { Need, Offer, View } from "../types.js" */

export class Filter {
  query = parse("");
  offers = /** @type {Offer[]} */ ([]);
  /** Another text means that every mask may be another. */
  key = "";
  #text = "";
  #need = /** @type {Need | null} */ (null);
  /** Rows on offer, of each host that has some; null: nothing is looked for, or found. */
  #picks = /** @type {Map<string, Set<number>> | null} */ (null);

  /** @param {Store} store */
  constructor(store) {
    this.store = store;
  }

  /** Whether anything is left out. */
  get active() {
    return this.query.terms.length > 0 || this.#picks !== null;
  }

  /**
   * Brings the filter up to the view and the store; whether every mask may have changed.
   * @param {View} view
   * @param {boolean} live whether anything can be said of now
   * @param {boolean} held whether somebody is about to take an offer: what still stands, stays
   */
  update({ q, need }, live, held) {
    if (q !== this.#text) this.query = parse(q);
    this.#text = q;
    const hosts = live ? (this.store.fleet?.hosts ?? {}) : {};
    const same = held && need === this.#need && this.offers.length > 0;
    if (!same || !this.offers.every((offer) => stands(hosts, offer))) {
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
   * One boolean per GPU of a host; none where all are wanted; null when the host is not shown.
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
