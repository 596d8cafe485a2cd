import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const WIRE = readFileSync(new URL("../../wire/document.py", import.meta.url), "utf8");
const TYPES = readFileSync(new URL("../app/types.d.ts", import.meta.url), "utf8");

/** The member names of one interface of types.d.ts. */
function members(name) {
  const body = new RegExp(`interface ${name} \\{(.*?)\\n\\}`, "s").exec(TYPES)?.[1] ?? "";
  return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map((found) => found[1]).sort();
}

/** The keys of one dictionary of wire/document.py. */
function keys(name) {
  const body = new RegExp(`^${name} = \\{(.*?)\\}`, "ms").exec(WIRE)?.[1] ?? "";
  return [...body.matchAll(/"(\w+)": Kind/g)].map((found) => found[1]).sort();
}

const PAIRS = { Gpus: "GPU_COLUMNS", Processes: "PROCESS_COLUMNS", Disks: "DISK_COLUMNS", System: "SYSTEM_FIELDS", Collector: "COLLECTOR_FIELDS" };

for (const [type, table] of Object.entries(PAIRS)) {
  test(`${type} names what ${table} of the wire names`, () => {
    const expected = type === "Gpus" ? [...keys(table), "use"].sort() : keys(table);

    assert.ok(expected.length > 2);
    assert.deepEqual(members(type), expected);
  });
}
