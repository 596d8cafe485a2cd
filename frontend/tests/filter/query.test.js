import assert from "node:assert/strict";
import { test } from "node:test";

import { match } from "../../app/filter/match.js";
import { complaint, parse, valueFor, withValue } from "../../app/filter/query.js";
import { summarize } from "../../app/state/summary.js";
import { tableProblems } from "../../app/state/tables.js";
import { findings, gpus, host, processes } from "../fleets.js";

function subject(given) {
  assert.deepEqual(tableProblems(given), { gpus: null, processes: null, findings: null });
  return { summary: summarize("node4", given), state: given.state, hostname: "box.example", gpus: given.gpus, processes: given.processes };
}

function found(given, text) {
  return match(parse(text), subject(given));
}

const H100 = { name: "NVIDIA H100 80GB", memory_total_mib: 81559, memory_used_mib: 0, utilization_percent: 0 };
const BUSY = host({
  gpus: gpus(
    { ...H100, use: "busy", utilization_percent: 87, memory_used_mib: 40960, power_watts: 500 },
    { ...H100, use: "free" },
    { ...H100, use: "held_idle", temperature_celsius: 71, uuid: "GPU-12ab" },
  ),
  processes: processes(
    { gpu: 0, user: "alice", group: "physics", command: "python train.py", slurm_job_id: "4711", pid: 4242 },
    { gpu: 2, user: "bob", command: "jupyter lab", container: "0123456789ab", pid: 80, state: "zombie" },
  ),
});

const CASES = {
  "": [],
  "  ": [],
  "NODE4": [],
  "box.example": [],
  "h100": [],
  "alice": [true, false, false],
  "train.py alice": [true, false, false],
  "node4 bob": [false, false, true],
  "alice bob": null,
  "node5": null,
  '"jupyter lab"': [false, false, true],
  '"lab jupyter"': null,
  "zombie": [false, false, true],
  "4711": [true, false, false],
  "4242": [true, false, false],
  "424": null,
  "pid:4242": [true, false, false],
  "pid:424": null,
  "-pid:80": [true, true, false],
  "gpu-12": [false, false, true],
  "user:alice": [true, false, false],
  "USER:Alice": [true, false, false],
  "user:ali": null,
  "group:physics": [true, false, false],
  "group:phys": null,
  "group~phys": [true, false, false],
  "-group:physics": [false, true, true],
  "physics": [true, false, false],
  "user~ali": [true, false, false],
  "-user:alice": [false, true, true],
  "-alice -bob": [false, true, false],
  "host:node4": [],
  "host:node": null,
  "host~node": [],
  "host=box.example": [],
  "-host:node4": null,
  "model:H100": [],
  "model=H100": null,
  "job:4711": [true, false, false],
  "job:471": null,
  "container:0123": [false, false, true],
  "command:train": [true, false, false],
  'command="python train.py"': [true, false, false],
  "util<5": [false, true, true],
  "util>=87": [true, false, false],
  "util:87%": [true, false, false],
  "util=87.5": null,
  "mem>39": [true, false, false],
  "mem:40GiB": [true, false, false],
  "free:80": [false, true, true],
  "temp>70": [false, false, true],
  "power<=500W": [true, false, false],
  "gpus:3": [],
  "gpus>3": null,
  "state:free": [false, true, false],
  "state:idle user:bob": [false, false, true],
  "state:idle alice": null,
  "-state:busy": [false, true, true],
  "state:hot": null,
  "state:stale": null,
  "state:problems": null,
  "user:alice util>80 host~ode state:busy model:H100 80": [true, false, false],
};

for (const [query, expected] of Object.entries(CASES)) {
  test(`“${query}” finds ${expected === null ? "nothing" : expected.length === 0 ? "the whole host" : expected}`, () => {
    const mask = found(BUSY, query);
    const whole = mask?.every(Boolean) ?? false;

    assert.deepEqual(whole ? [] : mask, expected);
    assert.deepEqual(parse(query).unknown, []);
  });
}

test("unknown terms are named, and the rest still apply", () => {
  for (const token of ["foo<bar", "user<a", "util~5", "util:many", "state:rich", "state~free", "user:", "__proto__:1", "constructor:x"]) {
    assert.deepEqual(parse(`alice ${token}`).unknown, [token]);
    assert.deepEqual(found(BUSY, `alice ${token}`), [true, false, false], token);
  }
});

