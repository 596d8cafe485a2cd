// The list of hosts: which are shown, in which order, and which of them are drawn now.

import { Row } from "./row.js";

/** @import { Choice } from "./choice.js" */
/** @import { Store } from "./store.js" */
/** @import { View } from "./types.js" */

const MARGIN = "300px 0px";
const ORDER_SECONDS = 5;
/** A fleet up to this size shows its processes without a click. */
const SMALL_FLEET = 8;
/** A fleet up to this size is drawn whole: it costs little, and prints and searches in the page work. */
const EAGER_FLEET = 24;
const MIN_CELLS = 4;
const MAX_CELLS = 8;

export class HostList {
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #observer;
  #orderedAt = -Infinity;
  #filterKey = "";
  #cells = 0;
  /** Hosts that a small fleet opens by itself. @type {Set<string>} */
  #openByDefault = new Set();
  #now = 0;

  /**
   * @param {HTMLElement} container
   * @param {Store} store
   * @param {Choice} choice
   * @param {() => View} view
   * @param {(open: Set<string>, opened: boolean) => void} onOpen told the whole new set
   */
  constructor(container, store, choice, view, onOpen) {
    this.container = container;
    this.store = store;
    this.choice = choice;
    this.view = view;
    this.onOpen = onOpen;
    this.#observer = new IntersectionObserver((seen) => this.#see(seen), { rootMargin: MARGIN });
  }

  /**
   * Brings the list up to the store.
   * @param {Set<string>} dirty hosts whose document changed
   * @param {boolean} all draw every row that is near, changed or not
   * @param {number} now unix seconds by the broker's clock
   * @param {number} clock seconds of the page's own clock
   * @returns {number} how many hosts are shown
   */
  update(dirty, all, now, clock) {
    this.#now = now;
    const changed = this.#matchNames();
    this.#fitCells();
    this.#filter(dirty);
    if (changed || this.#mayOrder(clock)) this.#order(clock);
    let shown = 0;
    for (const [name, row] of this.#rows) {
      if (row.mask !== null) shown += 1;
      if (!row.near) continue;
      // The age of what is not live counts up.
      if (all || dirty.has(name) || this.store.stateOf(name) !== "live") this.#draw(name, row);
    }
    return shown;
  }

  /** Puts the rows in the order asked for at the next update, whatever was done lately. */
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
    const shown = [...this.container.querySelectorAll("details:not([hidden])")];
    const current = shown.findIndex((row) => row.contains(document.activeElement));
    const next = current === -1 ? 0 : Math.min(shown.length - 1, Math.max(0, current + step));
    const element = /** @type {HTMLElement | undefined} */ (shown[next]);
    this.focus(element?.dataset.name ?? "");
  }

  /** @param {string} name */
  focus(name) {
    this.#rows.get(name)?.focus();
  }

  /** Elements for the hosts that came, none for those that went; whether there were any. */
  #matchNames() {
    const names = this.store.names();
    let changed = false;
    for (const name of names) {
      if (this.#rows.has(name)) continue;
      const row = new Row(name, (open) => this.#toggled(name, open));
      this.#rows.set(name, row);
      this.#observer.observe(row.element);
      if (names.length <= SMALL_FLEET && this.#hasNews(name)) this.#openByDefault.add(name);
      changed = true;
    }
    if (this.#rows.size === names.length) return changed;
    const known = new Set(names);
    for (const [name, { element }] of this.#rows) {
      if (known.has(name)) continue;
      this.#observer.unobserve(element);
      element.remove();
      this.#rows.delete(name);
    }
    return true;
  }

  /** Whether there is more below a row than GPUs that are free. @param {string} name */
  #hasNews(name) {
    const { gpus, free, state } = this.store.summary(name);
    return gpus === 0 ? state !== "missing" : free < gpus;
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

  /** As many cells in a line as the largest host needs, within bounds, so that lines compare. */
  #fitCells() {
    const cells = Math.min(MAX_CELLS, Math.max(MIN_CELLS, this.store.overview().mostGpus));
    if (cells === this.#cells) return;
    this.#cells = cells;
    this.container.style.setProperty("--columns", String(cells));
  }

  /** @param {Set<string>} dirty */
  #filter(dirty) {
    const again = this.choice.key !== this.#filterKey;
    this.#filterKey = this.choice.key;
    if (!again && !this.choice.active) return;
    for (const [name, row] of this.#rows) {
      if (again || dirty.has(name)) row.show(this.choice.mask(name));
    }
  }

  /**
   * Rows do not move under the pointer or the focus, nor more often than every 5 s.
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
    let place = this.container.firstElementChild;
    for (const name of this.store.sorted(this.view().sort)) {
      const element = this.#rows.get(name)?.element;
      if (element === undefined) continue;
      if (element === place) place = element.nextElementSibling;
      else this.container.insertBefore(element, place);
    }
  }

  /** @param {IntersectionObserverEntry[]} seen */
  #see(seen) {
    for (const { target, isIntersecting, boundingClientRect } of seen) {
      const name = /** @type {HTMLElement} */ (target).dataset.name ?? "";
      const row = this.#rows.get(name);
      if (row === undefined) continue;
      row.near = isIntersecting || this.#rows.size <= EAGER_FLEET;
      if (row.near && !row.drawn) this.#draw(name, row);
      else if (!row.near && row.drawn) row.empty(boundingClientRect.height);
    }
  }

  /**
   * @param {string} name
   * @param {Row} row
   */
  #draw(name, row) {
    const host = this.store.host(name);
    if (host === undefined) return;
    const drawn = {
      host,
      summary: this.store.summary(name),
      rows: this.store.rows(name),
      state: this.store.stateOf(name),
      metric: this.view().metric,
      mask: row.mask ?? [],
      now: this.#now,
      brokerLost: this.store.brokerLost(),
    };
    row.draw(drawn, this.open().has(name));
  }
}
