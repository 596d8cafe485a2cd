import assert from "node:assert/strict";
import { test } from "node:test";

import { match, wordsOf } from "../app/filter.js";
import { gpuRows } from "../app/rows.js";
import { summarize } from "../app/summary.js";
import { gpus, host, processes } from "./fleets.js";

function found(given, query, show = "all") {
  const wanted = { words: wordsOf(query), show };
  return match(wanted, summarize("node4", given, 0), "box.example", () => gpuRows(given));
}

const BUSY = host({
  gpus: gpus({ use: "busy", name: "NVIDIA H100" }, { use: "free", name: "NVIDIA H100" }, { use: "held_idle", name: "NVIDIA H100" }),
  processes: processes(
    { gpu: 0, user: "alice", command: "python train.py", job: "4711" },
    { gpu: 2, user: "bob", command: "jupyter" },
  ),
});

test("without a wish everything is shown", () => {
  assert.deepEqual(found(BUSY, "  "), []);
});

test("a host's own name, hostname or model shows it whole", () => {
  for (const query of ["NODE4", "box.example", "h100"]) assert.deepEqual(found(BUSY, query), [], query);
});

test("a user, command, job or number of a process shows its GPU", () => {
  for (const query of ["alice", "train.py", "4711", "alice python"]) {
    assert.deepEqual(found(BUSY, query), [true, false, false], query);
  }
});

test("all words must be found, on the host and one GPU of it", () => {
  assert.deepEqual(found(BUSY, "node4 bob"), [false, false, true]);
  assert.equal(found(BUSY, "alice bob"), null);
  assert.equal(found(BUSY, "node5"), null);
});

test("free and held idle are what the broker says", () => {
  assert.deepEqual(found(BUSY, "", "free"), [false, true, false]);
  assert.deepEqual(found(BUSY, "", "idle"), [false, false, true]);
  assert.deepEqual(found(BUSY, "bob", "idle"), [false, false, true]);
  assert.equal(found(BUSY, "alice", "idle"), null);
  assert.equal(found(BUSY, "", "hot"), null);
});

test("a host that is not live offers nothing free", () => {
  assert.equal(found({ ...BUSY, state: "stale" }, "", "free"), null);
});

test("trouble is a dead host, a broken GPU or a problem in words", () => {
  assert.deepEqual(found({ ...BUSY, state: "stale" }, "", "trouble"), []);
  assert.deepEqual(found({ state: "missing" }, "", "trouble"), []);
  assert.deepEqual(found(host({ gpus: gpus({}, { state: "lost" }) }), "", "trouble"), [false, true]);
  assert.deepEqual(found(host({ problems: ["no driver"] }), "", "trouble"), []);
  assert.equal(found(BUSY, "", "trouble"), null);
});

test("a host without GPUs is found by its name", () => {
  assert.deepEqual(found(host(), "node4"), []);
  assert.equal(found(host(), "alice"), null);
});
