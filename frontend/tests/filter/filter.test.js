import assert from "node:assert/strict";
import { test } from "node:test";

import { Filter } from "../../app/filter/filter.js";
import { Store } from "../../app/state/store.js";
import { readView } from "../../app/pages/live-url.js";
import { fleet, gpus, host } from "../fleets.js";

/** A filter for a view of a fleet with node1: one free GPU of two, and node2: two free. */
function choiceOf(search, live = true, held = false, filter = new Filter(new Store())) {
  const free = { use: "free" };
  const hosts = { node1: host({ gpus: gpus({ use: "busy" }, free) }), node2: host({ gpus: gpus(free, free) }) };
  filter.store.apply({ type: "fleet", sequence: 1, fleet: fleet(hosts) });
  filter.update(typeof search === "string" ? readView(search) : search, live, held);
  return filter;
}

test("without a query or a need nothing is filtered", () => {
  const filter = choiceOf("");

  assert.equal(filter.active, false);
  assert.deepEqual(filter.mask("node1"), []);
});

test("the query hides hosts, the finder only dims", () => {
  assert.equal(choiceOf("?q=host:node2").mask("node1"), null);
  assert.deepEqual(choiceOf("?need=2").mask("node1"), [false, false]);
  assert.deepEqual(choiceOf("?need=2").mask("node2"), [true, true]);
  assert.deepEqual(choiceOf("?q=host:node1&need=1").mask("node1"), [false, true]);
});

test("without current data nothing is offered or dimmed", () => {
  const filter = choiceOf("?need=1", false);

  assert.deepEqual(filter.offers, []);
  assert.deepEqual(filter.mask("node1"), []);
});

test("an offer in use stays while its GPUs are free", () => {
  const view = readView("?need=1&q=");
  const filter = choiceOf(view);
  filter.store.apply({ type: "patch", sequence: 2, patch: { hosts: { node0: host({ gpus: gpus({ use: "free" }) }) } } });

  filter.update(view, true, true);
  assert.equal(filter.offers[0].host, "node1");
  filter.update(view, true, false);
  assert.equal(filter.offers[0].host, "node0");
  filter.update(readView("?need=2"), true, true);
  assert.equal(filter.offers[0].host, "node2");
});
