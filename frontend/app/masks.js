// Which GPUs of each host the filter leaves, asked again only where it may say something else.

/** @typedef {boolean[] | null} Mask one for each GPU; empty: all; null: the host is not shown */

export class Masks {
  /** How many hosts are shown. */
  shown = 0;
  /** Of use only while there is a filter. */
  #masks = /** @type {Map<string, Mask>} */ (new Map());
  #names = /** @type {string[]} */ ([]);
  #key = "";

  /** @param {Pick<import("./choice.js").Choice, "active" | "key" | "mask">} choice */
  constructor(choice) {
    this.choice = choice;
  }

  /** @param {string} name @returns {Mask} */
  of(name) {
    return this.choice.active ? (this.#masks.get(name) ?? null) : [];
  }

  /**
   * Brings the masks up to the choice.
   * @param {string[]} names of all hosts; the same list as long as those are the same
   * @param {Iterable<string>} dirty hosts whose document changed
   * @returns {string[]} hosts that may be shown now and were not, or the other way round
   */
  update(names, dirty) {
    const again = this.choice.key !== this.#key || names !== this.#names;
    this.#key = this.choice.key;
    this.#names = names;
    if (again) {
      this.#masks.clear();
      this.shown = this.choice.active ? 0 : names.length;
    }
    const changed = this.choice.active ? [...again ? names : dirty].filter((name) => this.#ask(name)) : [];
    return again ? names : changed;
  }

  /** Whether a host is shown now and was not, or the other way round. @param {string} name */
  #ask(name) {
    const before = this.#masks.get(name) ?? null;
    const mask = this.choice.mask(name);
    this.#masks.set(name, mask);
    if ((before === null) === (mask === null)) return false;
    this.shown += mask === null ? -1 : 1;
    return true;
  }
}
