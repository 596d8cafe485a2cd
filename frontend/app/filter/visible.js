// Which GPUs of each host the filter shows, recomputed only where that may have changed.

/** @typedef {boolean[] | null} Mask one per GPU; empty for all; null when the host is not shown */

export class VisibleGpus {
  /** How many hosts are shown. */
  shown = 0;
  /** Kept only while there is a filter. */
  #masks = /** @type {Map<string, Mask>} */ (new Map());
  #names = /** @type {string[]} */ ([]);
  #key = "";

  /** @param {Pick<import("./filter.js").Filter, "active" | "key" | "mask">} filter */
  constructor(filter) {
    this.filter = filter;
  }

  /** @param {string} name @returns {Mask} */
  of(name) {
    return this.filter.active ? (this.#masks.get(name) ?? null) : [];
  }

  /**
   * Updates the masks from the filter.
   * @param {string[]} names of all hosts; the same array while they are the same
   * @param {Iterable<string>} dirty hosts whose document changed
   * @returns {string[]} hosts that may have appeared or disappeared
   */
  update(names, dirty) {
    const again = this.filter.key !== this.#key || names !== this.#names;
    this.#key = this.filter.key;
    this.#names = names;
    if (again) {
      this.#masks.clear();
      this.shown = this.filter.active ? 0 : names.length;
    }
    const changed = this.filter.active ? [...again ? names : dirty].filter((name) => this.#ask(name)) : [];
    return again ? names : changed;
  }

  /** Recomputes a mask; returns whether the host appeared or disappeared. @param {string} name */
  #ask(name) {
    const before = this.#masks.get(name) ?? null;
    const mask = this.filter.mask(name);
    this.#masks.set(name, mask);
    if ((before === null) === (mask === null)) return false;
    this.shown += mask === null ? -1 : 1;
    return true;
  }
}
