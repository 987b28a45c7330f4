import assert from "node:assert/strict";
import { test } from "node:test";
import { kept } from "../src/kept";

test("what is as before stays the same object", () => {
  const first = kept(null, [
    ["a", { n: 1 }],
    ["b", { n: 1 }],
  ]);
  const second = kept(first, [
    ["a", { n: 1 }],
    ["b", { n: 2 }],
  ]);
  assert.equal(second.get("a"), first.get("a"));
  assert.notEqual(second.get("b"), first.get("b"));
  assert.deepEqual([...kept(second, []).keys()], []);
});
