// Numbers as text; the only place that rounds for display.

export const DASH = "–";
export const MIB_PER_GIB = 1024;
const JOULES_PER_KWH = 3_600_000;
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en-US", {
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});

/** @typedef {number | null | undefined} Maybe */

/** @param {Maybe} n */
export function count(n) {
  return n == null ? DASH : whole.format(n);
}

/** @param {Maybe} n */
export function percent(n) {
  return n == null ? DASH : `${Math.round(n)}%`;
}

/** @param {Maybe} n */
export function celsius(n) {
  return n == null ? DASH : `${Math.round(n)}°`;
}

/** @param {Maybe} n */
export function watts(n) {
  return n == null ? DASH : `${whole.format(n)} W`;
}

/**
 * GiB of MiB, tenths below 100: "31.8", "512".
 * @param {Maybe} mib
 */
export function gib(mib) {
  if (mib == null) return DASH;
  return (mib < 99.95 * MIB_PER_GIB ? tenth : whole).format(mib / MIB_PER_GIB);
}

/**
 * A size as it is sold, in whole GiB: 81559 MiB is "80".
 * @param {Maybe} mib
 */
export function size(mib) {
  if (mib == null) return DASH;
  return mib < MIB_PER_GIB ? gib(mib) : whole.format(mib / MIB_PER_GIB);
}

/**
 * Used of total in one unit: ["758", "/ 2,048 GiB"], ["31", "/ 61 TiB"].
 * @param {Maybe} used
 * @param {Maybe} total
 * @returns {[string, string]}
 */
export function memoryOf(used, total) {
  const tib = (total ?? used ?? 0) >= 10_000 * MIB_PER_GIB;
  const unit = tib ? 1024 * MIB_PER_GIB : MIB_PER_GIB;
  /** @param {Maybe} mib */
  const text = (mib) => (mib == null ? DASH : (mib < 10 * unit ? tenth : whole).format(mib / unit));
  return [text(used), `/ ${text(total)} ${tib ? "TiB" : "GiB"}`];
}

/**
 * Power of a fleet with its unit: ["850", "W"], ["11.1", "kW"], ["3,955", "kW"].
 * @param {Maybe} n
 * @returns {[string, string]}
 */
export function power(n) {
  if (n == null) return [DASH, "W"];
  if (n < 1000) return [whole.format(n), "W"];
  return [(n < 99_950 ? tenth : whole).format(n / 1000), "kW"];
}

/**
 * Energy in kWh, tenths below 100: "0.4 kWh", "1,234 kWh".
 * @param {Maybe} joules
 */
export function energy(joules) {
  if (joules == null) return DASH;
  const kwh = joules / JOULES_PER_KWH;
  return `${(kwh < 99.95 ? tenth : whole).format(kwh)} kWh`;
}

/**
 * A time span to the minute: "<1m", "42m", "16h 17m", "3d 10h".
 * @param {Maybe} seconds
 */
export function span(seconds) {
  if (seconds == null) return DASH;
  if (seconds < MINUTE) return "<1m";
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)}m`;
  if (seconds < DAY) return two(seconds, HOUR, "h", MINUTE, "m");
  return two(seconds, DAY, "d", HOUR, "h");
}

/**
 * A time span in one unit: "<1m", "42m", "16h", "3d".
 * @param {Maybe} seconds
 */
export function shortSpan(seconds) {
  return span(seconds).split(" ")[0] ?? DASH;
}

/**
 * An age to the second: "12s", "4m 12s", then as span().
 * @param {Maybe} seconds
 */
export function age(seconds) {
  if (seconds == null) return DASH;
  if (seconds < MINUTE) return `${Math.max(0, Math.floor(seconds))}s`;
  if (seconds < HOUR) return two(seconds, MINUTE, "m", 1, "s");
  return span(seconds);
}

/**
 * The viewer's local time of unix seconds: "14:02:31"; on another day "Fri Nov 27 14:02".
 * @param {Maybe} at
 * @param {Date} [today]
 */
export function timeOfDay(at, today = new Date()) {
  if (at == null) return DASH;
  const then = new Date(at * 1000);
  const [day, time] = [then.toDateString(), then.toLocaleTimeString("en-GB")];
  return day === today.toDateString() ? time : `${day.slice(0, 10)} ${time.slice(0, 5)}`;
}

/**
 * The viewer's local time of unix seconds, in full: "Fri Nov 27 2026 14:02:31".
 * @param {number} at
 */
export function fullTime(at) {
  const then = new Date(at * 1000);
  return `${then.toDateString()} ${then.toLocaleTimeString("en-GB")}`;
}

/**
 * A model without its vendor: "H100 80GB HBM3".
 * @param {string} name
 */
export function model(name) {
  return name.replace(/^NVIDIA\s+/i, "").replace(/^(GeForce|Tesla)\s+/i, "");
}

/**
 * "1 host", "5 hosts", "2 processes".
 * @param {Maybe} n
 * @param {string} noun
 */
export function many(n, noun) {
  const ending = n === 1 ? "" : noun.endsWith("s") ? "es" : "s";
  return `${count(n)} ${noun}${ending}`;
}

/**
 * @param {number} seconds
 * @param {number} large
 * @param {string} largeName
 * @param {number} small
 * @param {string} smallName
 */
function two(seconds, large, largeName, small, smallName) {
  const rest = Math.floor((seconds % large) / small);
  return `${Math.floor(seconds / large)}${largeName} ${rest}${smallName}`;
}
