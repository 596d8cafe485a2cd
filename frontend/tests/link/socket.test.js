import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";

import { Link, backoffSeconds, inflate, protocols, socketUrl } from "../../app/link/socket.js";
import { SIGNED_OUT } from "../../app/link/ticket.js";

/** A clock, timers and sockets that the test controls. */
class Environment {
  now = 0;
  sockets = [];
  #timers = new Map();
  #number = 0;
  clock = () => this.now;
  wall = () => 1_000_000 + this.now;
  random = () => 0;
  open = (url, wanted) => {
    const socket = { url, wanted, closed: false, close: () => (socket.closed = true) };
    this.sockets.push(socket);
    return socket;
  };
  later = (run, seconds) => {
    this.#timers.set(++this.#number, { run, at: this.now + seconds });
    return this.#number;
  };
  cancel = (timer) => this.#timers.delete(timer);
  get waiting() {
    return this.#timers.size;
  }
  pass(seconds) {
    const end = this.now + seconds;
    for (;;) {
      const [number, timer] = [...this.#timers].sort((a, b) => a[1].at - b[1].at)[0] ?? [];
      if (timer === undefined || timer.at > end) break;
      this.now = Math.max(this.now, timer.at);
      this.#timers.delete(number);
      timer.run();
    }
    this.now = end;
  }
}

function start(onMessage = () => true) {
  const environment = new Environment();
  const taken = [];
  const old = [];
  const link = new Link("ws://here/ws", environment, (message, isOld) => {
    taken.push(message);
    old.push(isOld);
    return onMessage(message);
  }, () => {});
  link.allowSilence(2);
  const deliver = async (message, data = pack(message)) => {
    const before = taken.length;
    const socket = environment.sockets.at(-1);
    socket.onmessage({ data });
    await until(() => taken.length > before || socket.closed);
    await new Promise((done) => setImmediate(done)); // The link looks at the answer first.
  };
  return { environment, link, taken, old, deliver };
}

const pack = (message) => new Uint8Array(deflateRawSync(JSON.stringify(message))).buffer;

/** Wait for asynchronous inflating to finish. */
async function until(condition) {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `never came: ${condition}`);
    await new Promise((done) => setImmediate(done));
  }
}

const FLEET = { type: "fleet", sequence: 1, fleet: {} };
const PATCH = { type: "patch", sequence: 2, patch: {} };

test("the URL is relative to the page and follows its scheme", () => {
  assert.equal(socketUrl("http://gpu:8042/"), "ws://gpu:8042/ws");
  assert.equal(socketUrl("https://lab.example/gpus/?q=ws"), "wss://lab.example/gpus/ws");
});

test("deflate is offered if the browser supports it, JSON always", () => {
  assert.deepEqual(protocols(), ["gpu-monitor.v1.deflate", "gpu-monitor.v1.json"]);
});

test("waits double up to 30 s, less a random part of up to half", () => {
  assert.deepEqual([0, 1, 2, 5, 40].map((attempt) => backoffSeconds(attempt, 0)), [1, 2, 4, 30, 30]);
  assert.equal(backoffSeconds(1, 1), 1);
});

test("a frame is inflated as UTF-8", async () => {
  const text = "Zoë \u{1F600}".repeat(30_000);

  assert.equal(await inflate(new Uint8Array(deflateRawSync(text)).buffer), text);
});

test("the link is live with its first message", async () => {
  const { link, taken, deliver } = start();
  assert.deepEqual(link.state, { state: "connecting", retryAt: null });

  await deliver(FLEET);

  assert.deepEqual(taken, [FLEET]);
  assert.equal(link.state.state, "live");
});

test("text frames are read without inflating", async () => {
  const { link, deliver } = start();

  await deliver(FLEET, JSON.stringify(FLEET));

  assert.equal(link.state.state, "live");
});

test("a small frame does not overtake a large one", async () => {
  const { environment, taken } = start();
  const large = { type: "fleet", sequence: 1, fleet: { text: "x".repeat(2_000_000) } };

  for (const message of [large, { ...PATCH, sequence: 2 }, { ...PATCH, sequence: 3 }]) {
    environment.sockets[0].onmessage({ data: pack(message) });
  }
  await until(() => taken.length === 3);

  assert.deepEqual(taken.map((message) => message.sequence), [1, 2, 3]);
});

test("silence for stale_after_seconds is a loss", async () => {
  const { environment, link, deliver } = start();
  await deliver(FLEET);

  environment.pass(1.9);
  assert.equal(link.state.state, "live");
  environment.pass(0.2);

  assert.deepEqual(link.state, { state: "reconnecting", retryAt: 3 });
  assert.equal(environment.sockets[0].closed, true);
  environment.pass(1);
  assert.equal(environment.sockets.length, 2);
});

test("after a sleep without timers, reading the clock is enough", async () => {
  const { environment, link, deliver } = start();
  await deliver(FLEET);

  environment.now += 60;
  link.check();

  assert.equal(link.state.state, "reconnecting");
});

test("a delayed page waits a moment longer before it gives up", async () => {
  const { environment, link, deliver } = start();
  await deliver(FLEET);

  environment.now += 4;
  environment.pass(0);
  assert.deepEqual(link.state, { state: "reconnecting", retryAt: null });
  assert.equal(environment.sockets[0].closed, false);
  environment.pass(0.3);

  assert.equal(environment.sockets[0].closed, true);
});

