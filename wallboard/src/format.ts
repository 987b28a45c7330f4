// Numbers and times as people read them.

import { locale } from "./i18n";
import { timeIn } from "./zones";

/** 0:07, 12:05, 1:02:05. Never negative: clocks differ by less than anybody sees. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const minutes = Math.floor(whole / 60);
  const rest = String(whole % 60).padStart(2, "0");
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

export function share(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  return new Intl.NumberFormat(locale.value, { style: "percent", maximumFractionDigits: 0 }).format(value);
}

export function decimal(value: number): string {
  return new Intl.NumberFormat(locale.value, { minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(value);
}

/** Of a number of hundredths. */
export function percent(value: number): string {
  return `${decimal(value)} %`;
}

export function seconds(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : duration(value);
}

/** In this machine's zone. */
export function timeOfDay(at: number): string {
  return timeIn(at, undefined);
}

export function caller(number: string, name: string): string {
  if (name && name !== number) return number ? `${name} · ${number}` : name;
  return number || "–";
}
