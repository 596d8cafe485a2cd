import assert from "node:assert/strict";
import { test } from "node:test";

import { Watch } from "../../app/filter/watch.js";
import { gpus, host } from "../fleets.js";

const NEED = { gpus: 2, gib: 0, model: "", anywhere: false };
const hosts = (...uses) => ({ node1: host({ gpus: gpus(...uses.map((use) => ({ use }))) }) });

/** A Notification that answers permission requests with `answer` and records what it shows. */
function notifier(answer, permission = "default") {
  return class Notification {
    static permission = permission;
    static shown = [];
    static async requestPermission() {
      Notification.permission = answer;
    }
    constructor(title, { body }) {
      Notification.shown.push([title, body]);
    }
  };
}

test("a satisfied need is announced by one notification", async () => {
  const browser = notifier("granted");
  const watch = new Watch(browser, () => {});
  await watch.start(NEED);
  watch.check(hosts("free", "busy"));
  assert.deepEqual(browser.shown, []);

  watch.check(hosts("free", "free"));
  watch.check(hosts("free", "free"));

  assert.deepEqual(browser.shown, [["Free now: 2 GPUs on one host", "node1"]]);
  assert.equal(watch.need, null);
  assert.equal(watch.news, "");
});

test("without permission the page shows a banner until it is dismissed", async () => {
  for (const browser of [notifier("denied"), notifier("denied", "denied"), undefined]) {
    const watch = new Watch(browser, () => {});
    await watch.start(NEED);
    watch.check(hosts("free", "free"));

    assert.equal(watch.news, "Free now: 2 GPUs on one host: node1");
    watch.stop();
    assert.equal(watch.news, "");
  }
});

test("a browser whose notifications throw is treated as having none", async () => {
  class Broken {
    static permission = "granted";
    constructor() {
      throw new TypeError("Illegal constructor");
    }
  }
  const watch = new Watch(Broken, () => {});
  await watch.start(NEED);
  watch.check(hosts("free", "free"));

  assert.match(watch.news, /node1/);
});

test("there is no announcement before start() or after stop()", async () => {
  const watch = new Watch(undefined, () => {});
  watch.check(hosts("free", "free"));
  await watch.start(NEED);
  watch.stop();
  watch.check(hosts("free", "free"));

  assert.equal(watch.news, "");
});
