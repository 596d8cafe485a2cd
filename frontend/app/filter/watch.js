// "Tell me when free": waits for a need to be met, says so once; by notification where that may be.

import { find, needWords } from "./finder.js";

/** @import { Fleet, Need } from "../types.js" */

/**
 * The part of the browser's Notification that is used.
 * @typedef {{ permission: string, requestPermission: () => Promise<string>, new (title: string, options: { body: string }): { onclick: unknown } }} Notifier
 */

export class Watch {
  /** What is waited for. */
  need = /** @type {Need | null} */ (null);
  /** What came, while it could not be told otherwise than on the page. */
  told = "";
  #notifier;
  #changed;

  /**
   * @param {Notifier | undefined} notifier undefined where the browser has none
   * @param {() => void} changed told of news for the page, also while nobody looks at it
   */
  constructor(notifier, changed) {
    this.#notifier = notifier;
    this.#changed = changed;
  }

  /** Whether the news will only stand in the title and on the page. */
  get silent() {
    return this.#notifier?.permission !== "granted";
  }

  /**
   * Starts to wait; from a click, for that is when a browser may ask for permission.
   * @param {Need} need
   */
  async start(need) {
    this.need = need;
    this.told = "";
    this.#changed();
    try {
      if (this.#notifier?.permission === "default") await this.#notifier.requestPermission();
    } catch {
      // An old browser's requestPermission; the title tells then.
    }
    this.#changed();
  }

  /** Waits no longer, and takes back what was told. */
  stop() {
    this.need = null;
    this.told = "";
    this.#changed();
  }

  /**
   * Looks whether the need is met; to be called with every new document that is live.
   * @param {Fleet["hosts"]} hosts
   */
  look(hosts) {
    if (this.need === null) return;
    const offers = find(hosts, this.need);
    const [first] = offers;
    if (first === undefined) return;
    const where = this.need.anywhere ? offers.map(({ host }) => host).join(", ") : first.host;
    const words = `Free now: ${needWords(this.need)}`;
    this.need = null;
    if (!this.#notify(words, where)) this.told = `${words}: ${where}`;
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
      return false; // Browsers of phones have the name, but show none without a service worker.
    }
  }
}
