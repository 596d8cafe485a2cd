import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { commands, find, needWords, isStillFree } from "../../app/filter/finder.js";
import { gpus, host } from "../fleets.js";

const VECTORS = JSON.parse(readFileSync(new URL("../../../tests/free_vectors.json", import.meta.url), "utf8"));

for (const { name, hosts, wanted, offers } of VECTORS) {
  test(`as the server: ${name}`, () => {
    const need = { gpus: wanted.gpus, gib: wanted.memory_gib, model: wanted.model, anywhere: false };
    const found = find(hosts, need).map(({ host, devices, leftOver }) => ({ host, devices, left_over: leftOver }));

    assert.deepEqual(found, offers);
  });
}

const need = (more) => ({ gpus: 1, gib: 0, model: "", anywhere: false, ...more });
const free = (count, busy = 0) =>
  host({ gpus: gpus(...Array(count).fill({ use: "free" }), ...Array(busy).fill({ use: "busy" })) });

test("anywhere prefers hosts in use to completely free ones", () => {
  const hosts = { a: free(8), b: free(1, 7), c: free(2, 6) };
  const found = find(hosts, need({ gpus: 4, anywhere: true }));

  assert.deepEqual(found.map(({ host, devices, leftOver }) => [host, devices, leftOver]), [["b", "0", 0], ["c", "0,1", 0], ["a", "0", 7]]);
});

test("anywhere finds nothing if there are too few", () => {
  assert.deepEqual(find({ a: free(2), b: free(1) }, need({ gpus: 4, anywhere: true })), []);
});

test("anywhere offers the whole GPUs of a host, or a single slice", () => {
  const slices = [{ use: null, uuid: "GPU-0" }, { use: "free", uuid: "MIG-1", index: 0, parent: 0 }, { use: "free", uuid: "MIG-2", index: 1, parent: 0 }];
  const hosts = {
    a: host({ gpus: gpus(...slices) }),
    b: host({ gpus: gpus(...slices, { use: "free", uuid: "GPU-3" }) }),
  };
  const found = find(hosts, need({ gpus: 2, anywhere: true }));

  assert.deepEqual(found.map(({ host, devices }) => [host, devices]), [["a", "MIG-1"], ["b", "GPU-3"]]);
  assert.deepEqual(found.map(({ gpus: [gpu] }) => gpu.label), ["0.0", "3"]);
  assert.deepEqual(find(hosts, need({ gpus: 3, anywhere: true })), []);
});

test("anywhere offers an unhealthy GPU only when there are too few others", () => {
  const ill = { use: "free", health_reasons: ["a row waits"] };
  const hosts = { a: host({ gpus: gpus(ill, { use: "free" }, {}) }), b: host({ gpus: gpus(ill, { use: "free" }, { use: "free" }) }) };
  const taken = (gpus) => find(hosts, need({ gpus, anywhere: true })).map((offer) => [offer.host, offer.devices, offer.gpus[0].unhealthy]);

  assert.deepEqual(taken(3), [["a", "1", false], ["b", "1,2", false]]);
  assert.deepEqual(taken(4), [["a", "0,1", true], ["b", "0,1", true]]);
  assert.deepEqual(taken(6), []);
});

test("each line to paste is a single harmless line", () => {
  const offer = (host, devices) => ({ host, devices, gpus: [], leftOver: 0 });

  assert.deepEqual(commands(offer("node1", "GPU-1,GPU-2")), ["ssh node1", "export CUDA_VISIBLE_DEVICES=GPU-1,GPU-2"]);
  assert.equal(commands(offer("-oX", "0"))[0], "ssh -- -oX");
  for (const devices of ["0", "1,12", "GPU-1,2"]) {
    assert.equal(commands(offer("a", devices))[1], `export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=${devices}`);
  }
  assert.equal(commands(offer("a", "x'; rm -rf ~\n"))[1], `export CUDA_VISIBLE_DEVICES='x'\\''; rm -rf ~'`);
});

test("a need reads as a sentence", () => {
  assert.equal(needWords(need({ gpus: 4, gib: 40, model: "H100" })), "4 x H100 with 40 GiB free on one host");
  assert.equal(needWords(need({})), "1 GPU");
  assert.equal(needWords(need({ gpus: 2, anywhere: true })), "2 GPUs");
});

test("an offer is valid while its GPUs are the same and free", () => {
  const hosts = { a: host({ gpus: gpus({ use: "free", uuid: "GPU-1" }, { use: "busy", uuid: "GPU-2" }) }) };
  const [offer] = find(hosts, need({}));
  const changed = (...rows) => ({ a: host({ gpus: gpus(...rows) }) });

  assert.ok(isStillFree(hosts, offer));
  assert.ok(!isStillFree(changed({ use: "busy", uuid: "GPU-1" }), offer));
  assert.ok(!isStillFree(changed({ use: "free", uuid: "GPU-9" }), offer));
  assert.ok(!isStillFree({ a: { ...hosts.a, state: "stale" } }, offer));
  assert.ok(!isStillFree({}, offer));
});
