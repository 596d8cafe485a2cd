// The link to the web server: chooses the subprotocol, keeps frames in order, notices silence, reconnects.

import { SIGNED_OUT } from "./ticket.js";

/** @import { LinkState, Message, Socket } from "../types.js" */

const DEFLATE = "gpu-monitor.v1.deflate";
const JSON_TEXT = "gpu-monitor.v1.json";
const GOING_AWAY = 1001;
const MAX_BACKOFF_SECONDS = 30;
/** Before the document sets another limit; a server may need a moment for its first message. */
const FIRST_SILENCE_SECONDS = 10;
/** A timer this late means that the whole page was suspended. */
const LATE_SECONDS = 0.5;
/** By how much more a message may lag than the one before, as the two clocks may drift apart. */
const DRIFT_SECONDS = 0.0005;
/** With more frames waiting to be inflated this page cannot keep up and reconnects. */
const MAX_WAITING_FRAMES = 100;

/**
 * Sockets, clocks and timers; the browser's own in the page, controlled by hand in tests.
 * @typedef {object} Environment
 * @property {(url: string, protocols: string[]) => Socket} open
 * @property {() => number} clock seconds, never going back
 * @property {() => number} wall seconds, going on while the machine sleeps
 * @property {(run: () => void, seconds: number) => number} later
 * @property {(timer: number) => void} cancel
 * @property {() => number} random 0 to 1
 */

/**
 * Seconds to wait before attempt number `attempt` (0 is the first after a loss). They double each
 * time up to 30, less a random part up to half, so that a thousand pages do not reconnect at once.
 * @param {number} attempt
 * @param {number} random 0 to 1
 */
export function backoffSeconds(attempt, random) {
  return Math.min(MAX_BACKOFF_SECONDS, 2 ** attempt) * (1 - random / 2);
}

/**
 * The websocket's URL, relative to where the page is mounted.
 * @param {string} base document.baseURI
 */
