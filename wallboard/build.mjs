// Bundles the page into connector/web/static, or with --tests the tests into build/. Same sources and lock, same bytes.
import { build } from "esbuild";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const SHIPPED = ["preact", "@preact/signals", "@preact/signals-core"];

const common = { bundle: true, format: "esm", jsx: "automatic", jsxImportSource: "preact", logLevel: "warning" };

if (process.argv.includes("--tests")) {
  const entryPoints = readdirSync("test").map((name) => `test/${name}`);
  await build({ ...common, entryPoints, outdir: "build", platform: "node" });
} else {
  const outdir = process.env.WALLBOARD_OUT ?? "../connector/web/static";
  await build({
    ...common,
    entryPoints: { wallboard: "src/main.tsx", listen: "src/listen/worklet.ts" },
    outdir,
    minify: true,
    target: ["es2022"],
    legalComments: "none",
  });
  const licences = SHIPPED.map((name) => {
    const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
    return `${name} ${version}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim()}\n`;
  });
  writeFileSync(`${outdir}/licences.txt`, `wallboard.js has these libraries in it.\n\n${licences.join("\n")}`);
}
