import assert from "node:assert/strict";
import { test } from "node:test";
import { ofAbandoned, ofServiceLevel, ofWait, ofWaiting } from "../src/thresholds";

test("waits are measured against the queue's target", () => {
  assert.deepEqual([20, 21, 40, 41].map((wait) => ofWait(wait, 20)), ["", "warn", "warn", "bad"]);
});

test("a service level below target warns, far below it alarms, and none of nothing does", () => {
  assert.deepEqual([0.8, 0.75, 0.5, null].map((level) => ofServiceLevel(level, 0.8)), ["", "warn", "bad", ""]);
});

test("abandoned shares", () => {
  assert.deepEqual([null, 0.04, 0.05, 0.1].map(ofAbandoned), ["", "", "warn", "bad"]);
});

test("somebody waits and nobody is free", () => {
  assert.deepEqual([ofWaiting(0, 0), ofWaiting(1, 1), ofWaiting(1, 0)], ["", "", "warn"]);
});
