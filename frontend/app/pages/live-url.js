// The live page's view, to and from the query string; pure.

import { MOST_GPUS } from "../filter/finder.js";
import { withValue } from "../filter/query.js";

/** @import { Need, View } from "../types.js" */

export const METRICS = /** @type {const} */ (["util", "mem", "temp", "power"]);
export const SORTS = /** @type {const} */ (["host", "free", "util", "idle"]);
export const MAPS = /** @type {const} */ (["auto", "off", "strips", "blocks", "hosts"]);
export const USER_SORTS = /** @type {const} */ (["gpus", "user", "gib", "util", "idle", "time"]);

/**
 * The view that a query string describes; absent and unknown values are the defaults.
 * `show=idle` is short for the query `state:held_idle`.
 * @param {string} search
 * @returns {View}
 */
export function readView(search) {
  const query = new URLSearchParams(search);
  const open = query.get("open");
  const q = query.get("q") ?? "";
  const show = query.get("show");
  return {
    q: show === null || show === "all" ? q : withValue(q, "state", show),
    metric: oneOf(METRICS, query.get("metric")),
    sort: oneOf(SORTS, query.get("sort")),
    map: oneOf(MAPS, query.get("map")),
    by: oneOf(USER_SORTS, query.get("by")),
    need: readNeed(query),
    open: open === null ? null : new Set(open.split(",").filter(Boolean)),
  };
}

/**
 * @param {URLSearchParams} query
 * @returns {Need | null}
 */
function readNeed(query) {
  const [, gpus, gib = "0"] = /^(\d{1,3})(?:x(\d{1,6}(?:\.\d+)?))?$/.exec(query.get("need") ?? "") ?? [];
  if (gpus === undefined || Number(gpus) < 1 || Number(gpus) > MOST_GPUS) return null;
  return {
    gpus: Number(gpus),
    gib: Number(gib),
    model: query.get("model") ?? "",
    anywhere: query.get("on") === "any",
  };
}

/**
 * The query string of a view, defaults left out: "" or "?q=state:held_idle".
 * @param {View} view
 * @returns {string}
 */
export function writeView(view) {
  const { q, metric, sort, map, by, need, open } = view;
  const query = new URLSearchParams();
  if (q !== "") query.set("q", q);
  if (metric !== METRICS[0]) query.set("metric", metric);
  if (sort !== SORTS[0]) query.set("sort", sort);
  if (map !== MAPS[0]) query.set("map", map);
  if (by !== USER_SORTS[0]) query.set("by", by);
  if (need !== null) {
    query.set("need", `${need.gpus}x${need.gib}`);
    if (need.model !== "") query.set("model", need.model);
    if (need.anywhere) query.set("on", "any");
  }
  if (open !== null) query.set("open", [...open].join(","));
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
