import assert from "node:assert/strict";
import { test } from "node:test";

import { DASH, age, celsius, count, energy, gib, memoryOf, many, percent, power, shortSpan, size, span, timeOfDay, watts } from "../app/format.js";

const FORMATS = { age, celsius, count, energy, gib, percent, shortSpan, size, span, timeOfDay, watts };

const cases = [
  ["count", 9832, "9,832"],
  ["count", 0, "0"],
  ["percent", 0, "0%"],
  ["percent", 71.6, "72%"],
  ["celsius", 64.4, "64°"],
  ["watts", 562, "562 W"],
  ["energy", 0, "0.0 kWh"],
  ["energy", 1_296_000, "0.4 kWh"],
  ["energy", 359_800_000, "99.9 kWh"],
  ["energy", 4_442_400_000, "1,234 kWh"],
  ["gib", 0, "0.0"],
  ["gib", 32563, "31.8"],
  ["gib", 524288, "512"],
  ["size", 81559, "80"],
  ["size", 512, "0.5"],
  ["span", 0, "<1m"],
  ["span", 59.9, "<1m"],
  ["span", 60, "1m"],
  ["span", 58629, "16h 17m"],
  ["span", 3 * 86400 + 10 * 3600, "3d 10h"],
  ["shortSpan", 58629, "16h"],
  ["age", 0.9, "0s"],
  ["age", -3, "0s"],
  ["age", 252, "4m 12s"],
  ["age", 86400, "1d 0h"],
];
for (const [name, value, words] of cases) {
  test(`${name}(${value}) is ${words}`, () => {
    assert.equal(FORMATS[name](value), words);
  });
}

test("an unknown value is a dash, never a zero", () => {
  for (const [name, format] of Object.entries(FORMATS)) {
    assert.equal(format(null), DASH, name);
    assert.equal(format(undefined), DASH, name);
  }
  assert.deepEqual(memoryOf(undefined, undefined), ["–", "/ – GiB"]);
  assert.deepEqual(power(undefined), ["–", "W"]);
});

test("a fleet's memory and power use the unit that keeps them short", () => {
  assert.deepEqual(memoryOf(758 * 1024, 2048 * 1024), ["758", "/ 2,048 GiB"]);
  assert.deepEqual(memoryOf(31 * 1024 ** 2, 61 * 1024 ** 2), ["31", "/ 61 TiB"]);
  assert.deepEqual(power(850), ["850", "W"]);
  assert.deepEqual(power(11_100), ["11.1", "kW"]);
  assert.deepEqual(power(3_955_000), ["3,955", "kW"]);
});

test("a time on another day includes the date", () => {
  const at = new Date(2026, 10, 27, 14, 2, 31);
  assert.equal(timeOfDay(at / 1000, new Date(2026, 10, 27, 23, 59)), "14:02:31");
  assert.equal(timeOfDay(at / 1000, new Date(2026, 10, 30, 8)), "Fri Nov 27 14:02");
});

test("nouns agree with their number", () => {
  assert.equal(many(1, "host"), "1 host");
  assert.equal(many(1250, "host"), "1,250 hosts");
  assert.equal(many(2, "process"), "2 processes");
});
