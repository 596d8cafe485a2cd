// The host list: which hosts are shown, in what order, and the data of each row.

import { VirtualList } from "./virtual-list.js";
import { pathOf } from "../state/last-hour.js";
import { SMALL_FLEET } from "../map/layout.js";
import { VisibleGpus } from "../filter/visible.js";
import { ORDER_SECONDS } from "../state/sort-order.js";
import { HostRow } from "./host-row.js";

/** @import { Filter } from "../filter/filter.js" */
/** @import { Recent } from "../state/last-hour.js" */
/** @import { Store } from "../state/store.js" */
/** @import { GpuRow, View } from "../types.js" */

/** Nobody reads more hosts on paper. */
const MOST_PRINTED = 200;
const MIN_CELLS = 4;
const MAX_CELLS = 8;

export class HostList {
  #stretches;
  #masks;
  /** The store's own array. */
  #names = /** @type {string[]} */ ([]);
  #orderedAt = -Infinity;
  #cells = 0;
  /** Hosts that start open in a small fleet. @type {Set<string>} */
  #openByDefault = new Set();
  #now = 0;

  /**
   * @param {HTMLElement} container
   * @param {Store} store
   * @param {Filter} filter
   * @param {Recent} recent
   * @param {() => View} view
   * @param {(open: Set<string>, opened: boolean) => void} onOpen called with all open hosts
   */
  constructor(container, store, filter, recent, view, onOpen) {
    this.container = container;
    this.store = store;
    this.recent = recent;
    this.view = view;
    this.onOpen = onOpen;
    this.#masks = new VisibleGpus(filter);
    this.#stretches = new VirtualList(container, {
      make: (name) => new HostRow(name, (open) => this.#toggled(name, open)),
      isShown: (name) => this.mask(name) !== null,
      draw: (row) => this.#draw(row),
      drop: (name) => recent.drop(pathOf(name)),
    });
  }

  /**
   * Updates the list from the store.
   * @param {Set<string>} dirty hosts whose document changed
   * @param {boolean} all whether to draw unchanged rows, too
   * @param {number} now unix seconds by the broker's clock
   * @param {number} clock seconds of the page's own clock
   * @returns {number} how many hosts are shown
   */
  update(dirty, all, now, clock) {
    this.#now = now;
    this.#fitCells();
    const names = this.store.names();
    const changed = names !== this.#names;
    if (changed) this.#openNew(names);
    this.#names = names;
    const unfit = this.#masks.update(names, dirty);
    if (changed || this.#mayOrder(clock)) this.#order(clock);
    this.#stretches.fit(unfit);
    for (const row of this.#stretches.rows.values()) {
      // The age of a host that is not live counts up.
      if (all || dirty.has(row.name) || this.store.stateOf(row.name) !== "live") row.old = true;
    }
    this.#stretches.draw();
    return this.#masks.shown;
  }

  /** Sorts the rows again at the next update, however recent the last time. */
  reorder() {
    this.#orderedAt = -Infinity;
  }

  /** The hosts that are open. */
  open() {
    return this.view().open ?? this.#openByDefault;
  }

  /**
   * Moves the focus to the next shown host, or the one before.
   * @param {1 | -1} step
   */
  focusNext(step) {
    const shown = this.#stretches.names.filter((name) => this.mask(name) !== null);
    const row = /** @type {HTMLElement | null | undefined} */ (document.activeElement?.closest(".host"));
    const current = shown.indexOf(row?.dataset.name ?? "");
    const next = current === -1 ? 0 : Math.min(shown.length - 1, Math.max(0, current + step));
    this.focus(shown[next] ?? "");
  }

  /** The GPUs of a host that the filter shows; empty for all, null for none. @param {string} name */
  mask(name) {
    return this.#masks.of(name);
  }

  /** @param {string} name */
  focus(name) {
    this.#stretches.fill(name)?.focus();
  }

  /**
   * Fills the first shown rows for paper.
   * @returns {number} how many more there are
   */
  fillAll() {
    return this.#stretches.fillFirst(MOST_PRINTED);
  }

  /** Empties what is far from the screen. */
  emptyFar() {
    this.#stretches.emptyFar();
  }

  /** Opens new hosts of a small fleet that have something to show. @param {string[]} names */
  #openNew(names) {
    if (names.length > SMALL_FLEET) return;
    for (const name of names) {
      const { gpus, free, state } = this.store.summary(name);
      const hasNews = gpus === 0 ? state !== "missing" : free < gpus;
      if (hasNews && !this.#names.includes(name)) this.#openByDefault.add(name);
    }
  }

  /**
   * @param {string} name
   * @param {boolean} wanted
   */
  #toggled(name, wanted) {
    if (this.open().has(name) === wanted) return;
    const open = new Set(this.open());
    if (wanted) open.add(name);
    else open.delete(name);
    this.onOpen(open, wanted);
  }

  /** As many cells in a line as the largest host needs, within limits, so that rows line up. */
  #fitCells() {
    const cells = Math.min(MAX_CELLS, Math.max(MIN_CELLS, this.store.overview().mostGpus));
    if (cells === this.#cells) return;
    this.#cells = cells;
    this.container.style.setProperty("--columns", String(cells));
  }

  /**
   * Rows do not move under the pointer or the focus, and at most every 5 s.
   * @param {number} clock
   */
  #mayOrder(clock) {
    if (this.#orderedAt === -Infinity) return true;
    if (clock - this.#orderedAt < ORDER_SECONDS || this.view().sort === "host") return false;
    return !this.container.matches(":hover, :focus-within");
  }

  /** @param {number} clock */
  #order(clock) {
    this.#orderedAt = clock;
    this.#stretches.order(this.store.sorted(this.view().sort));
  }

  /** @param {HostRow} row */
  #draw(row) {
    const { name } = row;
    const host = this.store.host(name);
    if (host === undefined) return;
    const rows = this.store.rows(name);
    const state = this.store.stateOf(name);
    const open = this.open().has(name);
    if (!open) this.recent.drop(pathOf(name));
    const drawn = {
      host,
      summary: this.store.summary(name),
      rows,
      lines: Math.max(1, Math.ceil(rows.length / this.#cells)),
      hours: open ? this.#hours(name, state === "live" ? rows : []) : new Map(),
      state,
      metric: this.view().metric,
      mask: this.mask(name) ?? [],
      now: this.#now,
      brokerLost: this.store.brokerLost(),
    };
    row.draw(drawn, open);
  }

  /**
   * The last hour of a host's GPUs, continued by their current values.
   * @param {string} name
   * @param {GpuRow[]} rows
   */
  #hours(name, rows) {
    return this.recent.hours(pathOf(name), rows.map(({ key, utilization }) => [key, utilization]), this.#now);
  }
}
