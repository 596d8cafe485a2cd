// "Tell me when free": announces once that a need is met, by notification where the browser allows.

import { find, needWords } from "./finder.js";

/** @import { Fleet, Need } from "../types.js" */

/**
 * The part of the browser's Notification that this uses.
 * @typedef {{ permission: string, requestPermission: () => Promise<string>, new (title: string, options: { body: string }): { onclick: unknown } }} Notifier
 */

export class Watch {
  /** The need that is waited for; null for none. */
  need = /** @type {Need | null} */ (null);
  /** What became free, where no notification could be shown; "" for nothing. */
  news = "";
  #notifier;
  #changed;

  /**
   * @param {Notifier | undefined} notifier undefined where the browser has none
   * @param {() => void} changed called when need or news change, even while the page is hidden
   */
  constructor(notifier, changed) {
    this.#notifier = notifier;
    this.#changed = changed;
  }

  /** Whether news will appear only on the page and in its title. */
  get silent() {
    return this.#notifier?.permission !== "granted";
  }

  /**
   * Starts to wait. Call it from a click: only then may a browser ask for permission.
   * @param {Need} need
   */
  async start(need) {
    this.need = need;
    this.news = "";
    this.#changed();
    try {
      if (this.#notifier?.permission === "default") await this.#notifier.requestPermission();
    } catch {
      // An old browser without promises here; the title announces instead.
    }
    this.#changed();
  }

  /** Stops waiting, and clears the news. */
  stop() {
    this.need = null;
    this.news = "";
    this.#changed();
  }

  /**
   * Checks whether the need is met; call it with every live document.
   * @param {Fleet["hosts"]} hosts
   */
  check(hosts) {
    if (this.need === null) return;
    const offers = find(hosts, this.need);
    const [first] = offers;
    if (first === undefined) return;
    const where = this.need.anywhere ? offers.map(({ host }) => host).join(", ") : first.host;
    const words = `Free now: ${needWords(this.need)}`;
    this.need = null;
    if (!this.#notify(words, where)) this.news = `${words}: ${where}`;
    this.#changed();
  }

  /**
   * @param {string} title
   * @param {string} body
   */
  #notify(title, body) {
    if (this.#notifier === undefined || this.silent) return false;
    try {
      new this.#notifier(title, { body }).onclick = () => window.focus();
      return true;
    } catch {
      return false; // Phone browsers have the constructor but throw without a service worker.
    }
  }
}
