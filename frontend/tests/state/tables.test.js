import assert from "node:assert/strict";
import { test } from "node:test";

import { mayReshape, tableProblem, tableProblems } from "../../app/state/tables.js";
import { findings, gpus, host } from "../fleets.js";

test("a table whose columns differ in length is reported", () => {
  const problem = (members, name) => tableProblem(host(members), name);

  assert.equal(problem({ gpus: { index: [0, 1], state: ["ok", "ok"], uuid: ["GPU-1"] } }, "gpus"), "gpus are not shown: uuid has 1 rows, index 2");
  assert.match(problem({ processes: { gpu: [0, 0], pid: [1] } }, "processes"), /pid has 1 rows, gpu 2/);
  assert.match(problem({ findings: { ...findings({}), severity: [] } }, "findings"), /severity has 0 rows, kind 1/);
  assert.match(problem({ findings: { words: ["x"] } }, "findings"), /no column kind/);
});

test("a host without tables has no problem", () => {
  assert.deepEqual(tableProblems({ state: "missing" }), { gpus: null, processes: null, findings: null });
  assert.equal(tableProblem(host({ gpus: {} }), "gpus"), null);
  assert.equal(tableProblem(host(), "findings"), null);
});

test("a patch may reshape a table unless each of its columns keeps its length", () => {
  const before = host({ gpus: gpus({}, {}), findings: findings({}) });

  assert.equal(mayReshape(before, { gpus: { state: ["ok", "lost"] }, findings: { words: ["full"] } }), false);
  assert.equal(mayReshape(before, { gpus: { state: ["ok"] } }), true);
  assert.equal(mayReshape(before, { findings: { words: ["full", "fuller"] } }), true);
  assert.equal(mayReshape(before, { findings: null }), true);
  assert.equal(mayReshape(undefined, {}), true);
});
