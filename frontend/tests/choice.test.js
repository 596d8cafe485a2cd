import assert from "node:assert/strict";
import { test } from "node:test";

import { Choice } from "../app/choice.js";
import { Store } from "../app/store.js";
import { readView } from "../app/url.js";
import { fleet, gpus, host } from "./fleets.js";

/** A choice for a view of a fleet with node1: one free GPU of two, and node2: two free. */
function choiceOf(search, live = true, held = false, choice = new Choice(new Store())) {
  const free = { use: "free" };
  const hosts = { node1: host({ gpus: gpus({ use: "busy" }, free) }), node2: host({ gpus: gpus(free, free) }) };
  choice.store.take({ type: "fleet", sequence: 1, fleet: fleet(hosts) });
  choice.update(typeof search === "string" ? readView(search) : search, live, held);
  return choice;
}

test("without a wish nothing is left out", () => {
  const choice = choiceOf("");

  assert.equal(choice.active, false);
  assert.deepEqual(choice.mask("node1"), []);
});

test("the query hides hosts, the finder only dims", () => {
  assert.equal(choiceOf("?q=host:node2").mask("node1"), null);
  assert.deepEqual(choiceOf("?need=2").mask("node1"), [false, false]);
  assert.deepEqual(choiceOf("?need=2").mask("node2"), [true, true]);
  assert.deepEqual(choiceOf("?q=host:node1&need=1").mask("node1"), [false, true]);
});

test("nothing is on offer, and nothing dimmed, when nothing is known of now", () => {
  const choice = choiceOf("?need=1", false);

  assert.deepEqual(choice.offers, []);
  assert.deepEqual(choice.mask("node1"), []);
});

test("an offer that somebody is about to take stays while it stands", () => {
  const view = readView("?need=1&q=");
  const choice = choiceOf(view);
  choice.store.take({ type: "patch", sequence: 2, patch: { hosts: { node0: host({ gpus: gpus({ use: "free" }) }) } } });

  choice.update(view, true, true);
  assert.equal(choice.offers[0].host, "node1");
  choice.update(view, true, false);
  assert.equal(choice.offers[0].host, "node0");
  choice.update(readView("?need=2"), true, true);
  assert.equal(choice.offers[0].host, "node2");
});
