// The tiles at the top: how much is free, how busy the fleet is, what needs attention.

import { html, nothing } from "../vendor/lit-html.js";
import { count, many, memoryOf, power } from "../format.js";
import { STATES, wordOf } from "../state/states.js";
import { bars } from "./sparkline.js";

/** @import { Hour } from "../state/last-hour.js" */
/** @import { Overview, Totals } from "../types.js" */

const ATTENTION = STATES.filter(({ attention }) => attention);

/**
 * @param {object} given
 * @param {Partial<Totals>} given.totals
 * @param {Overview} given.overview
 * @param {string} given.hottest what the hottest GPU is called on its host
 * @param {string} given.bestFit the host to take free GPUs on; "" for none
 * @param {Map<string, Hour>} given.hours the last one of each total
 * @param {(state: string) => void} show
 * @param {(host: string) => void} goTo
 */
export function summaryTiles({ totals, overview, hottest, bestFit, hours }, show, goTo) {
  const [used, ofTotal] = memoryOf(totals.memory_used_mib, totals.memory_total_mib);
  const [drawn, unit] = power(totals.power_watts);
  return html`
    <div class="tile free-now">
      <h2>Free now</h2>
      <p class="big free"><button type="button" @click=${() => show("free")}>${count(totals.gpus_free)}</button
        ><small>of ${many(totals.gpus, "GPU")}</small></p>
      <p class="sub">${overview.wholeHosts > 0 ? html`<span>${many(overview.wholeHosts, "host")} completely free${bestFit === "" ? "" : " ·"}</span>` : nothing}
        ${bestFit === "" ? nothing : html`<span>take</span> <button type="button" class="link"
            title="Taking free GPUs here keeps other hosts completely free"
            @click=${() => goTo(bestFit)}>${bestFit}</button> <span>first</span>`}</p>
    </div>
    <div class="tile">
      <h2>Utilization</h2>
      <p class="big" title="Mean over the live GPUs that report it">${count(totals.utilization_percent)}<small>%<span class="wide"> · ${count(totals.gpus_busy)} busy</span></small></p>
      ${bars(hours.get("utilization_percent"), 100)}
    </div>
    <div class="tile">
      <h2>GPU memory</h2>
      <p class="big">${used}<small>${ofTotal}</small></p>
      ${bars(hours.get("memory_used_mib"), totals.memory_total_mib)}
    </div>
    <div class="tile">
      <h2>Power</h2>
      <p class="big">${drawn}<small>${unit}</small></p>
      ${bars(hours.get("power_watts"))}
    </div>
    <div class="tile">
      <h2>Hottest</h2>
      <p class="big">${count(overview.hottest)}<small>°C</small></p>
      ${overview.hottest === null
        ? nothing
        : html`<p class="sub"><button type="button" class="link" @click=${() => goTo(overview.hottestHost)}
            >${overview.hottestHost} / GPU ${hottest}</button></p>`}
    </div>
    <div class="tile attention">
      <h2>Needs attention</h2>
      ${totals.gpus === undefined ? nothing : attention(overview, show)}
    </div>`;
}

/**
 * @param {Overview} fleet
 * @param {(state: string) => void} show
 */
function attention(fleet, show) {
  const some = ATTENTION.filter(({ key }) => fleet.counts[key]);
  if (some.length === 0) return html`<p class="sub">✓ nothing</p>`;
  return html`<ul>${some.map((state) => html`<li><span class=${state.hue} aria-hidden="true">${state.glyph}</span>
    <button type="button" class="link" @click=${() => show(wordOf(state))}>${counted(state, fleet.counts[state.key])}</button></li>`)}</ul>`;
}

/**
 * @param {import("../state/states.js").State} state
 * @param {number | undefined} n
 */
function counted({ level, noun, words }, n) {
  return `${many(n, noun ?? (level === "gpu" ? "GPU" : "host"))} ${words}`;
}
