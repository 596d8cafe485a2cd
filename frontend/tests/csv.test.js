import assert from "node:assert/strict";
import { test } from "node:test";

import { text, toCsv } from "../app/csv.js";
import { findings, gpus, host, processes } from "./fleets.js";

/** Parse RFC 4180 into rows of fields. */
function read(csv) {
  const rows = [];
  for (const line of csv.match(/(?:"(?:[^"]|"")*"|[^"\r])*\r\n/g)) {
    const fields = line.slice(0, -2).match(/(?<=^|,)(?:"(?:[^"]|"")*"|[^,"]*)(?=,|$)/g);
    rows.push(fields.map((field) => (field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field)));
  }
  const [header, ...rest] = rows;
  return rest.map((row) => {
    assert.equal(row.length, header.length);
    return Object.fromEntries(header.map((name, column) => [name, row[column]]));
  });
}

const NODE = host({
  gpus: gpus({ uuid: "GPU-a", name: "H100", power_watts: 300, throttle: ["thermal", "power"], health_reasons: ["a row waits", "b, c"] }, { uuid: "GPU-b", idle_since: 5 }),
  processes: processes({ gpu: 0, user: "alice", command: 'say "hi", all\nof you', pid: 7 }, { gpu: 0, user: "bob", pid: 8 }),
});
const shown = (given = NODE, mask = []) => [{ name: "node1", state: "live", host: given, mask }];

test("there is one line per process, and one for a GPU without processes", () => {
  const rows = read(toCsv(shown()));

  assert.deepEqual(rows.map((row) => [row.gpu_uuid, row.process_user]), [["GPU-a", "alice"], ["GPU-a", "bob"], ["GPU-b", ""]]);
  assert.equal(rows[0].process_command, 'say "hi", all\nof you');
  assert.equal(rows[0].gpu_power_watts, "300");
  assert.equal(rows[0].gpu_throttle, "thermal; power");
  assert.equal(rows[0].gpu_health_reasons, "a row waits; b, c");
  assert.equal(rows[2].gpu_idle_since_unix_seconds, "5");
});

test("it contains only what is shown; a host without GPUs has one line", () => {
  assert.deepEqual(read(toCsv(shown(NODE, [false, true]))).map((row) => row.gpu_uuid), ["GPU-b"]);
  assert.deepEqual(read(toCsv(shown({ state: "missing" }))).map((row) => [row.host, row.gpu_uuid]), [["node1", ""]]);
  assert.deepEqual(read(toCsv([])), []);
});

test("each line has the findings of its GPU and of its host as text", () => {
  const given = host({
    gpus: gpus({}, { parent: 0 }, {}),
    findings: findings({ gpu: 0, severity: "critical", words: "fell off the bus", advice: "reset it" }, { gpu: 1, words: "hot" }, { words: "full" }),
  });
  const rows = read(toCsv(shown(given)));

  assert.deepEqual(rows.map((row) => row.gpu_findings), ["critical: fell off the bus: reset it", "critical: fell off the bus: reset it; warning: hot", ""]);
  assert.deepEqual(rows.map((row) => row.host_findings), ["warning: full", "warning: full", "warning: full"]);
  assert.equal(read(toCsv(shown(host({ findings: findings({ words: "no driver" }) }))))[0].host_findings, "warning: no driver");
});

test("columns of a newer collector are included after the fixed ones", () => {
  const [row] = read(toCsv(shown(host({ gpus: gpus({ new_mib: 4 }) }))));
  const plain = toCsv(shown()).split("\r\n")[0];

  assert.equal(row.gpu_new_mib, "4");
  assert.ok(plain.startsWith("host,host_state,gpu_index,gpu_uuid,"));
});

test("text is never a formula, and numbers stay numbers", () => {
  for (const evil of ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"]) assert.ok(text(evil).replace(/^"/, "").startsWith("'"), evil);
  assert.equal(text('=cmd|"/C calc"'), `"'=cmd|""/C calc"""`);
  assert.equal(text(-5), "-5");
  assert.equal(text(null), "");
  assert.equal(text(undefined), "");
});

test("every text survives a round trip", () => {
  for (const command of ["a,b", '"', '""', "a\r\nb", "\n", "ü💥", ",", "x'"]) {
    const [row] = read(toCsv(shown(host({ gpus: gpus({}), processes: processes({ command }) }))));

    assert.equal(row.process_command, command);
  }
});
