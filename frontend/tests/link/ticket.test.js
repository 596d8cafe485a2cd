import assert from "node:assert/strict";
import { test } from "node:test";

import { SIGNED_OUT, openWithTicket } from "../../app/link/ticket.js";

const settled = () => new Promise((done) => setImmediate(done));

/** A WebSocket that records how it is opened. */
function withSockets(context) {
  const opened = [];
  const own = globalThis.WebSocket;
  globalThis.WebSocket = class {
    closed = false;
    constructor(url, protocols) {
      opened.push(Object.assign(this, { url, protocols }));
    }
    close() {
      this.closed = true;
    }
  };
  context.after(() => (globalThis.WebSocket = own));
  return opened;
}

function start(answer) {
  const codes = [];
  const socket = openWithTicket("ws://here/ws", ["a", "b"], async () => answer());
  socket.onclose = ({ code }) => codes.push(code);
  return { socket, codes };
}

const ticket = () => ({ status: 200, json: async () => ({ ticket: "t-1" }) });

test("the ticket is sent after the subprotocols", async (context) => {
  const opened = withSockets(context);
  const { socket } = start(ticket);
  await settled();

  assert.equal(opened.length, 1);
  assert.deepEqual(opened[0].protocols, ["a", "b", "gpu-monitor.ticket.t-1"]);
  assert.equal(opened[0].binaryType, "arraybuffer");
  const heard = [];
  socket.onmessage = (event) => heard.push(event.data);
  opened[0].onmessage({ data: "x" });
  assert.deepEqual(heard, ["x"]);
});

test("a viewer who is not signed in is refused with its own close code", async (context) => {
  const opened = withSockets(context);
  for (const status of [0, 401, 403]) {
    const { codes } = start(() => ({ status, json: async () => ({}) }));
    await settled();
    assert.deepEqual(codes, [SIGNED_OUT], `status ${status}`);
  }
  assert.equal(opened.length, 0);
});

test("a missing answer or ticket counts as a lost connection", async (context) => {
  const opened = withSockets(context);
  for (const answer of [
    () => Promise.reject(new TypeError("no network")),
    () => ({ status: 502, json: () => Promise.reject(new SyntaxError("no JSON")) }),
  ]) {
    const { codes } = start(answer);
    await settled();
    assert.deepEqual(codes, [0]);
  }
  assert.equal(opened.length, 0);
});

test("a link closed in the meantime opens nothing", async (context) => {
  const opened = withSockets(context);
  const { socket } = start(ticket);
  socket.onclose = null;
  socket.close();
  await settled();

  assert.equal(opened.length, 0);
});

test("closing closes the websocket and reports its end", async (context) => {
  const opened = withSockets(context);
  const { socket, codes } = start(ticket);
  await settled();
  opened[0].onclose({ code: 1001 });
  socket.close();

  assert.deepEqual(codes, [1001]);
  assert.equal(opened[0].closed, true);
});
