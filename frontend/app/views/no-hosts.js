// The message in place of an empty list.

import { html, nothing } from "../vendor/lit-html.js";

/**
 * @param {object} given
 * @param {number} given.hosts in the fleet
 * @param {number} given.shown of these, as the filter leaves them
 * @param {boolean} given.brokerLost
 * @param {string} given.q the query
 * @param {() => void} given.clear
 */
export function noHosts({ hosts, shown, brokerLost, q, clear }) {
  if (hosts === 0) {
    return html`<p class="card empty">${brokerLost
      ? "Hosts will appear once the broker is reachable."
      : html`No host is reporting yet. On a machine with GPUs: <code>gpu-monitor collector</code>`}</p>`;
  }
  if (shown > 0) return nothing;
  return html`<p class="card empty">No host matches “${q}”.
    <button type="button" @click=${clear}>Clear (Esc)</button></p>`;
}
