// The last hour of a queue in a picture of a word's size: callers who came in each five minutes, and of these who gave up.

import { t } from "../i18n";
import type { Trend } from "../wire";
import { pure } from "./parts";

const WIDTH = 120;
const HEIGHT = 28;
const STEP = 5;

/** Sums of each five minutes. */
export function steps(minutes: number[]): number[] {
  const sums: number[] = [];
  for (let n = 0; n < minutes.length; n += STEP) sums.push(minutes.slice(n, n + STEP).reduce((a, b) => a + b, 0));
  return sums;
}

export const Spark = pure(({ trend }: { trend: Trend | undefined }) => {
  if (!trend) return <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true" />;
  const [offered, abandoned] = [steps(trend.offered), steps(trend.abandoned)];
  const top = Math.max(1, ...offered);
  const width = WIDTH / offered.length;
  const told = t("trend", { offered: sum(offered), abandoned: sum(abandoned), top });
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={told}>
      <title>{told}</title>
      <line x1={0} x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} class="ground" />
      {offered.map((count, n) => (
        <rect key={n} class="came" x={n * width + 0.5} width={width - 1} {...bar(count, top)} />
      ))}
      {abandoned.map((count, n) => (
        <rect key={`a${n}`} class="lost" x={n * width + 0.5} width={width - 1} {...bar(count, top)} />
      ))}
    </svg>
  );
});

function bar(count: number, top: number): { y: number; height: number } {
  const height = (Math.min(count, top) / top) * (HEIGHT - 2);
  return { y: HEIGHT - 1 - height, height };
}

function sum(counts: number[]): number {
  return counts.reduce((a, b) => a + b, 0);
}
