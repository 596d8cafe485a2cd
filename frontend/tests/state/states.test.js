import assert from "node:assert/strict";
import { test } from "node:test";

import { CELLS, KIND, KINDS, MARKS } from "../../app/map/codes.js";
import { GPU_STATES, STATES, STATE_WORDS, PROBLEMS, canonicalWord } from "../../app/state/states.js";
import { overview, summarize } from "../../app/state/summary.js";
import { findings, gpus, host } from "../fleets.js";

/** A GPU in each state. */
const EXAMPLES = {
  free: { use: "free" },
  busy: { use: "busy" },
  heldIdle: { use: "held_idle" },
  lost: { state: "lost" },
  error: { state: "error" },
  asleep: { state: "asleep" },
  unhealthy: { health_reasons: ["a row waits"] },
  hot: {},
  stalled: {},
  faulty: {},
};
/** The finding of those that only a finding shows. */
const KINDS_OF = { hot: "gpu_hot", stalled: "gpu_stalled", faulty: "memory_held" };

for (const { key, holds, columns } of GPU_STATES) {
  test(`${key} matches only GPUs in that state`, () => {
    const held = Object.entries(EXAMPLES).filter(([name, example]) => {
      const faults = new Map(name in KINDS_OF ? [[0, new Set([KINDS_OF[name]])]] : []);
      return holds(gpus({ throttle: [], ...example }), 0, faults);
    });

    assert.deepEqual(held.map(([name]) => name), [key]);
    assert.ok(key in KINDS_OF ? columns.length === 0 : columns.some((column) => column in EXAMPLES[key]), "reads a column that it does not name");
  });
}

test("no two states share a key or a word", () => {
  const words = [...STATES.flatMap(({ query }) => query), PROBLEMS];

  assert.equal(new Set(STATES.map(({ key }) => key)).size, STATES.length);
  assert.equal(new Set(words).size, words.length);
  for (const word of words) assert.ok(STATE_WORDS.includes(canonicalWord(word)), word);
  assert.equal(canonicalWord("constructor"), undefined);
});

test("every state that needs attention has a glyph in addition to its colour", () => {
  for (const { attention, glyph, key } of STATES) if (attention) assert.notEqual(glyph, "", key);
});

test("the map has room for every kind of cell and every mark", () => {
  assert.ok(KINDS.length <= KIND, "the last code stands for an empty place");
  assert.ok(MARKS.every(({ bit }) => bit < 256));
  assert.equal(new Set(CELLS.map(({ kind }) => kind)).size, CELLS.length);
});

test("the count of problems equals the hosts found by its search", () => {
  const fleet = overview([
    summarize("well", host({ gpus: gpus({ use: "free" }, { use: "held_idle" }, {}), findings: findings({ kind: "gpu_hot", gpu: 2 }, { severity: "info" }) })),
    summarize("lost", host({ gpus: gpus({ state: "lost" }, { state: "lost" }), findings: findings({ kind: "gpu_lost", gpu: 0 }) })),
    summarize("unhealthy", host({ gpus: gpus(EXAMPLES.unhealthy) })),
    summarize("stale", host({ state: "stale", gpus: gpus({ state: "lost" }) })),
    summarize("missing", { state: "missing" }),
  ]);

  assert.equal(fleet.withProblems, 4);
});
