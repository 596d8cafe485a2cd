import assert from "node:assert/strict";
import { test } from "node:test";

import { byName, sortedUsers } from "../../app/state/sort-order.js";

const user = (gpus, gpu_memory_mib, held_idle_gpus = 0) => ({ gpus, gpu_memory_mib, held_idle_gpus, processes: 1, hosts: [] });

test("numbers in names sort numerically", () => {
  assert.deepEqual(byName(["node10", "node2", "atlas"]), ["atlas", "node2", "node10"]);
});

test("users sort in descending order, ties by name", () => {
  const users = { zoe: user(2, 10), ann: user(2, 30), bob: user(5, undefined, 1) };

  assert.deepEqual(sortedUsers(users, "gpus"), ["bob", "ann", "zoe"]);
  assert.deepEqual(sortedUsers(users, "gib"), ["ann", "zoe", "bob"]);
  assert.deepEqual(sortedUsers(users, "idle"), ["bob", "ann", "zoe"]);
  assert.deepEqual(sortedUsers(users, "user"), ["ann", "bob", "zoe"]);
});
