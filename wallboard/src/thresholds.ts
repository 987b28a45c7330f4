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

/** Estimated listening quality; the steps are those of ITU-T G.107 annex B. */
export function ofMos(mos: number): Level {
  if (mos < 3.1) return "bad";
  return mos < 3.6 ? "warn" : "";
}

export function ofLoss(percent: number): Level {
  if (percent > 3) return "bad";
  return percent > 1 ? "warn" : "";
}
