import assert from "node:assert/strict";
import { test } from "node:test";

import { Router } from "../../app/pages/router.js";

/** A page that records its calls. */
function pageOf(name, log) {
  const note = (what) => () => log.push(`${what} ${name}`);
  return { actions: {}, mount: note("mount"), update: note("update"), readAddress: note("read"), unmount: note("unmount") };
}

/** A router over two pages, the second of which waits for `arrive` to be loaded. */
function routerOf(log) {
  let arrive;
  const arrived = new Promise((resolve, reject) => { arrive = { resolve, reject }; });
  const router = new Router({
    live: () => pageOf("live", log),
    other: () => arrived.then(() => pageOf("other", log)),
  }, () => log.push("open"));
  return { router, arrive };
}

test("a URL without a page or with an unknown one opens the live page", async () => {
  for (const search of ["", "?page=live", "?page=nowhere", "?page=constructor", "?q=alice"]) {
    const log = [];
    await routerOf(log).router.open(search);

    assert.deepEqual(log, ["mount live", "open"], search);
  }
});

test("the open page stays until the next one is loaded", async () => {
  const log = [];
  const { router, arrive } = routerOf(log);
  await router.open("");
  const opening = router.open("?page=other");
  assert.deepEqual(log.splice(0), ["mount live", "open"]);
  arrive.resolve();
  await opening;

  assert.deepEqual(log, ["unmount live", "mount other", "open"]);
});

test("a page that loads too late is not opened", async () => {
  const log = [];
  const { router, arrive } = routerOf(log);
  await router.open("");
  const opening = router.open("?page=other");
  await router.open("?q=alice");
  arrive.resolve();
  await opening;

  assert.deepEqual(log, ["mount live", "open", "read live"]);
});

test("a page that cannot be loaded leaves the open one", async () => {
  const log = [];
  const { router, arrive } = routerOf(log);
  await router.open("");
  const page = router.page;
  const opening = router.open("?page=other");
  arrive.reject(new Error("offline"));
  await assert.rejects(opening, /offline/);

  assert.equal(router.page, page);
  assert.deepEqual(log, ["mount live", "open"]);
});

test("a page is loaded once, and mounted each time it is opened", async () => {
  const log = [];
  const { router, arrive } = routerOf(log);
  arrive.resolve();
  for (const search of ["", "?page=other", ""]) await router.open(search);

  assert.deepEqual(log, [
    "mount live", "open", "unmount live", "mount other", "open", "unmount other", "mount live", "open",
  ]);
});
