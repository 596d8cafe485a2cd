// The finder: its form in the bar, and the answer with lines to paste.

import { html, nothing } from "../vendor/lit-html.js";
import { many } from "../format.js";
import { MOST_GPUS, commands, needWords } from "../filter/finder.js";
import { copy } from "./copy-button.js";

/** @import { Need, Offer } from "../types.js" */
/** @import { Watch } from "../filter/watch.js" */

const SHOWN_OFFERS = 3;

/**
 * @param {Need | null} need
 * @param {(need: Need) => void} ask
 */
export function question(need, ask) {
  const { gpus, gib, model, anywhere } = need ?? { gpus: 1, gib: 0, model: "", anywhere: false };
  /** @param {Event} event */
  const submit = (event) => {
    event.preventDefault();
    const form = /** @type {HTMLElement} */ (event.currentTarget).closest("form");
    if (form?.reportValidity()) ask(needOf(new FormData(form)));
  };
  return html`<form class="finder" aria-label="Find free GPUs" @submit=${submit}
      @change=${need === null ? nothing : submit}>
    <label>Find <input name="gpus" type="number" min="1" max=${MOST_GPUS} required .value=${String(gpus)}> GPUs</label>
    <label>with <input name="gib" type="number" min="0" max="999999" step="any" placeholder="any" .value=${gib > 0 ? String(gib) : ""}> GiB</label>
    <input name="model" aria-label="Model" placeholder="any model" maxlength="99" .value=${model}>
    <select name="on" aria-label="Where">
      <option value="one" .selected=${!anywhere}>on one host</option>
      <option value="any" .selected=${anywhere}>anywhere</option>
    </select>
    <button>Find<span class="wide"> (f)</span></button>
  </form>`;
}

/**
 * @param {FormData} form
 * @returns {Need}
 */
function needOf(form) {
  return {
    gpus: Number(form.get("gpus")),
    gib: Number(form.get("gib")),
    model: String(form.get("model")).trim(),
    anywhere: form.get("on") === "any",
  };
}

/**
 * @param {object} given
 * @param {Need | null} given.need
 * @param {Offer[]} given.offers
 * @param {boolean} given.live whether the data are current
 * @param {Watch} given.watch
 * @param {(host: string) => void} given.goTo
 * @param {() => void} given.close
 */
export function answer({ need, offers, live, watch, goTo, close }) {
  return html`${need === null ? nothing : html`<div class="card answer">
    <p><b role="status">${live ? found(need, offers) : "No live data. The answer will appear when the connection is back."}</b>
      ${offers.length > 0 || watch.need !== null ? nothing : html`<button type="button"
        @click=${() => watch.start(need)}>Tell me when free</button>`}
      <button type="button" class="link" @click=${close}>Close (Esc)</button></p>
    ${(need.anywhere ? offers : offers.slice(0, SHOWN_OFFERS)).map((offer) => offerLines(offer, goTo))}
  </div>`}${watch.need === null ? nothing : html`<p class="card answer">
    ◷ Waiting for ${needWords(watch.need)}. ${watch.silent
      ? "Notifications are blocked; the tab title will change instead."
      : "A notification will appear while this page is open."}
    <button type="button" class="link" @click=${() => watch.stop()}>Stop</button></p>`}`;
}

/** Announces what became free. @param {Watch} watch */
export function newsBanner(watch) {
  return watch.news === "" ? nothing : html`<p class="banner good">${watch.news}
    <button type="button" @click=${() => watch.stop()}>Dismiss</button></p>`;
}

/**
 * @param {Need} need
 * @param {Offer[]} offers
 */
function found(need, offers) {
  if (offers.length === 0) return `Not free now: ${needWords(need)}.`;
  const rest = offers.length - SHOWN_OFFERS;
  const where = need.anywhere ? `on ${many(offers.length, "host")}` : "best fit first";
  return `Free now: ${needWords(need)}, ${where}${rest > 0 && !need.anywhere ? `; ${many(rest, "more host")} not listed` : ""}.`;
}

/**
 * @param {Offer} offer
 * @param {(host: string) => void} goTo
 */
function offerLines(offer, goTo) {
  const labels = offer.gpus.map(({ label, unhealthy }) => `${label}${unhealthy ? " (⚠\uFE0E unhealthy)" : ""}`).join(", ");
  return html`<div class="offer">
    <p><button type="button" class="link" @click=${() => goTo(offer.host)}>${offer.host}</button>
      <small class="muted">GPU ${labels} · ${offer.leftOver === 0 ? "uses the last free GPUs on this host" : `leaves ${offer.leftOver} free`}</small></p>
    ${commands(offer).map((line) => html`<div><code>${line}</code><button type="button" @click=${copy}>Copy</button></div>`)}
  </div>`;
}
