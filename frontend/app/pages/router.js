// Opens the page named by `?page=`; a path per page would break proxies that serve below a sub-path.

/** @import { Page } from "../types.js" */

/** What opens without `?page=`, and for an unknown name. */
const HOME = "live";

export class Router {
  /** The open page; null until the first is loaded. */
  page = /** @type {Page | null} */ (null);
  #loaders;
  #onOpen;
  #loaded = /** @type {Map<string, Page>} */ (new Map());
  #wanted = "";

  /**
   * @param {Record<string, () => Page | Promise<Page>>} loaders by name, called when a page is first
   * opened; a page that most visits do not need is a dynamic import
   * @param {() => void} onOpen called once another page is mounted
   */
  constructor(loaders, onOpen) {
    this.#loaders = loaders;
    this.#onOpen = onOpen;
  }

  /**
   * Opens the page that an address names. Rejects when it cannot be loaded; the page that was
   * open then stays.
   * @param {string} search the query string of the address
   */
  async open(search) {
    const asked = new URLSearchParams(search).get("page") ?? HOME;
    const name = Object.hasOwn(this.#loaders, asked) ? asked : HOME;
    this.#wanted = name;
    const page = this.#loaded.get(name) ?? await this.#loaders[name]?.();
    if (page === undefined || this.#wanted !== name) return; // Another was opened meanwhile.
    this.#loaded.set(name, page);
    if (page === this.page) return page.readAddress();
    this.page?.unmount();
    this.page = page;
    page.mount();
    this.#onOpen();
  }
}
