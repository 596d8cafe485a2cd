// The findings of a host: a sign in its closed row, and a list in the open one.

import { html, nothing } from "../vendor/lit-html.js";
import { fullTime, span } from "../format.js";
import { isFault, told, toldOfHost } from "../state/findings.js";

/** @import { Finding } from "../types.js" */

/** How a severity is drawn: a shape as well as a colour. @type {Record<Finding["severity"], { glyph: string, hue: string }>} */
export const SEVERITY = {
  critical: { glyph: "✕", hue: "red" },
  warning: { glyph: "⚠\uFE0E", hue: "amber" },
  info: { glyph: "ℹ\uFE0E", hue: "muted" },
};

/** The sign of a severity, which screen readers hear as a word. @param {Finding["severity"]} severity */
export function severitySign(severity) {
  const { glyph, hue } = SEVERITY[severity];
  return html`<span class=${hue} title=${severity}><span aria-hidden="true">${glyph}</span><span class="spoken">${severity}: </span></span>`;
}

/**
 * A sign in the closed row whose title names what needs attention; nothing where nothing does.
 * @param {Finding[]} findings the worst first
 */
export function findingSign(findings) {
  const faults = findings.filter(isFault);
  const [worst] = faults;
  if (worst === undefined) return nothing;
  return html`<span class="sign ${SEVERITY[worst.severity].hue}" title=${faults.map(toldOfHost).join("\n")}>⚠\uFE0E</span>`;
}

/**
 * @param {Finding[]} findings the worst first
 * @param {number} now unix seconds by the host's clock
 */
export function findingList(findings, now) {
  if (findings.length === 0) return nothing;
  return html`<ul class="findings">${findings.map((finding) => line(finding, now))}</ul>${findings.some(({ isBare }) => isBare)
    ? html`<p class="sub findings-note">Your role does not include the details of findings.</p>`
    : nothing}`;
}

/**
 * @param {Finding} finding
 * @param {number} now
 */
function line(finding, now) {
  return html`<li>${severitySign(finding.severity)} ${finding.label === ""
    ? nothing
    : html`<b>GPU ${finding.label}</b> `}${toldSince(finding, now)}</li>`;
}

/**
 * What a finding says, and for how long it has been there.
 * @param {Finding} finding
 * @param {number} now unix seconds by the host's clock
 */
export function toldSince(finding, now) {
  const { since } = finding;
  return html`${told(finding)}${since === null
    ? nothing
    : html` <small class="muted" title=${`since ${fullTime(since)}`}>for ${span(now - since)}</small>`}`;
}
