import assert from "node:assert/strict";
import { test } from "node:test";
import { Fold } from "../src/fold";
import type { CallerItem, Delta } from "../src/wire";

const caller = (id: string, position: number): CallerItem => ({
  kind: "caller",
  id,
  pbx: "main",
  queue: "support",
  uniqueid: id,
  position,
  joined_at: 1,
  number: "1",
  name: "",
  priority: 0,
});
const delta = (after: number, sequence: number, changes: Partial<Delta> = {}): Delta => ({
  type: "delta",
  epoch: "a",
  after,
  sequence,
  at: 0,
  changed: [],
  removed: [],
  ...changes,
});

function begun(): Fold {
  const fold = new Fold();
  assert.ok(fold.take({ type: "snapshot", epoch: "a", sequence: 5, at: 0, items: [caller("x", 1), caller("y", 2)] }));
  return fold;
}

test("changes replace whole items, and what is removed goes", () => {
  const fold = begun();
  assert.ok(fold.take(delta(5, 9, { changed: [caller("y", 1)], removed: [{ kind: "caller", id: "x" }] })));
  assert.deepEqual([...fold.tables.caller.values()].map((each) => [each.id, each.position]), [["y", 1]]);
  assert.deepEqual(fold.position, { epoch: "a", sequence: 9 });
});

test("a gap is noticed, in a delta and in a heartbeat, and where it was stays known for the resume", () => {
  const fold = begun();
  assert.equal(fold.take(delta(7, 9, { removed: [{ kind: "caller", id: "x" }] })), false);
  assert.equal(fold.take({ type: "heartbeat", epoch: "a", sequence: 8, at: 0 }), false);
  assert.equal(fold.tables.caller.size, 2);
  assert.deepEqual(fold.position, { epoch: "a", sequence: 5 });
});

test("numbers that others caused are no gap", () => {
  const fold = begun();
  assert.ok(fold.take(delta(5, 40)));
  assert.ok(fold.take({ type: "heartbeat", epoch: "a", sequence: 40, at: 0 }));
});

test("another run of the connector begins with a snapshot", () => {
  const fold = begun();
  assert.equal(fold.take({ ...delta(5, 6), epoch: "b" }), false);
  assert.equal(fold.position, null);
  assert.ok(fold.take({ type: "snapshot", epoch: "b", sequence: 1, at: 0, items: [] }));
  assert.equal(fold.tables.caller.size, 0);
});

test("kinds of a newer connector are left alone", () => {
  const fold = begun();
  assert.ok(fold.take(delta(5, 6, { changed: [{ kind: "robot", id: "z" } as never], removed: [{ kind: "robot", id: "z" }] })));
});
