// The list of hosts: which are shown, in which order, and which of them are drawn now.

import { pathOf } from "./history.js";
import { Row } from "./row.js";

/** @import { Choice } from "./choice.js" */
/** @import { Recent } from "./history.js" */
/** @import { Store } from "./store.js" */
/** @import { GpuRow, View } from "./types.js" */

const MARGIN = "300px 0px";
const ORDER_SECONDS = 5;
/** A fleet up to this size shows its processes without a click. */
const SMALL_FLEET = 8;
/** A fleet up to this size is drawn whole: it costs little, and prints and searches in the page work. */
const EAGER_FLEET = 24;
/** More hosts are no reading for paper. */
const MOST_PRINTED = 200;
const MIN_CELLS = 4;
const MAX_CELLS = 8;
/**
 * Rows come in chunks, and the browser watches and skips those: with 1,250 elements of their own
 * to watch and to lay out around, it would take longer over them than over all they show.
 */
const CHUNK_ROWS = 8;

export class HostList {
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #chunks = /** @type {HTMLElement[]} */ ([]);
  /** Chunks on the screen or close to it: filled. @type {Set<Element>} */
  #near = new Set();
  /** Chunks on the screen: brought up to date in every tick. @type {Set<Element>} */
  #seen = new Set();
  /** How many rows are not hidden. */
  #shown = 0;
  #nearObserver = new IntersectionObserver((entries) => this.#see(entries, this.#near), { rootMargin: MARGIN });
  /** Looks at what is near only: to watch all would cost as much again in every frame. */
  #seenObserver = new IntersectionObserver((entries) => this.#see(entries, this.#seen));
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
   * @param {Recent} recent
   * @param {() => View} view
   * @param {(open: Set<string>, opened: boolean) => void} onOpen told the whole new set
   */
  constructor(container, store, choice, recent, view, onOpen) {
    this.container = container;
    this.store = store;
    this.choice = choice;
    this.recent = recent;
    this.view = view;
    this.onOpen = onOpen;
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
    const unfit = this.#filter(dirty);
    const ordered = changed || this.#mayOrder(clock);
    if (ordered) this.#order(clock);
    for (const chunk of ordered ? this.#chunks : unfit) fitChunk(chunk);
    for (const chunk of this.#isEager() ? this.#chunks : this.#near) {
      for (const row of this.#rowsOf(chunk)) {
        if (row.mask === null) {
          row.old = true;
          continue;
        }
        // The age of what is not live counts up.
        const news = all || dirty.has(row.name) || this.store.stateOf(row.name) !== "live";
        if (row.drawn === null || (news && this.#seen.has(chunk))) this.#draw(row);
        else if (news) row.old = true;
      }
    }
    return this.#shown;
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

  /** The GPUs of a host that the filter wants; empty: all; null: none. @param {string} name */
  mask(name) {
    return this.#rows.get(name)?.mask ?? null;
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
      this.#shown += 1;
      if (names.length <= SMALL_FLEET && this.#hasNews(name)) this.#openByDefault.add(name);
      changed = true;
    }
    if (this.#rows.size === names.length) return changed;
    const known = new Set(names);
    for (const [name, { element, mask }] of this.#rows) {
      if (known.has(name)) continue;
      element.remove();
      if (mask !== null) this.#shown -= 1;
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

  /** Shows and hides rows; the chunks they are in, as far as they are in any. @param {Set<string>} dirty */
  #filter(dirty) {
    const again = this.choice.key !== this.#filterKey;
    this.#filterKey = this.choice.key;
    const changed = /** @type {Set<Element>} */ (new Set());
    if (!again && !this.choice.active) return changed;
    for (const name of again ? this.#rows.keys() : dirty) {
      const row = this.#rows.get(name);
      if (row === undefined || !row.show(this.choice.mask(name))) continue;
      this.#shown += row.mask === null ? -1 : 1;
      if (row.element.parentElement !== null) changed.add(row.element.parentElement);
    }
    return changed;
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
    let place = /** @type {Element | null} */ (null);
    const rows = this.#rows.size <= EAGER_FLEET ? 1 : CHUNK_ROWS;
    this.store.sorted(this.view().sort).forEach((name, number) => {
      const chunk = this.#chunk(Math.floor(number / rows));
      if (number % rows === 0) place = chunk.firstElementChild;
      const element = this.#rows.get(name)?.element ?? null;
      if (element === place) place = place?.nextElementSibling ?? null;
      else if (element !== null) chunk.insertBefore(element, place);
    });
    const used = Math.ceil(this.#rows.size / rows);
    for (const chunk of this.#chunks.splice(used)) {
      this.#nearObserver.unobserve(chunk);
      this.#leave(chunk);
      chunk.remove();
    }
    this.emptyFar();
  }

  /** Empties what is far from the screen. */
  emptyFar() {
    if (this.#isEager()) return;
    for (const row of this.#rows.values()) {
      const chunk = row.element.parentElement;
      if (chunk !== null && !this.#near.has(chunk)) this.#empty(row);
    }
  }

  /** @param {number} number */
  #chunk(number) {
    let chunk = this.#chunks[number];
    if (chunk === undefined) {
      chunk = document.createElement("div");
      chunk.className = "chunk";
      this.#chunks[number] = chunk;
      this.container.append(chunk);
      this.#nearObserver.observe(chunk);
    }
    return chunk;
  }

  #isEager() {
    return this.#rows.size <= EAGER_FLEET;
  }

  /** @param {Element} chunk */
  *#rowsOf(chunk) {
    for (const element of chunk.children) {
      const row = this.#rows.get(/** @type {HTMLElement} */ (element).dataset.name ?? "");
      if (row !== undefined) yield row;
    }
  }

  /**
   * @param {IntersectionObserverEntry[]} entries
   * @param {Set<Element>} chunks that are as near as the observer looks
   */
  #see(entries, chunks) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) {
        if (chunks === this.#near) this.#leave(target);
        else chunks.delete(target);
      } else {
        chunks.add(target);
        if (chunks === this.#near) this.#seenObserver.observe(target);
      }
      for (const row of this.#rowsOf(target)) {
        if (!this.#isEager() && !this.#near.has(target)) this.#empty(row);
        else if (row.mask !== null && (row.drawn === null || (row.old && this.#seen.has(target)))) this.#draw(row);
      }
    }
  }

  /** @param {Element} chunk that is no longer near */
  #leave(chunk) {
    this.#near.delete(chunk);
    this.#seen.delete(chunk);
    this.#seenObserver.unobserve(chunk);
  }

  /** @param {Row} row */
  #empty(row) {
    if (row.drawn === null) return;
    row.empty();
    this.recent.drop(pathOf(row.name));
  }

  /** @param {Row} row */
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
      mask: row.mask ?? [],
      now: this.#now,
      brokerLost: this.store.brokerLost(),
    };
    row.draw(drawn, open);
  }

  /**
   * The last hour of a host's GPUs, which now brings further.
   * @param {string} name
   * @param {GpuRow[]} rows
   */
  #hours(name, rows) {
    return this.recent.hours(pathOf(name), rows.map(({ uuid, utilization }) => [uuid, utilization]), this.#now);
  }

  /**
   * Fills the first rows that are shown, for paper.
   * @returns {number} how many more there are
   */
  fillAll() {
    let room = MOST_PRINTED;
    for (const row of this.#chunks.flatMap((chunk) => [...this.#rowsOf(chunk)])) {
      if (row.mask === null) continue;
      room -= 1;
      row.element.classList.toggle("unprinted", room < 0);
      if (room >= 0 && (row.drawn === null || row.old)) this.#draw(row);
    }
    return -room;
  }
}

/** How much room a chunk takes while it is far: none, where all its rows are hidden. @param {Element} chunk */
function fitChunk(chunk) {
  const shown = [...chunk.children].filter((row) => !(/** @type {HTMLElement} */ (row).hidden)).length;
  const element = /** @type {HTMLElement} */ (chunk);
  element.hidden = shown === 0;
  element.style.setProperty("--shown", String(shown));
}