test("a host that is not live has no GPU in any state of a live one", () => {
  const stale = { ...BUSY, state: "stale" };

  for (const query of ["state:free", "state:busy", "state:idle"]) assert.equal(found(stale, query), null);
  assert.deepEqual(found(stale, "state:stale"), []);
  assert.deepEqual(found(stale, "state:problems"), []);
});

test("problems are a dead host, a broken GPU or a finding that needs attention", () => {
  assert.deepEqual(found({ state: "missing" }, "state:problems"), []);
  assert.deepEqual(found(host({ gpus: gpus({}, { state: "lost" }) }), "state:problems"), [false, true]);
  assert.deepEqual(found(host({ findings: findings({ kind: "driver" }) }), "state:problems"), []);
  assert.deepEqual(found(host({ findings: findings({ kind: "driver" }) }), "state:host_problems"), []);
  assert.equal(found(host({ findings: findings({ kind: "driver", severity: "info" }) }), "state:problems"), null);
  assert.deepEqual(found(host({ gpus: gpus({}, {}), findings: findings({ gpu: 1 }) }), "state:problems"), [false, true]);
  assert.equal(found(host({ gpus: gpus({}, {}), findings: findings({ gpu: 1 }) }), "state:host_problems"), null);
  assert.deepEqual(found(host({ gpus: gpus({ state: "asleep" }, {}) }), "state:asleep"), [true, false]);
});

test("an unhealthy GPU and its slices are found by state:unhealthy and state:problems", () => {
  const table = gpus({ health_reasons: ["a row waits"], use: "free" }, { health_reasons: [] }, { parent: 0, health_reasons: [], use: "busy" }, { state: "lost", health_reasons: ["Xid 79"] });

  assert.deepEqual(found(host({ gpus: table }), "state:unhealthy"), [true, false, true, false]);
  assert.deepEqual(found(host({ gpus: table }), "state:lost"), [false, false, false, true]);
  assert.deepEqual(found(host({ gpus: table }), "state:problems"), [true, false, true, true]);
  assert.deepEqual(found(host({ gpus: table }), "state:free -state:unhealthy"), null);
  assert.equal(found(BUSY, "state:unhealthy"), null);
});

test("a GPU that is busy at low power is found by that state", () => {
  const table = gpus({ use: "busy" }, { use: "busy" });
  const stalled = findings({ kind: "gpu_stalled", gpu: 0 });

  assert.deepEqual(found(host({ gpus: table, findings: stalled }), "state:stalled"), [true, false]);
  assert.equal(found(BUSY, "state:stalled"), null);
});

test("findings are found by kind, by severity, and all of them by any", () => {
  const given = host({
    gpus: gpus({}, { parent: 0 }, {}, {}),
    findings: findings({ kind: "xid", severity: "critical", gpu: 0 }, { kind: "gpu_hot", gpu: 2 }, { kind: "ecc", severity: "info", gpu: 3 }),
  });

  assert.deepEqual(found(given, "finding:xid"), [true, true, false, false]);
  assert.deepEqual(found(given, "FINDING:GPU_HOT"), [false, false, true, false]);
  assert.deepEqual(found(given, "finding~hot"), [false, false, true, false]);
  assert.equal(found(given, "finding:hot"), null);
  assert.deepEqual(found(given, "finding:critical"), [true, true, false, false]);
  assert.deepEqual(found(given, "finding:info"), [false, false, false, true]);
  assert.deepEqual(found(given, "-finding:any"), null);
  assert.deepEqual(found(given, "finding:any -finding:xid"), [false, false, true, true]);
  assert.deepEqual(found(host({ ...given, state: "stale" }), "finding:gpu_hot"), [false, false, true, false]);
  assert.deepEqual(parse("finding:").unknown, ["finding:"]);
});

test("a finding of a host is found with all of its GPUs, or none", () => {
  const full = host({ gpus: gpus({}, {}), findings: findings({ kind: "disk_full" }) });

  assert.deepEqual(found(full, "finding:disk_full"), []);
  assert.deepEqual(found(full, "finding:any"), []);
  assert.equal(found(full, "-finding:disk_full"), null);
  assert.deepEqual(found(host({ findings: findings({ kind: "driver" }) }), "finding:driver"), []);
  assert.equal(found(BUSY, "finding:any"), null);
});

