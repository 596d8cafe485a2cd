// The last hour of a number as one maximum per minute: fetched once, then continued on the page.

import { gpuKeys } from "./tables.js";

const MINUTES = 60;
const MINUTE_SECONDS = 60;
const RETRY_SECONDS = 30;
/** Of the box that path() draws in. */
const BOX_HEIGHT = 18;

/** Sixty minutes of one number. */
export class Hour {
  /** The latest path, and the value of a full bar in it. */
  #path = /** @type {string | null} */ (null);
  #full = 0;

  /**
   * @param {(number | null)[]} values oldest first; null where nothing was measured
   * @param {number} until unix seconds, the end of the newest minute
   */
  constructor(values, until) {
    this.values = values.slice(-MINUTES);
    while (this.values.length < MINUTES) this.values.unshift(null);
    this.until = until;
  }

  /**
   * Adds a current value. Returns false when whole minutes were missed; the server has them.
   * @param {number | null | undefined} value
   * @param {number} now unix seconds by the broker's clock
   */
  record(value, now) {
    const passed = Math.floor((now - this.until) / MINUTE_SECONDS) + 1;
    if (passed < 0) return true; // Of a finished minute, which the server has included.
    if (passed > 0) {
      const gap = new Array(Math.min(passed, MINUTES)).fill(null);
      this.values = [...this.values, ...gap].slice(-MINUTES);
      this.until += MINUTE_SECONDS * passed;
      this.#path = null;
    }
    const last = this.values[MINUTES - 1] ?? null;
    if (value != null && (last === null || value > last)) {
      this.values[MINUTES - 1] = value;
      this.#path = null;
    }
    return passed < 2;
  }

  /**
   * The bars as an SVG path in a box of 60 x 18. Zero is a thin line, a gap is empty.
   * @param {number} [full] the value of a full-height bar; the largest value if absent
   */
  path(full = Math.max(1, ...this.values.map((value) => value ?? 0))) {
    if (this.#path !== null && this.#full === full) return this.#path;
    this.#full = full;
    this.#path = this.values.map((value, minute) => {
      if (value === null) return "";
      const height = Math.max(0.7, BOX_HEIGHT * Math.min(1, value / full)).toFixed(1);
      return `M${minute} ${BOX_HEIGHT}v-${height}h.8v${height}z`;
    }).join("");
    return this.#path;
  }
}

/**
 * The hours shown on the page, by the path below api/v1 that they are fetched from: `recent` has the
 * fleet's by the name of the total, `hosts/NAME/recent` a host's by the key of the GPU.
 */
export class Recent {
  /** @type {Map<string, { hours: Map<string, Hour>, askAt: number }>} */
  #kept = new Map();

  /**
   * @param {(path: string) => Promise<any>} ask fetches JSON below api/v1; rejects when there is none
   * @param {() => number} clock seconds, never going back
   * @param {() => void} onNews
   */
  constructor(ask, clock, onNews) {
    this.ask = ask;
    this.clock = clock;
    this.onNews = onNews;
  }

  /**
   * The last hour up to now; fetched when it is missing or has gaps.
   * @param {string} path
   * @param {[string | null, number | null | undefined][]} values current ones by name
   * @param {number} now unix seconds by the broker's clock
   */
  hours(path, values, now) {
    const kept = this.#kept.get(path) ?? { hours: new Map(), askAt: -Infinity };
    this.#kept.set(path, kept);
    for (const [name, value] of values) {
      if (kept.hours.get(name ?? "")?.record(value, now) === false) kept.askAt = -Infinity;
    }
    if (this.clock() >= kept.askAt) {
      kept.askAt = this.clock() + RETRY_SECONDS;
      this.ask(path).then((answer) => {
        kept.hours = hoursOf(answer);
        kept.askAt = Infinity;
        this.onNews();
      }).catch(() => {}); // An older server or a silent broker: no bars until the next attempt.
    }
    return kept.hours;
  }

  /** @param {string} path */
  drop(path) {
    this.#kept.delete(path);
  }

  /** Fetches all of them again: minutes may have been missed. */
  renew() {
    for (const kept of this.#kept.values()) kept.askAt = -Infinity;
  }
}

/** @param {any} answer of api/v1 */
function hoursOf({ until, uuid, ...columns }) {
  /** @type {[string, (number | null)[]][]} */
  const named = uuid === undefined
    ? Object.entries(columns).filter(([, values]) => Array.isArray(values))
    : gpuKeys(uuid).flatMap((key, row) => key === null ? [] : [[key, columns.utilization_percent[row]]]);
  return new Map(named.map(([name, values]) => [name, new Hour(values, until)]));
}

/** @param {string} host */
export function pathOf(host) {
  return `hosts/${encodeURIComponent(host)}/recent`;
}
