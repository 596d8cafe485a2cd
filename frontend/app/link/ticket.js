// A websocket opened with a ticket, which only a page of the server's own origin can fetch.

/** @import { Socket } from "../types.js" */

/** Our own close code: the viewer is not signed in, or no longer. */
export const SIGNED_OUT = 4401;
/** How the server or a proxy refuses such a viewer; 0 is a redirect to a sign-in page. */
const REFUSALS = [0, 401, 403];

/**
 * A WebSocket as the link sees it. `onclose` is also called when no ticket could be fetched; set it
 * to null to abandon the attempt.
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
      if (given.onclose === null) return; // Abandoned meanwhile.
      socket = new WebSocket(url, [...protocols, `gpu-monitor.ticket.${ticket}`]);
      socket.binaryType = "arraybuffer";
      socket.onmessage = (event) => given.onmessage?.(event);
      socket.onclose = closed;
    })
    .catch(() => closed({ code: 0 }));
  return given;
}
