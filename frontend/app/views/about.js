// The footer: versions, and what the broker has refused.

import { html, nothing } from "../vendor/lit-html.js";
import { count, timeOfDay } from "../format.js";

/** @import { Fleet } from "../types.js" */

/** @param {Fleet} fleet */
export function about({ broker, web }) {
  const refused = Object.entries(broker.refused ?? {}).map(([reason, n]) => `${reason} ${count(n)}`);
  return html`${broker.started_at === undefined
    ? nothing
    : html`<span>broker ${broker.version} since ${timeOfDay(broker.started_at)}</span>`}
    <span>web ${web?.version ?? ""}</span>${refused.length === 0
      ? nothing
      : html`<span>refused messages: ${refused.join(", ")}</span>`}`;
}
