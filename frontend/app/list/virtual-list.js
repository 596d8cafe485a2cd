// The list of hosts in the DOM: rows near the screen, only names elsewhere.

import { Stretch } from "./stretch.js";

/** @import { HostRow } from "./host-row.js" */

const MARGIN = "300px 0px";
/** Up to this size all rows are kept: that costs little, and makes printing and searching work. */
const EAGER_FLEET = 24;
/**
 * The browser observes stretches of rows, not rows: observing and laying out 1,250 elements would
 * take longer than drawing what they show.
 */
const STRETCH_ROWS = 8;

/**
 * How rows are made and drawn.
 * @typedef {object} Content
 * @property {(name: string) => HostRow} make
 * @property {(name: string) => boolean} isShown whether the filter shows a host
 * @property {(row: HostRow) => void} draw
 * @property {(name: string) => void} drop called after a row is discarded
 */

export class VirtualList {
  /** Host names in list order. */
  names = /** @type {string[]} */ ([]);
  /** Rows of filled stretches by host. */
  rows = /** @type {Map<string, HostRow>} */ (new Map());
  /** The index of each host in the list. */
  #places = /** @type {Map<string, number>} */ (new Map());
  #stretches = /** @type {Stretch[]} */ ([]);
  #byElement = /** @type {Map<Element, Stretch>} */ (new Map());
  /** On the screen or close to it. @type {Set<Stretch>} */
  #near = new Set();
  /** On the screen: updated in every tick. @type {Set<Stretch>} */
  #seen = new Set();
  /** Far, but kept filled while it has the focus. @type {Set<Stretch>} */
  #held = new Set();
  #nearObserver = new IntersectionObserver((entries) => this.#seeNear(entries), { rootMargin: MARGIN });
  /** Observes only what is near: observing everything would double the cost of a frame. */
  #seenObserver = new IntersectionObserver((entries) => this.#see(entries));

  /**
   * @param {HTMLElement} container
   * @param {Content} content
   */
  constructor(container, content) {
    this.container = container;
    this.content = content;
  }

  /** @param {string[]} names of all hosts in their new order */
  order(names) {
    this.names = names;
    this.#places = new Map(names.map((name, place) => [name, place]));
    const size = this.#size();
    for (let number = 0; number * size < names.length; number += 1) {
      const stretch = this.#stretches[number] ?? this.#newStretch();
      this.#stretches[number] = stretch;
      stretch.names = names.slice(number * size, (number + 1) * size);
    }
    for (const stretch of this.#stretches.splice(Math.ceil(names.length / size))) {
      this.#nearObserver.unobserve(stretch.element);
      this.#byElement.delete(stretch.element);
      this.#forget(stretch);
      stretch.element.remove();
    }
    this.emptyFar();
  }

  /** Replaces rows by names wherever the list is far from the screen. */
  emptyFar() {
    for (const stretch of this.#stretches) this.#lay(stretch);
    this.#dropRows();
  }

  /**
   * Fills the first shown rows wherever they are, and marks the others as not printed.
   * @param {number} most
   * @returns {number} how many more there are
   */
  fillFirst(most) {
    let room = most;
    for (const stretch of this.#stretches) {
      stretch.element.classList.toggle("unprinted", room <= 0);
      if (room > 0 && stretch.rows.length === 0) this.#fill(stretch);
      for (const name of stretch.names.filter(this.content.isShown)) {
        room -= 1;
        const row = this.rows.get(name);
        row?.element.classList.toggle("unprinted", room < 0);
        if (room >= 0 && row !== undefined && (row.drawn === null || row.old)) this.content.draw(row);
      }
    }
    return -room;
  }

  /** @param {Iterable<string>} names of hosts that may have appeared or disappeared */
  fit(names) {
    const stretches = new Set();
    for (const name of names) stretches.add(this.#at(name));
    for (const stretch of stretches) if (stretch !== undefined) this.#fit(stretch);
  }

  /** Draws rows that are blank, and those on the screen whose data have changed. */
  draw() {
    for (const stretch of this.#stretches) this.#draw(stretch);
  }

  /** Makes a host's row, wherever it is. @param {string} name */
  fill(name) {
    const stretch = this.#at(name);
    if (stretch !== undefined) this.#approach(stretch);
    return this.rows.get(name);
  }

  #newStretch() {
    const stretch = new Stretch();
    this.#byElement.set(stretch.element, stretch);
    this.container.append(stretch.element);
    this.#nearObserver.observe(stretch.element);
    return stretch;
  }

  /** @param {string} name */
  #at(name) {
    return this.#stretches[Math.floor((this.#places.get(name) ?? -1) / this.#size())];
  }

  #size() {
    return this.#isEager() ? 1 : STRETCH_ROWS;
  }

