// Finds hosts with the wanted GPUs free, best fit first, by the rule of api/v1/free; pure.

import { MIB_PER_GIB, many } from "../format.js";
import { freeMib } from "../state/gpu-metrics.js";
import { gpuLabels, isPastable } from "../state/tables.js";
import { healthReasonsOf } from "../state/states.js";

/** @import { Fleet, Gpus, Host, Need, Offer } from "../types.js" */

/** The limit of api/v1/free. */
export const MOST_GPUS = 64;

/** @typedef {Offer["gpus"][number]} FreeGpu */

/**
 * Offers, best first: each has all the GPUs, or together they have where GPUs may be on several
 * hosts. Empty when too few are free. Unhealthy GPUs are offered only when there are no others.
 * @param {Fleet["hosts"]} hosts
 * @param {Need} need
 * @param {boolean} [sound] whether to leave out unhealthy GPUs
 * @returns {Offer[]}
 */
export function find(hosts, need, sound = need.anywhere) {
  const offers = [];
  for (const [name, host] of Object.entries(hosts)) {
    if (host.state !== "live" || host.gpus === undefined) continue;
    const free = freeGpus(host, host.gpus, need);
    const fitting = together(free.filter(({ fits, unhealthy }) => fits && !(sound && unhealthy)).sort(tightestFirst), need);
    if (fitting.length < (need.anywhere ? 1 : need.gpus)) continue;
    offers.push(offerOf(name, fitting.slice(0, need.gpus), free.length));
  }
  offers.sort((a, b) => unhealthy(a) - unhealthy(b) || a.leftOver - b.leftOver || (a.host < b.host ? -1 : 1));
  if (!need.anywhere) return offers;
  const found = enough(offers, need.gpus);
  return found.length === 0 && sound ? find(hosts, need, false) : found;
}

/** 1 for an offer with an unhealthy GPU, else 0. @param {Offer} offer */
function unhealthy({ gpus }) {
  return Number(gpus.some((gpu) => gpu.unhealthy));
}

/**
 * GPUs that one process can use together: a single MIG slice, or whole GPUs.
 * @param {FreeGpu[]} fitting
 * @param {Need} need
 */
function together(fitting, need) {
  if (need.gpus === 1) return fitting;
  const whole = fitting.filter(({ slice }) => !slice);
  return need.anywhere && whole.length === 0 ? fitting.slice(0, 1) : whole;
}

/**
 * Whether all GPUs of an offer are still the same ones, and free.
 * @param {Fleet["hosts"]} hosts
 * @param {Offer} offer
 */
export function isStillFree(hosts, { host, gpus }) {
  const now = hosts[host];
  return now?.state === "live"
    && gpus.every(({ row, uuid }) => now.gpus?.use?.[row] === "free" && (now.gpus.uuid?.[row] ?? null) === uuid);
}

/**
 * Takes from hosts with the fewest GPUs left over until there are enough, so that whole hosts stay free.
 * @param {Offer[]} offers
 * @param {number} wanted
 */
function enough(offers, wanted) {
  const taken = [];
  let missing = wanted;
  for (const offer of offers) {
    if (missing === 0) break;
    const gpus = offer.gpus.slice(0, missing);
    taken.push(offerOf(offer.host, gpus, offer.leftOver + offer.gpus.length));
    missing -= gpus.length;
  }
  return missing === 0 ? taken : [];
}

/**
 * @param {string} host
 * @param {FreeGpu[]} taken
 * @param {number} free
 * @returns {Offer}
 */
function offerOf(host, taken, free) {
  const gpus = [...taken].sort((a, b) => a.index - b.index);
  return {
    host,
    gpus,
    devices: gpus.map(({ device }) => device ?? "").join(","),
    leftOver: free - gpus.length,
  };
}

/**
 * The GPUs that the broker calls free; unknown memory never fits, nor does a slice without a UUID of
 * its own, as it has no other name for CUDA.
 * @param {Host} host
 * @param {Gpus} gpus its own
 * @param {Need} need
 * @returns {FreeGpu[]}
 */
function freeGpus(host, gpus, need) {
  const labels = gpuLabels(host);
  const model = need.model.toLowerCase();
  /** @type {Map<string | null, number>} */
  const counts = new Map();
  for (const uuid of gpus.uuid ?? []) counts.set(uuid, (counts.get(uuid) ?? 0) + 1);
  /** @type {FreeGpu[]} */
  const free = [];
  gpus.use?.forEach((use, row) => {
    if (use !== "free") return;
    const unused = freeMib(gpus, row);
    const uuid = gpus.uuid?.[row] ?? null;
    const slice = gpus.parent?.[row] != null;
    const index = gpus.index[row] ?? row;
    const device = isPastable(uuid) && counts.get(uuid) === 1 ? uuid : slice ? null : String(index);
    const fits = device !== null && (gpus.name?.[row] ?? "").toLowerCase().includes(model)
      && (need.gib === 0 || (unused !== null && unused >= need.gib * MIB_PER_GIB));
    free.push({
      row,
      index,
      label: labels[row] ?? "",
      slice,
      uuid,
      device,
      freeMib: unused,
      unhealthy: healthReasonsOf(gpus, row).length > 0,
      fits,
    });
  });
  return free;
}

/**
 * Least free memory first, unhealthy GPUs last.
 * @param {FreeGpu} a
 * @param {FreeGpu} b
 */
function tightestFirst(a, b) {
  const [one, other] = [a.freeMib ?? Infinity, b.freeMib ?? Infinity];
  return Number(a.unhealthy) - Number(b.unhealthy) || (one === other ? a.index - b.index : one - other);
}

/**
 * Lines to paste into a shell. CUDA counts GPUs as the driver does only when it is told to. A UUID comes from another machine, so it is quoted unless it is plain.
 * @param {Offer} offer
 * @returns {[string, string]}
 */
export function commands({ host, devices }) {
  const plain = /^[\w.,:/-]+$/.test(devices);
  // A control character could end the line while it is pasted.
  const safe = plain ? devices : `'${devices.replace(/[\p{Cc}]/gu, "").replaceAll("'", "'\\''")}'`;
  const order = /(^|,)\d+(,|$)/.test(devices) ? "CUDA_DEVICE_ORDER=PCI_BUS_ID " : "";
  return [`ssh ${host.startsWith("-") ? "-- " : ""}${host}`, `export ${order}CUDA_VISIBLE_DEVICES=${safe}`];
}

/** The need in words: "4 x H100 with 40 GiB free on one host". @param {Need} need */
export function needWords({ gpus, gib, model, anywhere }) {
  return [
    model === "" ? many(gpus, "GPU") : `${gpus} x ${model}`,
    gib > 0 && `with ${gib} GiB free`,
    gpus > 1 && !anywhere && "on one host",
  ].filter(Boolean).join(" ");
}
