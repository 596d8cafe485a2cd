import assert from "node:assert/strict";
import { test } from "node:test";

import { Hour, Recent, pathOf } from "../../app/state/last-hour.js";

const UNTIL = 6000;
const hourOf = (...newest) => new Hour(newest, UNTIL);

test("the running minute keeps its maximum", () => {
  const hour = hourOf(3, 5);

  for (const [value, now] of [[4, 5990], [9, 5995], [2, 5999], [null, 5999]]) assert.equal(hour.record(value, now), true);

  assert.deepEqual(hour.values.slice(-2), [3, 9]);
});

test("a new minute shifts the hour and keeps its length", () => {
  const hour = hourOf(1);

  assert.equal(hour.record(7, UNTIL), true);

  assert.deepEqual(hour.values.slice(-2), [1, 7]);
  assert.equal(hour.values.length, 60);
  assert.equal(hour.until, UNTIL + 60);
});

test("missed minutes become gaps that the server can fill", () => {
  const hour = hourOf(1);

  assert.equal(hour.record(7, UNTIL + 130), false);

  assert.deepEqual(hour.values.slice(-4), [1, null, null, 7]);
  assert.equal(hour.record(0, UNTIL + 1e6), false);
  assert.equal(hour.values.length, 60);
});

test("zero has a bar, a gap has none", () => {
  const bars = (hour, full) => hour.path(full).match(/M/g)?.length ?? 0;

  assert.equal(bars(hourOf(0, null, 100), 100), 2);
  assert.equal(bars(hourOf()), 0);
  assert.match(hourOf(50).path(100), /^M59 18v-9\.0h/);
  assert.match(hourOf(500).path(100), /^M59 18v-18\.0h/);
});

test("a path is rebuilt only after a change", () => {
  const hour = hourOf(50);
  const path = hour.path(100);

  hour.record(40, UNTIL - 1);
  assert.equal(hour.path(100), path);
  hour.record(60, UNTIL - 1);
  assert.notEqual(hour.path(100), path);
});

/** A server with prepared answers that counts requests. */
function server(...answers) {
  const asked = [];
  const ask = async (path) => {
    asked.push(path);
    const answer = answers.shift();
    if (answer === undefined) throw new Error("503");
    return answer;
  };
  return { ask, asked };
}
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("a host's hours are fetched once, then continued by current values", async () => {
  const { ask, asked } = server({ until: UNTIL, minute_seconds: 60, uuid: ["u", null], utilization_percent: [[1, 2], [3, 4]] });
  let news = 0;
  const recent = new Recent(ask, () => 0, () => (news += 1));

  assert.equal(recent.hours(pathOf("a b"), [["u", 5]], UNTIL - 1).size, 0);
  await settle();
  const hours = recent.hours(pathOf("a b"), [["u", 5]], UNTIL - 1);

  assert.deepEqual(hours.get("u").values.slice(-2), [1, 5]);
  assert.equal(hours.size, 1, "none of a GPU whose UUID is not known");
  assert.deepEqual([asked, news], [["hosts/a%20b/recent"], 1]);
});

test("two GPUs with one UUID have an hour each", async () => {
  const { ask } = server({ until: UNTIL, minute_seconds: 60, uuid: ["u", "u", "v"], utilization_percent: [[1], [2], [3]] });
  const recent = new Recent(ask, () => 0, () => {});
  /** @type {[string, number][]} */
  const values = [["u", 50], ["u 2", 60], ["v", 70]];

  recent.hours("x", values, UNTIL - 1);
  await settle();
  const hours = recent.hours("x", values, UNTIL - 1);

  assert.deepEqual(values.map(([key]) => hours.get(key).values.at(-1)), [50, 60, 70]);
});

test("the fleet's hours are stored under its totals", async () => {
  const { ask } = server({ until: UNTIL, minute_seconds: 60, power_watts: [7], utilization_percent: [1] });
  const recent = new Recent(ask, () => 0, () => {});

  recent.hours("recent", [], UNTIL);
  await settle();

  assert.deepEqual([...recent.hours("recent", [], UNTIL).keys()], ["power_watts", "utilization_percent"]);
});

test("without an answer there are no bars until a later attempt", async () => {
  let clock = 0;
  const { ask, asked } = server();
  const recent = new Recent(ask, () => clock, () => assert.fail("no news"));

  for (clock of [0, 1, 29, 30]) {
    assert.equal(recent.hours("recent", [], UNTIL).size, 0);
    await settle();
  }

  assert.equal(asked.length, 2);
});

test("gaps and renewals are fetched again", async () => {
  const answer = { until: UNTIL, uuid: ["u"], utilization_percent: [[1]] };
  const { ask, asked } = server(answer, answer, answer);
  const recent = new Recent(ask, () => 0, () => {});

  for (const now of [UNTIL - 1, UNTIL - 1, UNTIL + 200]) {
    recent.hours("x", [["u", 1]], now);
    await settle();
  }
  recent.renew();
  recent.hours("x", [["u", 1]], UNTIL - 1);

  assert.equal(asked.length, 3);
});

test("a collapsed row is forgotten", async () => {
  const answer = { until: UNTIL, uuid: ["u"], utilization_percent: [[1]] };
  const { ask, asked } = server(answer, answer);
  const recent = new Recent(ask, () => 0, () => {});

  recent.hours("x", [], UNTIL);
  await settle();
  recent.drop("x");
  recent.hours("x", [], UNTIL);

  assert.equal(asked.length, 2);
});
