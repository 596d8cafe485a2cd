// The list of hosts as the browser has it: rows near the screen, names where it is far.

import { Chunk } from "./chunk.js";

/** @import { Row } from "./row.js" */

const MARGIN = "300px 0px";
/** A fleet up to this size is drawn whole: it costs little, and prints and searches in the page work. */
const EAGER_FLEET = 24;
/**
 * Rows come in chunks, and the browser watches those: 1,250 elements to watch and to lay out
 * around would take it longer than all they show.
 */
const CHUNK_ROWS = 8;

/**
 * What the list is made of.
 * @typedef {object} Content
 * @property {(name: string) => Row} make
 * @property {(name: string) => boolean} isShown whether the filter leaves anything of a host
 * @property {(row: Row) => void} draw
 * @property {(name: string) => void} drop told of a row that is no more
 */

export class Chunks {
  /** Hosts in the order in which they stand. */
  names = /** @type {string[]} */ ([]);
  /** Rows of the chunks that are filled, by host. */
  rows = /** @type {Map<string, Row>} */ (new Map());
  /** The place of each host. */
  #places = /** @type {Map<string, number>} */ (new Map());
  #chunks = /** @type {Chunk[]} */ ([]);
  #byElement = /** @type {Map<Element, Chunk>} */ (new Map());
  /** On the screen or close to it. @type {Set<Chunk>} */
  #near = new Set();
  /** On the screen: brought up to date in every tick. @type {Set<Chunk>} */
  #seen = new Set();
  /** Far, and filled as long as the focus is there. @type {Set<Chunk>} */
  #held = new Set();
  #nearObserver = new IntersectionObserver((entries) => this.#seeNear(entries), { rootMargin: MARGIN });
  /** Looks at what is near only: to watch all would cost as much again in every frame. */
  #seenObserver = new IntersectionObserver((entries) => this.#see(entries));

  /**
   * @param {HTMLElement} container
   * @param {Content} content
   */
  constructor(container, content) {
    this.container = container;
    this.content = content;
  }

  /** @param {string[]} names of all hosts, in the order in which they are to stand */
  order(names) {
    this.names = names;
    this.#places = new Map(names.map((name, place) => [name, place]));
    const size = this.#size();
    for (let number = 0; number * size < names.length; number += 1) {
      const chunk = (this.#chunks[number] ??= this.#chunk());
      chunk.names = names.slice(number * size, (number + 1) * size);
    }
    for (const chunk of this.#chunks.splice(Math.ceil(names.length / size))) {
      this.#nearObserver.unobserve(chunk.element);
      this.#byElement.delete(chunk.element);
      this.#forget(chunk);
      chunk.element.remove();
    }
    this.emptyFar();
  }

  /** Lays out rows where it is near, and names where it is far. */
  emptyFar() {
    for (const chunk of this.#chunks) this.#lay(chunk);
    this.#dropRows();
  }

  /**
   * Fills the first rows that are shown, wherever those are, and marks the others.
   * @param {number} most
   * @returns {number} how many more there are
   */
  fillFirst(most) {
    let room = most;
    for (const chunk of this.#chunks) {
      chunk.element.classList.toggle("unprinted", room <= 0);
      if (room > 0 && chunk.rows.length === 0) this.#fill(chunk);
      for (const name of chunk.names.filter(this.content.isShown)) {
        room -= 1;
        const row = this.rows.get(name);
        row?.element.classList.toggle("unprinted", room < 0);
        if (room >= 0 && row !== undefined && (row.drawn === null || row.old)) this.content.draw(row);
      }
    }
    return -room;
  }

  /** @param {Iterable<string>} names of hosts that are shown now and were not, or the other way round */
  fit(names) {
    const chunks = new Set();
    for (const name of names) chunks.add(this.#at(name));
    for (const chunk of chunks) if (chunk !== undefined) this.#fit(chunk);
  }

  /** Draws what is blank, and on the screen what is old. */
  draw() {
    for (const chunk of this.#chunks) this.#draw(chunk);
  }

  /** Makes sure that a host has a row, wherever that is. @param {string} name */
  fill(name) {
    const chunk = this.#at(name);
    if (chunk !== undefined) this.#approach(chunk);
    return this.rows.get(name);
  }

  #chunk() {
    const chunk = new Chunk();
    this.#byElement.set(chunk.element, chunk);
    this.container.append(chunk.element);
    this.#nearObserver.observe(chunk.element);
    return chunk;
  }

  /** @param {string} name */
  #at(name) {
    return this.#chunks[Math.floor((this.#places.get(name) ?? -1) / this.#size())];
  }

  #size() {
    return this.#isEager() ? 1 : CHUNK_ROWS;
  }

  #isEager() {
    return this.names.length <= EAGER_FLEET;
  }

