// The bar above the map: which GPUs, which metric, which order.

import { html, nothing } from "../vendor/lit-html.js";
import { count } from "../format.js";
import { valueFor, withValue } from "../filter/query.js";
import { STATES, PROBLEMS, wordOf } from "../state/states.js";

/** @import { Metric, Overview, Sort, View } from "../types.js" */

const BUTTONS = STATES.filter(({ button }) => button !== undefined);
/** @type {[Metric, string][]} */
const METRIC_WORDS = [["util", "Util"], ["mem", "Memory"], ["temp", "Temp"], ["power", "Power"]];
/** @type {[Sort, string][]} */
const SORT_WORDS = [["host", "host"], ["free", "most free"], ["util", "utilization"], ["idle", "held idle, GiB × hours"]];

/**
 * @param {View} view
 * @param {Overview} overview
 * @param {object} actions
 * @param {(change: Partial<View>) => void} actions.choose
 * @param {() => void} actions.toUsers
 * @param {() => void} actions.download
 */
export function filterBar(view, overview, { choose, toUsers, download }) {
  const chosen = valueFor(view.q, "state");
  /** @type {[string, string, number | undefined][]} */
  const states = [
    ["", "All", undefined],
    ...BUTTONS.map((state) => /** @type {[string, string, number | undefined]} */ ([
      wordOf(state), state.button ?? "", overview.counts[state.key],
    ])),
    [PROBLEMS, "Problems", overview.withProblems],
  ];
  return html`
    <button type="button" class="plain users-link" @click=${toUsers}>Users</button>
    <div class="group" role="group" aria-label="Which GPUs">${states.map(
      ([state, words, number]) => html`<button type="button" aria-pressed=${chosen === state}
        @click=${() => choose({ q: withValue(view.q, "state", state) })}>${words}${number ? ` ${count(number)}` : nothing}</button>`,
    )}</div>
    <div class="group" role="group" aria-label="Which metric">${METRIC_WORDS.map(
      ([metric, words]) => html`<button type="button" aria-pressed=${view.metric === metric}
        @click=${() => choose({ metric })}>${words}</button>`,
    )}</div>
    <label class="sort">Sort <select @change=${(/** @type {Event} */ event) => {
      const select = /** @type {HTMLSelectElement} */ (event.target);
      choose({ sort: /** @type {Sort} */ (select.value) });
    }}>${SORT_WORDS.map(
      ([sort, words]) => html`<option value=${sort} .selected=${view.sort === sort}>${words}</option>`,
    )}</select></label>
    <button type="button" class="plain" title="Download what is shown as CSV (d)" @click=${download}>CSV</button>`;
}