export function socketUrl(base) {
  const url = new URL("ws", base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** The subprotocols this browser supports, best first. */
export function protocols() {
  try {
    new DecompressionStream("deflate-raw");
    return [DEFLATE, JSON_TEXT];
  } catch {
    return [JSON_TEXT];
  }
}

/**
 * The text of one raw-deflated frame.
 * @param {ArrayBuffer} data
 * @returns {Promise<string>}
 */
export async function inflate(data) {
  const stream = new DecompressionStream("deflate-raw");
  const writer = stream.writable.getWriter();
  // A broken frame rejects here and in the read below, where it is handled.
  writer.write(new Uint8Array(data)).catch(() => {});
  writer.close().catch(() => {});
  return new TextDecoder().decode(await new Response(stream.readable).arrayBuffer());
}

export class Link {
  /** @type {LinkState} */
  state = { state: "connecting", retryAt: null };
  /** When the newest message arrived, by clock(); null before the first. */
  heardAt = /** @type {number | null} */ (null);
  /** @type {Socket | null} */
  #socket = null;
  #attempt = 0;
  /** What it is while it is not live. @type {LinkState["state"]} */
  #down = "connecting";
  #timer = /** @type {number | null} */ (null);
  #silenceSeconds = FIRST_SILENCE_SECONDS;
  /** The broker's time in the newest message, and the smallest lag behind it so far. */
  #newest = /** @type {unknown} */ (null);
  #leastBehind = Infinity;

  /**
   * @param {string} url
   * @param {Environment} environment
   * @param {(message: Message, old: boolean) => boolean} onMessage false asks for a fresh start
   * @param {() => void} onState
   */
  constructor(url, environment, onMessage, onState) {
    this.url = url;
    this.environment = environment;
    this.onMessage = onMessage;
    this.onState = onState;
    this.#connect();
  }

  /** How long silence may last, as the document says. @param {number} seconds */
  allowSilence(seconds) {
    this.#silenceSeconds = seconds;
  }

  /** Checks for silence now: after a suspension, no timer may have run. */
  check() {
    const silent = this.heardAt === null ? 0 : this.environment.clock() - this.heardAt;
    if (this.state.state === "live" && silent >= this.#silenceSeconds) this.#lost(false);
  }

  /** Reconnects now instead of waiting. */
  retryNow() {
    if (this.state.retryAt !== null) this.#connect();
  }

  /** Replaces the connection, as is needed after a suspension. */
  restart() {
    if (this.#socket !== null) this.#lost(true);
  }

  #connect() {
    const socket = this.environment.open(this.url, protocols());
    this.#socket = socket;
    this.#leastBehind = Infinity;
    let queue = Promise.resolve();
    let waiting = 0;
    /** @param {MessageEvent} event */
    socket.onmessage = (event) => {
      waiting += 1;
      if (waiting > MAX_WAITING_FRAMES) return this.#lost(false, socket);
      // One after the other; otherwise a small frame could overtake a large one.
      queue = queue
        .then(() => (typeof event.data === "string" ? event.data : inflate(event.data)))
        .then((text) => this.#receive(socket, JSON.parse(text)))
        .catch((error) => {
          console.warn("a frame could not be read:", error);
          this.#lost(false, socket);
        })
        .finally(() => {
          waiting -= 1;
        });
    };
    socket.onclose = ({ code }) => {
      if (socket === this.#socket && code === SIGNED_OUT) this.#down = "signedOut";
      this.#lost(code === GOING_AWAY, socket);
    };
    this.#set({ state: this.#down, retryAt: null });
    this.#watch(FIRST_SILENCE_SECONDS);
  }

  /**
   * @param {Socket} socket
   * @param {Message} message
   */
  #receive(socket, message) {
    if (socket !== this.#socket) return;
    const old = this.#isOld(message);
    if (!this.onMessage(message, old)) return this.#lost(false);
    if (old) return this.#doubt();
    this.heardAt = this.environment.clock();
    this.#attempt = 0;
    this.#down = "reconnecting";
    if (this.state.state !== "live") this.#set({ state: "live", retryAt: null });
    this.#watch(this.#silenceSeconds);
  }

  /**
   * Whether a message was queued while the page was suspended: every message lags behind the broker's
   * clock, this one far more. It still updates the document, but does not make the page live.
   * @param {any} message
   */
  #isOld({ fleet, patch }) {
    const now = (fleet ?? patch)?.now;
    if (now === undefined || now === this.#newest) return false; // A lost broker: its time does not advance.
    this.#newest = now;
    const behind = this.environment.wall() - now;
    this.#leastBehind = Math.min(this.#leastBehind + DRIFT_SECONDS, behind);
    return behind - this.#leastBehind >= this.#silenceSeconds;
  }

  /** The data may be old, even if the connection is sound. */
  #doubt() {
    if (this.state.state === "live") this.#set({ state: this.#down, retryAt: null });
  }

  /**
   * Drops the connection unless a message arrives in time. If the timer fires late, the page was
   * suspended and messages may be queued, so it waits a moment longer.
   * @param {number} seconds
   */
  #watch(seconds) {
    const due = this.environment.clock() + seconds;
    this.#after(seconds, () => {
      if (this.environment.clock() - due < LATE_SECONDS) return this.#lost(false);
      this.#doubt();
      this.#watch(LATE_SECONDS / 2);
    });
  }

  /**
   * Closes the connection and schedules the next attempt.
   * @param {boolean} atOnce whether to retry without a wait, as when the server goes away
   * @param {Socket | null} socket the one that was lost; an older one is ignored
   */
  #lost(atOnce, socket = this.#socket) {
    if (socket === null || socket !== this.#socket) return;
    this.#socket = null;
    socket.onmessage = socket.onclose = null;
    socket.close();
    const first = this.#attempt === 0;
    const wait = atOnce && first ? 0 : backoffSeconds(this.#attempt, this.environment.random());
    this.#attempt += 1;
    this.#set({ state: this.#down, retryAt: this.environment.clock() + wait });
    this.#after(wait, () => this.#connect());
  }

  /**
   * The link's only timer: until a message is due, or until the next attempt.
   * @param {number} seconds
   * @param {() => void} run
   */
  #after(seconds, run) {
    if (this.#timer !== null) this.environment.cancel(this.#timer);
    this.#timer = this.environment.later(() => {
      this.#timer = null;
      run();
    }, seconds);
  }

  /** @param {LinkState} state */
  #set(state) {
    this.state = state;
    this.onState();
  }
}