  #isEager() {
    return this.names.length <= EAGER_FLEET;
  }

  /**
   * Puts rows into a stretch that is near, and names into one that is far.
   * @param {Stretch} stretch
   * @param {number} [height] in px, where it was seen
   */
  #lay(stretch, height) {
    if (this.#isEager() || this.#near.has(stretch)) this.#fill(stretch);
    else stretch.empty(stretch.names.filter(this.content.isShown), height);
  }

  /** @param {Stretch} stretch */
  #fill(stretch) {
    stretch.fill(stretch.names.map((name) => {
      const row = this.rows.get(name) ?? this.content.make(name);
      this.rows.set(name, row);
      return row;
    }));
    this.#fit(stretch);
  }

  /** Hides rows that the filter leaves out. @param {Stretch} stretch */
  #fit(stretch) {
    if (stretch.rows.length === 0) return this.#lay(stretch);
    for (const { name, element } of stretch.rows) element.hidden = !this.content.isShown(name);
    stretch.element.hidden = stretch.rows.every(({ element }) => element.hidden);
  }

  /** Discards rows that are no longer in any stretch. */
  #dropRows() {
    const used = new Set(this.#stretches.flatMap(({ rows }) => rows));
    for (const [name, row] of this.rows) {
      if (used.has(row)) continue;
      this.rows.delete(name);
      this.content.drop(name);
    }
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #seeNear(entries) {
    for (const { target, isIntersecting, boundingClientRect } of entries) {
      const stretch = this.#byElement.get(target);
      if (stretch === undefined) continue;
      if (isIntersecting) this.#approach(stretch);
      else if (target.contains(document.activeElement)) this.#held.add(stretch);
      else this.#leave(stretch, boundingClientRect.height);
    }
    for (const stretch of this.#held) {
      if (!stretch.element.contains(document.activeElement)) this.#leave(stretch, stretch.element.offsetHeight);
    }
    this.#dropRows();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #see(entries) {
    for (const { target, isIntersecting } of entries) {
      const stretch = this.#byElement.get(target);
      if (stretch === undefined) continue;
      if (isIntersecting) this.#seen.add(stretch);
      else this.#seen.delete(stretch);
      this.#draw(stretch);
    }
  }

  /** @param {Stretch} stretch that has come near the screen */
  #approach(stretch) {
    this.#near.add(stretch);
    this.#held.delete(stretch);
    this.#seenObserver.observe(stretch.element);
    if (stretch.rows.length === 0) this.#lay(stretch);
    this.#draw(stretch);
  }

  /**
   * @param {Stretch} stretch that is no longer near the screen
   * @param {number} height in px
   */
  #leave(stretch, height) {
    this.#forget(stretch);
    this.#lay(stretch, height);
  }

  /** @param {Stretch} stretch */
  #forget(stretch) {
    for (const stretches of [this.#near, this.#seen, this.#held]) stretches.delete(stretch);
    this.#seenObserver.unobserve(stretch.element);
  }

  /** @param {Stretch} stretch */
  #draw(stretch) {
    for (const row of stretch.rows) {
      if (row.element.hidden) continue;
      if (row.drawn === null || (row.old && this.#seen.has(stretch))) this.content.draw(row);
    }
  }
}
