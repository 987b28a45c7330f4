import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const words = (name: string): Record<string, string> => JSON.parse(readFileSync(`src/messages/${name}`, "utf8"));
const en = words("en.json");
const sources = readdirSync("src", { recursive: true })
  .map(String)
  .filter((name) => /\.tsx?$/.test(name))
  .map((name) => readFileSync(`src/${name}`, "utf8"))
  .join("\n");

const marks = (text: string): string[] => [...text.matchAll(/\{\w+\}/g)].map(String).sort();

for (const name of readdirSync("src/messages").filter((each) => each !== "en.json")) {
  test(`${name} has the words of en.json, none more, and each with the same places to fill`, () => {
    const other = words(name);
    assert.deepEqual(Object.keys(other).sort(), Object.keys(en).sort());
    for (const [word, text] of Object.entries(other)) {
      assert.ok(text.trim(), word);
      assert.deepEqual(marks(text), marks(en[word] ?? ""), word);
    }
  });
}

test("what the connector names by codes has words", () => {
  const schema = readFileSync("../docs/schemas/openapi.json", "utf8");
  const { components } = JSON.parse(schema) as { components: { schemas: Record<string, { enum?: string[] }> } };
  for (const [prefix, shape] of [
    ["state", "AgentState"],
    ["stream", "Stage"],
    ["fault", "Fault"],
    ["direction", "Direction"],
    ["visit", "connector.events.Outcome"],
  ] as const) {
    const codes = components.schemas[shape]?.enum;
    assert.ok(codes?.length, shape);
    for (const code of codes) assert.ok(`${prefix}.${code}` in en, `${prefix}.${code}`);
  }
});

test("no word is kept that nobody says", () => {
  const said = (word: string): boolean => {
    const [prefix] = word.split(".", 1);
    if (sources.includes(`}${word.slice(word.indexOf("_"))}\``)) return true;
    return sources.includes(`"${word}"`) || (word.includes(".") && new RegExp(`["\`]${prefix}(\\.\\$|")`).test(sources));
  };
  assert.deepEqual(
    Object.keys(en).filter((word) => !said(word)),
    [],
  );
});
