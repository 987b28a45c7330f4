// Whether what is shown is of now. What is not is greyed, its clocks stand still, and a line says since when.

import { computed } from "@preact/signals";
import { heardAt, lag, late, now } from "./clock";
import { timeOfDay } from "./format";
import { t } from "./i18n";
import { connected, seen, tables } from "./live";

/** The page as a whole is behind; null if it is not. */
export const pageStale = computed<string | null>(() => {
  if (!seen.value) return null;
  if (!connected.value) return t("stale.socket", { time: timeOfDay(heardAt.value) });
  if (late.value) return t("stale.late", { seconds: lag.value, time: timeOfDay(heardAt.value - lag.value) });
  return null;
});

/** Links that are not up, each in a sentence. */
export const linkNotes = computed<string[]>(() => {
  const notes = [...tables.value.link.values()]
    .filter((link) => link.state !== "up")
    .map(({ pbx, link, state, since, detail }) =>
      t("stale.link", { pbx, link: link.toUpperCase(), state, detail, time: timeOfDay(since) }),
    );
  const reading = new Set([...tables.value.queue.values()].filter((each) => !each.current).map((each) => each.pbx));
  for (const pbx of reading) if (!downSince.value.has(pbx)) notes.push(t("stale.current", { pbx }));
  return notes;
});

/** PBXs whose queue numbers are old, with since when: without AMI no event comes. */
const downSince = computed<Map<string, number>>(() => {
  const down = new Map<string, number>();
  for (const { pbx, link, state, since } of tables.value.link.values()) {
    if (link === "ami" && state !== "up") down.set(pbx, since);
  }
  return down;
});

export function pbxStale(pbx: string): boolean {
  return downSince.value.has(pbx);
}

/** The time up to which the numbers of a PBX are true. */
export function nowOf(pbx: string): number {
  if (!connected.value) return heardAt.value;
  return downSince.value.get(pbx) ?? now.value;
}
