// Times of day in the zone of the queue that they belong to: a setting of the queue.

import { signal } from "@preact/signals";
import { locale } from "./i18n";
import type { QueueFigures } from "./wire";

const zones = signal<ReadonlyMap<string, string>>(new Map());
const formats = new Map<string, Intl.DateTimeFormat>();

const HERE = new Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Learns the queues' zones from their figures. */
export function keepZones(rows: QueueFigures[]): void {
  const { value } = zones;
  const fresh = rows.filter((row) => value.get(`${row.pbx}/${row.queue}`) !== row.figures.now.time_zone);
  if (fresh.length) zones.value = new Map([...value, ...fresh.map((row) => [`${row.pbx}/${row.queue}`, row.figures.now.time_zone] as const)]);
}

/** The zone of a queue; undefined where it is not known, or nothing was said of a queue. */
export function zoneOf(pbx: string, queue: string | undefined): string | undefined {
  return queue ? zones.value.get(`${pbx}/${queue}`) : undefined;
}

/** A time of day; in another zone than this machine's, that is said with it. */
export function timeIn(at: number, zone: string | undefined): string {
  const elsewhere = zone !== undefined && zone !== HERE && offset(at, zone) !== offset(at, HERE);
  return format(elsewhere ? zone : HERE, elsewhere).format(at * 1000);
}

/** Making a format is slow, using it is not. */
function format(zone: string, named: boolean): Intl.DateTimeFormat {
  const key = `${locale.value} ${zone} ${named}`;
  let made = formats.get(key);
  if (!made) {
    const name = named ? ({ timeZoneName: "short" } as const) : {};
    made = new Intl.DateTimeFormat(locale.value, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone: zone, ...name });
    formats.set(key, made);
  }
  return made;
}

function offset(at: number, zone: string): string {
  const key = `offset ${zone}`;
  let made = formats.get(key);
  if (!made) {
    made = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" });
    formats.set(key, made);
  }
  return made.formatToParts(at * 1000).find((part) => part.type === "timeZoneName")?.value ?? "";
}
