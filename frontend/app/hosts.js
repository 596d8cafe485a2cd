// The list of hosts in the page: one element each, filled only while it is near the screen.

import { nothing, render } from "./vendor/lit-html.js";
import { match, wordsOf } from "./filter.js";
import { sentence } from "./summary.js";
import { closedRow, openRow } from "./views/host.js";

/**
 * @typedef {import("./store.js").Store} Store
 * @typedef {import("./types.js").View} View
 */

const MARGIN = "300px 0px";
const ORDER_SECONDS = 5;
/** A fleet up to this size shows its processes without a click. */
const SMALL_FLEET = 8;

/**
 * @typedef {object} Entry
 * @property {HTMLDetailsElement} element
 * @property {HTMLElement} summary
 * @property {HTMLElement} detail
 * @property {boolean} near
 * @property {boolean} drawn whether summary and detail are filled
 * @property {boolean[] | null} mask which GPUs the filter wants; null: the host is not shown
 */

export class HostList {
  /** @type {Map<string, Entry>} */
  #entries = new Map();
  #observer;
  #orderedAt = -Infinity;
  #filterKey = "";
  #lines = 0;
  /** Hosts that a small fleet opens by itself. @type {Set<string>} */
  #openByDefault = new Set();
  now = 0;

  /**
   * @param {HTMLElement} container
   * @param {Store} store
   * @param {() => View} view
   * @param {(open: Set<string>) => void} onOpen told the whole new set
   */
  constructor(container, store, view, onOpen) {
    this.container = container;
    this.store = store;
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
    this.now = now;
    const changed = this.#matchNames();
    this.#fitCells();
    this.#filter(dirty);
    if (changed || this.#mayOrder(clock)) this.#order(clock);
    for (const [name, entry] of this.#entries) {
      const ticking = this.store.stateOf(name) !== "live";
      if (entry.near && (all || ticking || dirty.has(name))) this.#draw(name, entry);
    }
    return [...this.#entries.values()].filter((entry) => entry.mask !== null).length;
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
    const shown = [...this.container.children].filter((row) => !(/** @type {HTMLElement} */ (row).hidden));
    const current = shown.findIndex((row) => row.contains(document.activeElement));
    const next = shown[current === -1 ? 0 : Math.min(shown.length - 1, Math.max(0, current + step))];
    this.#focus(next);
  }

  /** @param {string} name */
  goTo(name) {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    this.#focus(entry.element);
    this.onOpen(new Set([...this.open(), name]));
  }

  /** @param {Element | undefined} row */
  #focus(row) {
    row?.querySelector("summary")?.focus();
    row?.scrollIntoView({ block: "nearest" });
  }

  /** Elements for the hosts that came, none for those that went; whether there were any. */
  #matchNames() {
    const names = this.store.names();
    let changed = false;
    const small = names.length <= SMALL_FLEET;
    for (const name of names) {
      if (this.#entries.has(name)) continue;
      this.#entries.set(name, this.#create(name));
      const { gpus, free } = this.store.summary(name);
      if (small && free < gpus) this.#openByDefault.add(name);
      changed = true;
    }
    if (this.#entries.size === names.length) return changed;
    const known = new Set(names);
    for (const [name, { element }] of this.#entries) {
      if (known.has(name)) continue;
      this.#observer.unobserve(element);
      element.remove();
      this.#entries.delete(name);
    }
    return true;
  }

  /**
   * @param {string} name
   * @returns {Entry}
   */
  #create(name) {
    const element = document.createElement("details");
    const summary = document.createElement("summary");
    const detail = document.createElement("div");
    element.className = "host";
    element.dataset.name = name;
    detail.className = "detail";
    summary.setAttribute("aria-label", name);
    element.append(summary, detail);
    element.addEventListener("toggle", () => this.#toggled(name, element.open));
    this.#observer.observe(element);
    return { element, summary, detail, near: false, drawn: false, mask: [] };
  }

  /**
   * The browser has opened or closed a row; that it only follows the view is no news.
   * @param {string} name
   * @param {boolean} isOpen
   */
  #toggled(name, isOpen) {
    if (this.open().has(name) === isOpen) return;
    const open = new Set(this.open());
    if (isOpen) open.add(name);
    else open.delete(name);
    this.onOpen(open);
  }

  /** As many cells in a line as the largest host needs, 4 to 8, so that lines compare. */
  #fitCells() {
    const most = this.store.overview().mostGpus;
    const columns = Math.min(8, Math.max(4, most));
    if (columns === this.#lines) return;
    this.#lines = columns;
    this.container.style.setProperty("--columns", String(columns));
  }

  /** @param {Set<string>} dirty */
  #filter(dirty) {
    const { q, show } = this.view();
    const key = `${show} ${q}`;
    const again = key !== this.#filterKey;
    this.#filterKey = key;
    const wanted = { words: wordsOf(q), show };
    if (!again && wanted.words.length === 0 && show === "all") return;
    for (const [name, entry] of this.#entries) {
      if (!again && !dirty.has(name)) continue;
      const hostname = this.store.host(name)?.system?.hostname ?? "";
      const summary = { ...this.store.summary(name), state: this.store.stateOf(name) };
      entry.mask = match(wanted, summary, hostname, () => this.store.rows(name));
      entry.element.hidden = entry.mask === null;
    }
  }