test("a host without GPUs is found by its other properties", () => {
  assert.deepEqual(found(host(), "node4"), []);
  assert.deepEqual(found(host(), "-user:alice"), []);
  assert.equal(found(host(), "alice"), null);
  assert.equal(found(host(), "util<5"), null);
});

test("the matches of a term are cached until a column it reads changes", () => {
  const query = parse("train");
  const busy = { ...BUSY, processes: { ...BUSY.processes } };
  assert.deepEqual(match(query, subject(busy)), [true, false, false]);

  busy.gpus = { ...busy.gpus, utilization_percent: [1, 2, 3] };
  assert.deepEqual(match(query, subject(busy)), [true, false, false]);

  busy.processes.command = ["python eval.py", "python train.py"];
  assert.deepEqual(match(query, subject(busy)), [false, false, true]);

  busy.findings = findings({ gpu: 0, words: "held by train.py" });
  assert.deepEqual(match(query, subject(busy)), [true, false, true]);

  busy.findings = findings({ words: "the train driver is missing" });
  assert.deepEqual(match(query, subject(busy)), []);
});

test("a user without a name is found by the number that is shown", () => {
  const given = host({ gpus: gpus({}, {}), processes: processes({ gpu: 1, uid: 1003 }) });

  assert.deepEqual(found(given, 'user:"uid 1003"'), [false, true]);
  assert.deepEqual(found(given, "1003"), [false, true]);
});

/** Pseudo-random numbers, the same in every run. */
function* numbers(seed) {
  for (let value = seed; ; value = (value * 1103515245 + 12345) % 2147483648) yield value;
}

test("any text parses, and each of its words becomes a term or is reported", () => {
  const pieces = ["user", "util", "state", "__proto__", ":", "~", "<", ">=", "=", "-", '"', " ", "\t", "5", "x", "é", "\u202e", "💥", "\u0000", "toString", "("];
  const random = numbers(7);
  for (let run = 0; run < 5000; run += 1) {
    let text = "";
    for (let length = random.next().value % 12; length > 0; length -= 1) text += pieces[(random.next().value >> 8) % pieces.length];
    const { terms, unknown } = parse(text);

    found(BUSY, text);
    for (const word of unknown) assert.ok(text.includes(word), text);
    assert.ok(terms.length + unknown.length <= text.length, text);
    if (/[^\s"-]/.test(text)) assert.ok(terms.length + unknown.length > 0, JSON.stringify(text));
  }
});

test("former names of states still find them", () => {
  const table = gpus({ use: "held_idle" }, { health_reasons: ["a row waits"] }, {}, { use: "free" });
  const all = (query) => found(host({ gpus: table, findings: findings({ kind: "gpu_stalled", gpu: 2 }) }), query);

  assert.deepEqual(all("state:idle"), all("state:held_idle"));
  assert.deepEqual(all("state:ailing"), all("state:unhealthy"));
  assert.deepEqual(all("state:lowpower"), all("state:stalled"));
  assert.deepEqual(all("state:trouble"), all("state:problems"));
  assert.deepEqual(all("state:stalled"), [false, false, true, false]);
});

test("replacing one condition keeps the other words as written", () => {
  assert.equal(withValue("Alice util<5", "state", "idle"), "Alice util<5 state:idle");
  assert.equal(withValue('state:free "a  b" -state:hot foo<', "state", "idle"), '"a  b" -state:hot foo< state:idle');
  assert.equal(withValue("alice state:idle", "state", ""), "alice");
  assert.equal(valueFor("alice STATE:Idle", "state"), "held_idle");
  assert.equal(valueFor("-state:idle state=free", "state"), "");
});

test("a name with blanks is quoted, whatever else it contains", () => {
  for (const name of ["al ice", "-x", "a:b", "<img>", "uid 1000", "DOM\\bob", "__proto__"]) {
    const query = parse(withValue("", "user", name));

    assert.deepEqual(query.unknown, [], name);
    assert.equal(valueFor(withValue("", "user", name), "user"), name.toLowerCase());
  }
});

test("an unknown term is explained, an unknown state by a list of states", () => {
  assert.equal(complaint("foo<bar"), "Not understood: foo<bar");
  assert.match(complaint('-state:"rich"'), /^Unknown state "rich"\. Try free, busy, held_idle, .*problems\.$/);
  assert.equal(complaint("state:"), "Not understood: state:");
});
