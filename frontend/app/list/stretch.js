// A stretch of the list of hosts: their rows while it is near the screen, else only their names.

/** @import { HostRow } from "./host-row.js" */

export class Stretch {
  element = document.createElement("div");
  /** Of hosts, in the order in which they stand. */
  names = /** @type {string[]} */ ([]);
  /** Empty while the stretch is far. */
  rows = /** @type {HostRow[]} */ ([]);
  /** The names are there for who hears the page, or searches in it. */
  #far = document.createElement("p");
  #height = "0";

  constructor() {
    this.element.className = "stretch";
    this.#far.className = "spoken";
  }

  /** Takes rows in, in their order; those it had before and has no more are taken out. @param {HostRow[]} rows */
  fill(rows) {
    this.rows = rows;
    this.#far.remove();
    this.element.style.removeProperty("min-height");
    let place = this.element.firstElementChild;
    for (const { element } of rows) {
      if (element === place) place = place.nextElementSibling;
      else this.element.insertBefore(element, place);
    }
    for (let rest = place; rest !== null; rest = place) {
      place = rest.nextElementSibling;
      rest.remove();
    }
  }

  /**
   * Keeps only the names of what is shown, and the height, so that nothing on the screen moves.
   * @param {string[]} shown
   * @param {number} [height] in px, where it was seen; it holds as long as the same is shown
   */
  empty(shown, height) {
    const names = shown.join("\n");
    const same = this.#far.textContent === names;
    if (same && this.#far.isConnected) return;
    if (height) this.#height = `${height}px`;
    else if (!same) this.#height = `calc(${shown.length} * var(--row))`;
    this.rows = [];
    this.#far.textContent = names;
    this.element.replaceChildren(this.#far);
    this.element.hidden = shown.length === 0;
    this.element.style.setProperty("min-height", this.#height);
  }
}
