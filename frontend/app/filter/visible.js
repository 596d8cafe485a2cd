// Which GPUs of each host the filter leaves, asked again only where it may say something else.

/** @typedef {boolean[] | null} Mask one for each GPU; empty: all; null: the host is not shown */

export class VisibleGpus {
  /** How many hosts are shown. */
  shown = 0;
  /** Of use only while there is a filter. */
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
   * Brings the masks up to the filter.
   * @param {string[]} names of all hosts; the same list as long as those are the same
   * @param {Iterable<string>} dirty hosts whose document changed
   * @returns {string[]} hosts that may be shown now and were not, or the other way round
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

  /** Whether a host is shown now and was not, or the other way round. @param {string} name */
  #ask(name) {
    const before = this.#masks.get(name) ?? null;
    const mask = this.filter.mask(name);
    this.#masks.set(name, mask);
    if ((before === null) === (mask === null)) return false;
    this.shown += mask === null ? -1 : 1;
    return true;
  }
}