test("a delayed page becomes live again with the messages that arrived meanwhile", async () => {
  const { environment, link, deliver } = start();
  await deliver(FLEET);

  environment.now += 4;
  environment.pass(0);
  await deliver(PATCH);

  assert.equal(link.state.state, "live");
  assert.equal(environment.sockets.length, 1);
});

const patchAt = (sequence, now) => ({ ...PATCH, sequence, patch: { now } });

test("a message queued during a suspension is applied but does not make the page live", async () => {
  const { environment, link, old, deliver } = start();
  await deliver({ ...FLEET, fleet: { now: 500 } });

  environment.now += 4;
  await deliver(patchAt(2, 501));
  assert.deepEqual(link.state, { state: "reconnecting", retryAt: null });
  await deliver(patchAt(3, 503));

  assert.equal(link.state.state, "live");
  assert.equal(link.heardAt, 4);
  assert.deepEqual(old, [false, true, false]);
  assert.equal(environment.sockets.length, 1);
});

test("messages that stay old do not keep the link live: it reconnects for new ones", async () => {
  const { environment, link, deliver } = start();
  await deliver({ ...FLEET, fleet: { now: 500 } });
  environment.pass(1);
  await deliver(patchAt(2, 498)); // The broker's clock was set back.

  environment.pass(1.1);
  assert.equal(environment.sockets[0].closed, true);
  environment.pass(1);
  await deliver({ ...FLEET, fleet: { now: 500 } });

  assert.equal(link.state.state, "live");
});

test("a lost broker's time that does not advance keeps the link live", async () => {
  const { environment, link, deliver } = start();
  await deliver({ ...FLEET, fleet: { now: 500 } });

  for (let sequence = 2; sequence < 9; sequence += 1) {
    environment.pass(1);
    await deliver(patchAt(sequence, 500));
  }

  assert.equal(link.state.state, "live");
});

test("clock drift does not count as age", async () => {
  const { environment, link, deliver } = start();
  await deliver({ ...FLEET, fleet: { now: 0 } });

  for (let sequence = 2; sequence < 6000; sequence += 1) {
    environment.now += 1;
    await deliver(patchAt(sequence, environment.now * 0.9996), JSON.stringify(patchAt(sequence, environment.now * 0.9996)));
  }

  assert.equal(link.state.state, "live");
});

test("a server that goes away is retried at once, then at growing intervals", async () => {
  const { environment, link, deliver } = start();
  await deliver(FLEET);

  environment.sockets[0].onclose({ code: 1001 });
  environment.pass(0);
  assert.equal(environment.sockets.length, 2);
  environment.sockets[1].onclose({ code: 1001 });
  assert.deepEqual(link.state, { state: "reconnecting", retryAt: 2 });
  environment.pass(2);
  assert.equal(environment.sockets.length, 3);
});

test("any other close waits a second first", async () => {
  const { environment, link, deliver } = start();
  await deliver(FLEET);

  environment.sockets[0].onclose({ code: 1006 });

  assert.equal(link.state.retryAt, 1);
});

test("a message resets the waits", async () => {
  const { environment, link, deliver } = start();
  for (let loss = 0; loss < 4; loss += 1) {
    environment.sockets.at(-1).onclose({ code: 1006 });
    environment.pass(link.state.retryAt - environment.now);
  }

  await deliver(FLEET);
  environment.sockets.at(-1).onclose({ code: 1006 });

  assert.equal(link.state.retryAt, environment.now + 1);
});

test("a gap in the sequence causes a new connection", async () => {
  const { environment, link, deliver } = start((message) => message.type === "fleet");
  await deliver(FLEET);

  await deliver({ ...PATCH, sequence: 9 });

  assert.equal(environment.sockets[0].closed, true);
  assert.equal(link.state.state, "reconnecting");
});

test("an invalid message causes a new connection", async (context) => {
  const warn = context.mock.method(console, "warn", () => {});
  const { link, deliver } = start();

  await deliver(null, new Uint8Array([1, 2, 3]).buffer);

  assert.equal(link.state.retryAt, 1);
  assert.equal(warn.mock.callCount(), 1);
});

test("messages of an abandoned connection are ignored", async () => {
  const { environment, taken, deliver } = start();
  const [old] = environment.sockets;
  const { onmessage } = old;
  environment.sockets[0].onclose({ code: 1006 });
  environment.pass(1);

  onmessage({ data: pack({ ...FLEET, sequence: 99 }) });
  await deliver(FLEET);

  assert.deepEqual(taken, [FLEET]);
});

test("there is never more than one timer", async () => {
  const { environment, deliver } = start();
  for (let frame = 0; frame < 5; frame += 1) await deliver(FLEET);

  assert.equal(environment.waiting, 1);
});

test("a wait can be cut short, and a live link restarted", async () => {
  const { environment, link, deliver } = start();
  environment.sockets[0].onclose({ code: 1006 });

  link.retryNow();
  assert.equal(environment.sockets.length, 2);
  await deliver(FLEET);
  link.restart();
  environment.pass(0);

  assert.equal(environment.sockets.length, 3);
});

test("a signed-out link keeps retrying, and is shown as such until live again", async () => {
  const { environment, link, deliver } = start();
  await deliver(FLEET);

  environment.sockets[0].onclose({ code: SIGNED_OUT });
  assert.equal(link.state.state, "signedOut");
  environment.pass(1);
  assert.equal(environment.sockets.length, 2);
  assert.equal(link.state.state, "signedOut");
  await deliver(FLEET);

  assert.equal(link.state.state, "live");
  environment.sockets[1].onclose({ code: 1006 });
  assert.equal(link.state.state, "reconnecting");
});