  /**
   * Rows do not move under the pointer or the focus, nor more often than every 5 s.
   * @param {number} clock
   */
  #mayOrder(clock) {
    if (this.#orderedAt === -Infinity) return true;
    if (clock - this.#orderedAt < ORDER_SECONDS || this.view().sort === "host") return false;
    return !this.container.matches(":hover") && !this.container.contains(document.activeElement);
  }

  /** @param {number} clock */
  #order(clock) {
    this.#orderedAt = clock;
    let before = /** @type {Element | null} */ (this.container.firstElementChild);
    for (const name of this.store.sorted(this.view().sort)) {
      const element = this.#entries.get(name)?.element;
      if (element === undefined) continue;
      if (element === before) before = element.nextElementSibling;
      else this.container.insertBefore(element, before);
    }
  }

  /** @param {IntersectionObserverEntry[]} seen */
  #see(seen) {
    for (const { target, isIntersecting, boundingClientRect } of seen) {
      const name = /** @type {HTMLElement} */ (target).dataset.name ?? "";
      const entry = this.#entries.get(name);
      if (entry === undefined) continue;
      entry.near = isIntersecting;
      if (isIntersecting && !entry.drawn) this.#draw(name, entry);
      else if (!isIntersecting && entry.drawn) this.#empty(entry, boundingClientRect.height);
    }
  }

  /**
   * @param {string} name
   * @param {Entry} entry
   */
  #draw(name, entry) {
    const host = this.store.host(name);
    if (host === undefined) return;
    const summary = this.store.summary(name);
    const state = this.store.stateOf(name);
    const drawn = {
      host,
      summary,
      rows: this.store.rows(name),
      state,
      metric: this.view().metric,
      mask: entry.mask ?? [],
      now: this.now,
      brokerLost: this.store.brokerLost(),
    };
    const isOpen = this.open().has(name);
    entry.element.classList.toggle("missing", state === "missing");
    entry.summary.setAttribute("aria-label", sentence(summary, state));
    if (entry.element.open !== isOpen) entry.element.open = isOpen;
    if (!entry.drawn) entry.element.style.removeProperty("min-height");
    entry.drawn = true;
    render(closedRow(drawn), entry.summary);
    render(isOpen ? openRow(drawn) : nothing, entry.detail);
  }

  /**
   * Takes the content out and keeps the height, so that nothing on the screen moves.
   * @param {Entry} entry
   * @param {number} height
   */
  #empty(entry, height) {
    if (height > 0) entry.element.style.setProperty("min-height", `${height}px`);
    entry.drawn = false;
    render(nothing, entry.summary);
    render(nothing, entry.detail);
  }
}
