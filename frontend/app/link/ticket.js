// A websocket opened with a ticket, which only a page of the server's own origin can fetch.

/** @import { Socket } from "../types.js" */

/** Close code of our own: whoever asks is not signed in (any more). */
export const SIGNED_OUT = 4401;
/** What a proxy or the server answers then; 0 is a redirect to a page that signs in. */
const REFUSALS = [0, 401, 403];

/**
 * What the link needs of a WebSocket. `onclose` is called too when there was no ticket; who takes
 * it off has left.
 * @param {string} url
 * @param {string[]} protocols
 * @param {() => Promise<{ status: number, json(): Promise<{ ticket: string }> }>} fetchTicket
 */
export function openWithTicket(url, protocols, fetchTicket) {
  /** @type {WebSocket | undefined} */
  let socket;
  /** @type {Socket} */
  const given = {
    onmessage: null,
    onclose: null,
    close: () => socket?.close(),
  };
  /** @param {{ code: number }} event */
  const closed = (event) => given.onclose?.(event);
  fetchTicket()
    .then(async (answer) => {
      if (REFUSALS.includes(answer.status)) return closed({ code: SIGNED_OUT });
      const { ticket } = await answer.json();
      if (given.onclose === null) return; // Left meanwhile.
      socket = new WebSocket(url, [...protocols, `gpu-monitor.ticket.${ticket}`]);
      socket.binaryType = "arraybuffer";
      socket.onmessage = (event) => given.onmessage?.(event);
      socket.onclose = closed;
    })
    .catch(() => closed({ code: 0 }));
  return given;
}
