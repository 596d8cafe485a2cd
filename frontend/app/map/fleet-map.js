// The fleet map: one canvas with a cell per GPU; a click opens its host.

import { html, nothing, render } from "../vendor/lit-html.js";
import { EMPTY, cardRows, hostCode, writeCodes } from "./codes.js";
import { drawCell, readColours } from "./canvas.js";
import { count, many } from "../format.js";
import { cornerOf, layoutOf, placeAt } from "./layout.js";
import { reading, usersOf } from "../state/gpu-metrics.js";
import { isFault, told } from "../state/findings.js";
import { STATES } from "../state/states.js";
import { sentence } from "../state/summary.js";

/** @import { Store } from "../state/store.js" */
/** @import { MapLayout, MapMode, Metric, View } from "../types.js" */

/** @type {Record<Metric, [string, string]>} */
const SCALES = {
  util: ["0%", "100% utilization"],
  mem: ["0%", "100% of memory"],
  temp: ["30°", "85°"],
  power: ["0%", "100% of power limit"],
};
/** @type {[MapMode, string][]} */
const MODE_WORDS = [
  ["auto", "automatic"], ["strips", "one strip per host"], ["blocks", "one block per host"], ["hosts", "one cell per host"], ["off", "off"],
];
/** Not a code: a cell that was never drawn differs from every code. */
const UNDRAWN = 254;
/** Padding and borders of the card on both sides; see style.css. */
const PADDING_PX = 26;

export class FleetMap {
  #canvas = document.createElement("canvas");
  #legend = document.createElement("div");
  #layout = /** @type {MapLayout | null} */ (null);
  #colours = /** @type {import("./canvas.js").Colours | null} */ (null);
  /** Host names in the order of the map, and the index of each. */
  #names = /** @type {string[]} */ ([]);
  #places = /** @type {Map<string, number>} */ (new Map());
  /** The codes that are drawn, `slots` for each host. */
  #drawn = new Uint8Array(0);
  #fresh = new Uint8Array(0);
  #width = 0;
  #key = "";