  /**
   * Rows or names, as the chunk is near or far.
   * @param {Chunk} chunk
   * @param {number} [height] in px, where it was seen
   */
  #lay(chunk, height) {
    if (this.#isEager() || this.#near.has(chunk)) this.#fill(chunk);
    else chunk.empty(chunk.names.filter(this.content.isShown), height);
  }

  /** @param {Chunk} chunk */
  #fill(chunk) {
    chunk.fill(chunk.names.map((name) => {
      const row = this.rows.get(name) ?? this.content.make(name);
      this.rows.set(name, row);
      return row;
    }));
    this.#fit(chunk);
  }

  /** Hides what the filter leaves out. @param {Chunk} chunk */
  #fit(chunk) {
    if (chunk.rows.length === 0) return this.#lay(chunk);
    for (const { name, element } of chunk.rows) element.hidden = !this.content.isShown(name);
    chunk.element.hidden = chunk.rows.every(({ element }) => element.hidden);
  }

  /** Forgets the rows that are in no chunk any more. */
  #dropRows() {
    const used = new Set(this.#chunks.flatMap(({ rows }) => rows));
    for (const [name, row] of this.rows) {
      if (used.has(row)) continue;
      this.rows.delete(name);
      this.content.drop(name);
    }
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #seeNear(entries) {
    for (const { target, isIntersecting, boundingClientRect } of entries) {
      const chunk = this.#byElement.get(target);
      if (chunk === undefined) continue;
      if (isIntersecting) this.#approach(chunk);
      else if (target.contains(document.activeElement)) this.#held.add(chunk);
      else this.#leave(chunk, boundingClientRect.height);
    }
    for (const chunk of this.#held) {
      if (!chunk.element.contains(document.activeElement)) this.#leave(chunk, chunk.element.offsetHeight);
    }
    this.#dropRows();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #see(entries) {
    for (const { target, isIntersecting } of entries) {
      const chunk = this.#byElement.get(target);
      if (chunk === undefined) continue;
      if (isIntersecting) this.#seen.add(chunk);
      else this.#seen.delete(chunk);
      this.#draw(chunk);
    }
  }

  /** @param {Chunk} chunk that is near from now on */
  #approach(chunk) {
    this.#near.add(chunk);
    this.#held.delete(chunk);
    this.#seenObserver.observe(chunk.element);
    if (chunk.rows.length === 0) this.#lay(chunk);
    this.#draw(chunk);
  }

  /**
   * @param {Chunk} chunk that is no longer near
   * @param {number} height in px
   */
  #leave(chunk, height) {
    this.#forget(chunk);
    this.#lay(chunk, height);
  }

  /** @param {Chunk} chunk */
  #forget(chunk) {
    for (const chunks of [this.#near, this.#seen, this.#held]) chunks.delete(chunk);
    this.#seenObserver.unobserve(chunk.element);
  }

  /** @param {Chunk} chunk */
  #draw(chunk) {
    for (const row of chunk.rows) {
      if (row.element.hidden) continue;
      if (row.drawn === null || (row.old && this.#seen.has(chunk))) this.content.draw(row);
    }
  }
}
