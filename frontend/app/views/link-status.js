// The state of the link in the header, and the banners that qualify what is below.

import { html, nothing } from "../vendor/lit-html.js";
import { age, timeOfDay } from "../format.js";

/** @import { Fleet, LinkState } from "../types.js" */

/**
 * The pill. Screen readers announce only its word, not the seconds that count beside it.
 * @param {LinkState} link
 * @param {Fleet | null} fleet
 * @param {number} clock seconds of the page's own clock
 * @param {number | null} heardAt of the newest message, on the same clock
 */
export function pill(link, fleet, clock, heardAt) {
  const lost = link.state === "live" && fleet?.broker.state === "lost";
  const kind = lost ? "lost" : link.state;
  const words = { live: "Live", connecting: "Connecting", reconnecting: "Reconnecting", signedOut: "Signed out", lost: "Broker silent" };
  return html`<span class="pill ${kind}"><i class="dot"></i
    ><span role="status">${words[kind]}</span
    ><span aria-hidden="true">${detail(kind, link, fleet, clock, heardAt)}</span></span>`;
}

/**
 * @param {string} kind
 * @param {LinkState} link
 * @param {Fleet | null} fleet
 * @param {number} clock
 * @param {number | null} heardAt
 */
function detail(kind, link, fleet, clock, heardAt) {
  if (kind === "live") return ` · ${fleet?.interval_seconds ?? 1} s`;
  const wait = link.retryAt === null || kind === "signedOut" ? 0 : Math.ceil(link.retryAt - clock);
  const soon = wait > 0 ? ` in ${wait} s` : "";
  if (kind !== "reconnecting" || heardAt === null) return soon;
  return `${soon}, last data ${age(clock - heardAt)} ago`;
}

/**
 * What a viewer must know before reading the page.
 * @param {LinkState} link
 * @param {Fleet | null} fleet
 * @param {boolean} outdated whether the server has newer files than this page
 */
export function banner(link, fleet, outdated) {
  const asOf = html`Everything below is as of <b>${timeOfDay(fleet?.now)}</b>`;
  const out = link.state === "signedOut";
  const lost = fleet !== null && link.state !== "live";
  return html`${lost || out
    ? html`<p class="banner alarm"><b>${out ? html`You are signed out. <a href="">Sign in</a>` : "Connection lost."}</b> ${lost
        ? html`${asOf}${out ? "" : "; it will refresh automatically"}.`
        : nothing}</p>`
    : nothing}${!lost && fleet?.broker.state === "lost"
    ? html`<p class="banner alarm">${fleet.now === undefined
        ? html`<b>No contact with the broker yet.</b> Check that it is running and reachable from this web server.`
        : html`<b>The broker is silent.</b> ${asOf}; no host is known to be live.`}</p>`
    : nothing}${[fleet?.broker, fleet?.web].flatMap((part) => part?.warnings ?? []).map(
    (warning) => html`<p class="banner note">⚠\uFE0E ${warning}</p>`,
  )}${outdated
    ? html`<p class="banner note">The server has a newer version of this page.
        <button type="button" @click=${() => location.reload()}>Reload</button></p>`
    : nothing}`;
}