  /**
   * @param {HTMLElement} section
   * @param {object} given
   * @param {Store} given.store
   * @param {() => View} given.view
   * @param {(host: string) => boolean[] | null} given.mask the GPUs the filter wants; empty: all; null: none
   * @param {(host: string) => void} given.goTo
   * @param {(change: { map: MapMode }) => void} given.choose
   * @param {() => void} given.plan asks for a paint
   */
  constructor(section, { store, view, mask, goTo, choose, plan }) {
    this.section = section;
    this.store = store;
    this.view = view;
    this.mask = mask;
    this.choose = choose;
    this.#legend.className = "legend";
    this.#canvas.role = "img";
    section.append(this.#legend, this.#canvas);
    const repaint = () => {
      this.#colours = null;
      plan();
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    new ResizeObserver(([entry]) => {
      this.#width = Math.floor(entry?.contentRect.width ?? 0);
      plan();
    }).observe(/** @type {HTMLElement} */ (section.parentElement));
    this.#canvas.addEventListener("click", (event) => {
      const name = this.#names[this.#at(event)?.host ?? -1];
      if (name !== undefined) goTo(name);
    });
    this.#canvas.addEventListener("pointermove", (event) => {
      const title = this.#hover(event);
      if (this.#canvas.title !== title) this.#canvas.title = title;
    });
  }

  /**
   * @param {Set<string>} dirty hosts whose document changed
   * @param {boolean} all whether to compare every host
   */
  update(dirty, all) {
    const moved = this.#arrange();
    if (!this.section.hidden) this.#describe();
    if (this.#layout === null) return;
    this.#colours ??= readColours(this.section);
    const context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d", { alpha: false }));
    if (moved) {
      context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
      context.fillStyle = this.#colours.card ?? "";
      context.fillRect(0, 0, this.#width, this.#layout.height);
      this.#drawn.fill(UNDRAWN);
    }
    const { metric } = this.view();
    for (const name of all || moved ? this.#names : dirty) {
      const place = this.#places.get(name);
      if (place !== undefined) this.#paint(context, this.#layout, name, place, metric);
    }
  }

  /** Draws everything at once in the current colours. */
  redraw() {
    this.#colours = null;
    this.update(new Set(), true);
  }

  /** Fits canvas and order to the fleet and the window; returns whether anything changed. */
  #arrange() {
    const { map } = this.view();
    const { mostCards } = this.store.overview();
    const names = this.store.names();
    const inner = this.#width - PADDING_PX;
    const key = [names.length, mostCards, inner, map, devicePixelRatio].join();
    if (key === this.#key && names === this.#names && this.#colours !== null) return false;
    this.#key = key;
    this.#names = names;
    this.#layout = layoutOf(names.length, mostCards, inner, map);
    // Turned off, it keeps the menu that turns it on again.
    this.section.hidden = names.length === 0 || (this.#layout === null && map !== "off");
    this.#canvas.hidden = this.#layout === null;
    if (this.#layout === null) return true;
    this.#places = new Map(names.map((name, place) => [name, place]));
    this.#drawn = new Uint8Array(names.length * this.#layout.slots);
    this.#fresh = new Uint8Array(Math.max(1, mostCards));
    this.#canvas.width = Math.ceil(inner * devicePixelRatio);
    this.#canvas.height = Math.ceil(this.#layout.height * devicePixelRatio);
    this.#canvas.style.setProperty("height", `${this.#layout.height}px`);
    return true;
  }

  /**
   * Draws the cells of a host that have changed.
   * @param {CanvasRenderingContext2D} context
   * @param {MapLayout} layout
   * @param {string} name
   * @param {number} place
   * @param {Metric} metric
   */
  #paint(context, layout, name, place, metric) {
    writeCodes(this.store.gpus(name), this.store.summary(name).faults, this.store.stateOf(name), metric, this.mask(name), this.#fresh);
    if (layout.mode === "hosts") this.#fresh[0] = hostCode(this.#fresh);
    for (let slot = 0; slot < layout.slots; slot += 1) {
      const code = this.#fresh[slot] ?? EMPTY;
      const at = place * layout.slots + slot;
      if (this.#drawn[at] === code) continue;
      this.#drawn[at] = code;
      const [x, y] = cornerOf(layout, place, slot);
      drawCell(context, /** @type {any} */ (this.#colours), code, x, y, layout.pitch - 1);
    }
  }

  /** Updates the map's text alternative and its legend. */
  #describe() {
    const { gpus, counts } = this.store.overview();
    const free = this.store.fleet?.totals.gpus_free ?? 0;
    const exceptions = STATES.filter(({ attention, level, key }) => attention && level === "gpu" && counts[key])
      .map(({ key, words }) => `, ${count(counts[key])} ${words}`).join("");
    const stale = counts.stale ? `, ${many(counts.stale, "host")} stale` : "";
    const label = `Fleet map: ${many(gpus, "GPU")} on ${many(this.#names.length, "host")}, ${count(free)} free${exceptions}${stale};`
      + " all are in the list below";
    if (this.#canvas.ariaLabel !== label) this.#canvas.ariaLabel = label;
    const { metric, map } = this.view();
    render(html`<h2>Fleet map</h2>${this.#layout === null ? nothing : legend(metric)}
      <label>Map <select @change=${(/** @type {Event} */ event) => {
        const { value } = /** @type {HTMLSelectElement} */ (event.target);
        this.choose({ map: /** @type {MapMode} */ (value) });
      }}>${MODE_WORDS.map(([mode, words]) => html`<option value=${mode} .selected=${mode === map}>${words}</option>`)}</select></label>`,
    this.#legend);
  }

  /** @param {MouseEvent} event */
  #at({ offsetX, offsetY }) {
    return this.#layout === null ? null : placeAt(this.#layout, offsetX, offsetY);
  }

  /** @param {MouseEvent} event */
  #hover(event) {
    const at = this.#at(event);
    const name = this.#names[at?.host ?? -1];
    if (at === null || name === undefined) return "";
    const { gpus } = this.store.host(name) ?? {};
    const row = gpus === undefined ? undefined : cardRows(gpus)[at.slot];
    const gpu = row === undefined || this.#layout?.mode === "hosts" ? undefined : this.store.rows(name)[row];
    const state = this.store.stateOf(name);
    if (gpu === undefined) return sentence(this.store.summary(name), state);
    const use = gpu.state !== "ok" ? gpu.state : gpu.use === "busy" ? "" : (gpu.use ?? "").replace("_", " ");
    return [`${name} GPU ${gpu.label}`, state === "live" ? "" : state, use, reading(gpu, this.view().metric).words, usersOf(gpu), gpu.useReason, ...gpu.findings.filter(isFault).map(told)]
      .filter(Boolean).join(" · ");
  }
}

/** @param {Metric} metric */
function legend(metric) {
  const [least, most] = SCALES[metric];
  return html`
    <span>${least} <i class="ramp">${[0, 1, 2, 3, 4, 5].map((step) => html`<i class="cell step${step}"></i>`)}</i> ${most}</span>
    ${STATES.map((state) => legendEntry(state))}`;
}

/** @param {import("../state/states.js").State} state */
function legendEntry({ legend, cell, glyph, hue, words, name = words }) {
  switch (legend) {
    case "swatch":
      return html` <span><i class="cell ${cell?.kind ?? ""}"></i> ${name}</span>`;
    case "glyph":
      return html` <span><b class=${hue}>${glyph}</b> ${name}</span>`;
    case "badge":
      return html` <span><i class="mark ${hue}">${glyph}</i> ${name}</span>`;
    default:
      return nothing;
  }
}
