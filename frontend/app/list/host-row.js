// The element of one host in the list; it exists while it is near the screen.

import { nothing, render } from "../vendor/lit-html.js";
import { sentence } from "../state/summary.js";
import { hover } from "../views/gpu-cell.js";
import { closedRow, hostTime, openRow } from "../views/host-view.js";

/** @import { Drawn } from "../views/host-view.js" */

export class HostRow {
  element = document.createElement("details");
  #summary = document.createElement("summary");
  /** The row in one sentence for screen readers; its cells would be a hundred words. */
  #spoken = document.createElement("span");
  /** Made when the row is first drawn, which a row that the filter hides may never be. */
  #content = /** @type {{ closed: HTMLElement, detail: HTMLElement } | null} */ (null);
  /** What it was last drawn from; null before the first time. */
  drawn = /** @type {Drawn | null} */ (null);
  /** Whether its data have changed since. */
  old = false;
  #lines = 1;

  /**
   * @param {string} name
   * @param {(open: boolean) => void} onToggle called when the viewer opens or closes the row
   */
  constructor(name, onToggle) {
    this.name = name;
    this.element.className = "host";
    this.element.dataset.name = name;
    this.#spoken.className = "spoken";
    this.#spoken.textContent = name;
    this.#summary.append(this.#spoken);
    this.element.append(this.#summary);
    // The view decides whether a row is open; the browser would be a frame ahead of it.
    this.#summary.addEventListener("click", (event) => {
      event.preventDefault();
      onToggle(!this.element.open);
    });
    // The browser itself opens a row in which a search in the page finds something.
    this.element.addEventListener("toggle", () => onToggle(this.element.open));
  }

  /**
   * @param {Drawn} drawn
   * @param {boolean} open
   */
  draw(drawn, open) {
    this.element.classList.toggle("missing", drawn.state === "missing");
    const words = sentence(drawn.summary, drawn.state);
    if (this.#spoken.textContent !== words) this.#spoken.textContent = words;
    if (this.element.open !== open) this.element.open = open;
    this.#content ??= this.#fill();
    const { closed, detail } = this.#content;
    this.drawn = drawn;
    this.old = false;
    if (drawn.lines !== this.#lines) this.element.style.setProperty("--lines", String(drawn.lines));
    this.#lines = drawn.lines;
    render(closedRow(drawn), closed);
    render(open ? openRow(drawn) : nothing, detail);
  }

  #fill() {
    const [closed, detail] = [document.createElement("div"), document.createElement("div")];
    closed.className = "closed";
    closed.ariaHidden = "true";
    // A title is set when the pointer arrives: eight per row would change in every tick.
    closed.addEventListener("pointerover", ({ target }) => this.#explain(/** @type {Element} */ (target)));
    detail.className = "detail";
    this.#summary.append(closed);
    this.element.append(detail);
    return { closed, detail };
  }

  /** @param {Element} target below the pointer */
  #explain(target) {
    const cell = /** @type {HTMLElement | null} */ (target.closest(".cell"));
    const gpu = this.drawn?.rows[[...(cell?.parentElement?.children ?? [])].indexOf(/** @type {Element} */ (cell))];
    if (cell !== null && this.drawn !== null && gpu !== undefined) cell.title = hover(gpu, hostTime(this.drawn));
  }

  focus() {
    this.#summary.focus();
    this.element.scrollIntoView({ block: "nearest" });
  }
}
