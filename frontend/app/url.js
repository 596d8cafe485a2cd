// What the viewer chose, to and from the query string; pure.

/** @import { View } from "./types.js" */

export const SHOWS = /** @type {const} */ (["all", "free", "idle", "hot", "trouble"]);
export const METRICS = /** @type {const} */ (["util", "mem", "temp", "power"]);
export const SORTS = /** @type {const} */ (["host", "free", "util", "idle"]);

/**
 * The view a query string asks for; what is absent or unknown is the default.
 * @param {string} search
 * @returns {View}
 */
export function readView(search) {
  const query = new URLSearchParams(search);
  const open = query.get("open");
  return {
    q: query.get("q") ?? "",
    show: oneOf(SHOWS, query.get("show")),
    metric: oneOf(METRICS, query.get("metric")),
    sort: oneOf(SORTS, query.get("sort")),
    open: open === null ? null : new Set(open.split(",").filter(Boolean)),
  };
}

/**
 * The query string of a view, defaults left out: "" or "?show=idle".
 * @param {View} view
 * @returns {string}
 */
export function writeView(view) {
  const query = new URLSearchParams();
  if (view.q !== "") query.set("q", view.q);
  if (view.show !== SHOWS[0]) query.set("show", view.show);
  if (view.metric !== METRICS[0]) query.set("metric", view.metric);
  if (view.sort !== SORTS[0]) query.set("sort", view.sort);
  if (view.open !== null) query.set("open", [...view.open].join(","));
  // Commas and colons are legal in a query, and host names stay readable with them.
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  return text === "" ? "" : `?${text}`;
}

/**
 * @template {string} T
 * @param {readonly [T, ...T[]]} allowed
 * @param {string | null} value
 * @returns {T}
 */
function oneOf(allowed, value) {
  return allowed.find((one) => one === value) ?? allowed[0];
}
