// The connector's clock, and how old what is shown is.

import { computed, signal } from "@preact/signals";

const LAG_S = 5;

let offset = Number.NEGATIVE_INFINITY;

/** When the connector was heard last, in its own time; 0 for never. */
export const heardAt = signal(0);
/** How much later than the fastest message the last one came. */
export const lag = signal(0);
/** The connector's time, once a second. */
export const now = signal(Date.now() / 1000);
/** Messages come, but late. */
export const late = computed(() => lag.value > LAG_S);

/** A message that the connector made at `at`. */
export function heard(at: number): void {
  const here = Date.now() / 1000;
  // The largest difference is that of the fastest message: the others were on their way for longer.
  if (at - here > offset || at - here < offset - 120) offset = at - here;
  lag.value = Math.max(0, Math.floor(offset - (at - here)));
  heardAt.value = at;
  if (now.value === 0 || Math.abs(now.value - at) > 2) tick();
}

export function tick(): void {
  now.value = Date.now() / 1000 + (Number.isFinite(offset) ? offset : 0);
}

export function run(): void {
  window.setInterval(tick, 1000);
}
