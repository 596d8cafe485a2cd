// The link to the web server: subprotocol, frames in order, silence noticed, tried again.

import { SIGNED_OUT } from "./ticket.js";

/** @import { LinkState, Message, Socket } from "../types.js" */

const DEFLATE = "gpu-monitor.v1.deflate";
const JSON_TEXT = "gpu-monitor.v1.json";
const GOING_AWAY = 1001;
const MAX_BACKOFF_SECONDS = 30;
/** Until the document says otherwise; a server may take a moment for its first picture. */
const FIRST_SILENCE_SECONDS = 10;
/** A timer this late was held up, with everything else in the page. */
const LATE_SECONDS = 0.5;
/** How much later a message may come than the one before: clocks may drift that far apart. */
const DRIFT_SECONDS = 0.0005;
/** Frames waiting to be inflated; more means this page cannot follow and had better start anew. */
const MAX_WAITING_FRAMES = 100;

/**
 * What the link stands on; the browser's own in the page, made by hand in tests.
 * @typedef {object} Ground
 * @property {(url: string, protocols: string[]) => Socket} open
 * @property {() => number} clock seconds, never going back
 * @property {() => number} wall seconds, going on while the machine sleeps
 * @property {(run: () => void, seconds: number) => number} later
 * @property {(timer: number) => void} cancel
 * @property {() => number} random 0 to 1
 */

/**
 * Seconds to wait before try number `attempt` (0 = the first after a loss): doubled each time
 * up to 30, a random half of it taken off so that a thousand pages do not come back at once.
 * @param {number} attempt
 * @param {number} random 0 to 1
 */
export function backoffSeconds(attempt, random) {
  return Math.min(MAX_BACKOFF_SECONDS, 2 ** attempt) * (1 - random / 2);
}

/**
 * The websocket's address, relative to where the page is mounted.
 * @param {string} base document.baseURI
 */
export function socketUrl(base) {
  const url = new URL("ws", base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** The subprotocols this browser can follow, best first. */
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
  // A broken frame fails here and where it is read; it is answered there.
  writer.write(new Uint8Array(data)).catch(() => {});
  writer.close().catch(() => {});
  return new TextDecoder().decode(await new Response(stream.readable).arrayBuffer());
}

export class Link {
  /** @type {LinkState} */
  state = { state: "connecting", retryAt: null };
  /** When the newest message came, on the ground's clock; null before the first. */
  heardAt = /** @type {number | null} */ (null);
  /** @type {Socket | null} */
  #socket = null;
  #attempt = 0;
  /** What it is while it is not live. @type {LinkState["state"]} */
  #down = "connecting";
  #timer = /** @type {number | null} */ (null);
  #silenceSeconds = FIRST_SILENCE_SECONDS;
  /** The broker's time in the newest message, and the least that any came behind it. */
  #told = /** @type {unknown} */ (null);
  #leastBehind = Infinity;

  /**
   * @param {string} url
   * @param {Ground} ground
   * @param {(message: Message, old: boolean) => boolean} onMessage false asks for a fresh start
   * @param {() => void} onState
   */
  constructor(url, ground, onMessage, onState) {
    this.url = url;
    this.ground = ground;
    this.onMessage = onMessage;
    this.onState = onState;
    this.#connect();
  }

  /** How long silence may last, as the document says. @param {number} seconds */
  allowSilence(seconds) {
    this.#silenceSeconds = seconds;
  }

  /** Looks at the time: after a sleep no timer may have run. */
  check() {
    const silent = this.heardAt === null ? 0 : this.ground.clock() - this.heardAt;
    if (this.state.state === "live" && silent >= this.#silenceSeconds) this.#lost(false);
  }

  /** Does not wait any longer for the next try. */
  retryNow() {
    if (this.state.retryAt !== null) this.#connect();
  }

  /** Drops the connection for a fresh one, as after a sleep. */
  restart() {
    if (this.#socket !== null) this.#lost(true);
  }

  #connect() {
    const socket = this.ground.open(this.url, protocols());
    this.#socket = socket;
    this.#leastBehind = Infinity;
    let queue = Promise.resolve();
    let waiting = 0;
    /** @param {MessageEvent} event */
    socket.onmessage = (event) => {
      waiting += 1;
      if (waiting > MAX_WAITING_FRAMES) return this.#lost(false, socket);
      // One after the other, or a small frame overtakes a large one.
      queue = queue
        .then(() => (typeof event.data === "string" ? event.data : inflate(event.data)))
        .then((text) => this.#receive(socket, JSON.parse(text)))
        .catch((error) => {
          console.warn("a frame could not be taken in:", error);
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
    this.heardAt = this.ground.clock();
    this.#attempt = 0;
    this.#down = "reconnecting";
    if (this.state.state !== "live") this.#set({ state: "live", retryAt: null });
    this.#watch(this.#silenceSeconds);
  }

  /**
   * Whether a message has waited for a page that slept: all are some time behind the broker's
   * clock, this one much longer. It brings the document on, and does not make it live.
   * @param {any} message
   */
  #isOld({ fleet, patch }) {
    const now = (fleet ?? patch)?.now;
    if (now === undefined || now === this.#told) return false; // A broker that is lost: its time stands still.
    this.#told = now;
    const behind = this.ground.wall() - now;
    this.#leastBehind = Math.min(this.#leastBehind + DRIFT_SECONDS, behind);
    return behind - this.#leastBehind >= this.#silenceSeconds;
  }

  /** What is shown may be old, though the connection may be sound. */
  #doubt() {
    if (this.state.state === "live") this.#set({ state: this.#down, retryAt: null });
  }

  /**
   * Gives up on the connection unless a message comes in time. A timer that is late tells of a
   * page that was held up: messages may have come meanwhile, so it listens a moment longer.
   * @param {number} seconds
   */
  #watch(seconds) {
    const due = this.ground.clock() + seconds;
    this.#after(seconds, () => {
      if (this.ground.clock() - due < LATE_SECONDS) return this.#lost(false);
      this.#doubt();
      this.#watch(LATE_SECONDS / 2);
    });
  }

  /**
   * Leaves the connection and plans the next try.
   * @param {boolean} atOnce the server said goodbye, or nothing speaks against trying now
   * @param {Socket | null} socket whose loss it is; that of an older one is no news
   */
  #lost(atOnce, socket = this.#socket) {
    if (socket === null || socket !== this.#socket) return;
    this.#socket = null;
    socket.onmessage = socket.onclose = null;
    socket.close();
    const first = this.#attempt === 0;
    const wait = atOnce && first ? 0 : backoffSeconds(this.#attempt, this.ground.random());
    this.#attempt += 1;
    this.#set({ state: this.#down, retryAt: this.ground.clock() + wait });
    this.#after(wait, () => this.#connect());
  }

  /**
   * The one timer of the link: the wait for a message, or for the next try.
   * @param {number} seconds
   * @param {() => void} run
   */
  #after(seconds, run) {
    if (this.#timer !== null) this.ground.cancel(this.#timer);
    this.#timer = this.ground.later(() => {
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
