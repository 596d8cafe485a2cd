// The last hour as 60 bars.

import { html } from "../vendor/lit-html.js";

/** @import { Hour } from "../state/last-hour.js" */

/**
 * An SVG path, not a canvas: some dozen are on the page and one bar moves in a minute, and it
 * takes its colour from the theme and its sharpness from the screen or the printer.
 * @param {Hour | undefined} hour
 * @param {number} [full] what a bar of full height stands for; the largest if not said
 */
export function bars(hour, full) {
  return html`<svg class="bars" viewBox="0 0 60 18" preserveAspectRatio="none" aria-hidden="true"
    ><path d=${hour?.path(full) ?? ""}></path></svg>`;
}
