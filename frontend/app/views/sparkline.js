// The last hour as 60 bars.

import { html } from "../vendor/lit-html.js";

/** @import { Hour } from "../state/last-hour.js" */

/**
 * An SVG path, not a canvas: the page has dozens and they change once a minute, and a path follows
 * the theme and the resolution of screen and printer.
 * @param {Hour | undefined} hour
 * @param {number} [full] the value of a full-height bar; the largest value if absent
 */
export function bars(hour, full) {
  return html`<svg class="bars" viewBox="0 0 60 18" preserveAspectRatio="none" aria-hidden="true"
    ><path d=${hour?.path(full) ?? ""}></path></svg>`;
}
