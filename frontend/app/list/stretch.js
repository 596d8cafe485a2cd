// A stretch of the host list: rows while it is near the screen, otherwise only names.

/** @import { HostRow } from "./host-row.js" */

export class Stretch {
  element = document.createElement("div");
  /** Of its hosts, in list order. */
  names = /** @type {string[]} */ ([]);
  /** Empty while it is far from the screen. */
  rows = /** @type {HostRow[]} */ ([]);
  /** Names for screen readers, and for a search in the page. */
  #far = document.createElement("p");
  #height = "0";

  constructor() {
    this.element.className = "stretch";
    this.#far.className = "spoken";
  }

  /** Shows these rows in their order, and removes all others. @param {HostRow[]} rows */
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
   * Keeps only names and the height, so that nothing on the screen moves.
   * @param {string[]} shown
   * @param {number} [height] in px, if it was laid out; valid while the same hosts are shown
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
