// The live page on paper, which is light, cannot be scrolled and has no search box.

import { html, nothing, render } from "../vendor/lit-html.js";
import { byId } from "../element.js";
import { many } from "../format.js";

/** @import { HostList } from "../list/host-list.js" */
/** @import { FleetMap } from "../map/fleet-map.js" */

export class Paper {
  #list;
  #map;
  #screenTheme = "auto";

  /**
   * @param {HostList} list
   * @param {FleetMap} map
   */
  constructor(list, map) {
    this.#list = list;
    this.#map = map;
  }

  /**
   * Draws the page for the printer, with its time and search in words.
   * @param {number | undefined} now unix seconds, of the data
   * @param {string} q
   */
  prepare(now, q) {
    const { dataset } = document.documentElement;
    this.#screenTheme = dataset.theme ?? "auto";
    dataset.theme = "light";
    this.#map.redraw();
    const left = this.#list.fillAll();
    render(html`As of ${new Date((now ?? 0) * 1000).toLocaleString()} ${q} ${left > 0
      ? `· ${many(left, "more host")} not printed: search for less`
      : nothing}`, byId("paper"));
  }

  /** Draws it for the screen again. */
  restore() {
    document.documentElement.dataset.theme = this.#screenTheme;
    this.#list.emptyFar();
  }
}
