// When a number is worth a look (warn) or help at once (bad). The targets are the queue's own, from the settings.

export type Level = "" | "warn" | "bad";

export const LONG_CALL_S = 600;
export const LONG_PAUSE_S = 900;

const BELOW_TARGET = 0.1;
const ABANDONED_WARN = 0.05;
const ABANDONED_BAD = 0.1;

/** How long somebody has waited, against the target of the service level. */
export function ofWait(wait_s: number, target_s: number): Level {
  if (wait_s > 2 * target_s) return "bad";
  return wait_s > target_s ? "warn" : "";
}

export function ofServiceLevel(level: number | null | undefined, target: number): Level {
  if (level === null || level === undefined || level >= target) return "";
  return level < target - BELOW_TARGET ? "bad" : "warn";
}

export function ofAbandoned(share: number | null | undefined): Level {
  if (share === null || share === undefined || share < ABANDONED_WARN) return "";
  return share < ABANDONED_BAD ? "warn" : "bad";
}

/** Callers wait and nobody could take them. */
export function ofWaiting(waiting: number, free: number): Level {
  if (waiting === 0) return "";
  return free === 0 ? "warn" : "";
}
