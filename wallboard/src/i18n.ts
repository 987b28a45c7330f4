// The words of the page: one file a language. English is the measure: the compiler refuses a language that lacks a word.

import { signal } from "@preact/signals";
import de from "./messages/de.json";
import en from "./messages/en.json";

export type Word = keyof typeof en;

const LANGUAGES: Record<string, Record<Word, string>> = { en, de };
const kept = localStorage.getItem("language") ?? navigator.language.slice(0, 2);

export const locale = signal(kept in LANGUAGES ? kept : "en");
export const languages = Object.keys(LANGUAGES);

/** A word or sentence, with {name} replaced. */
export function t(word: Word, values: Record<string, string | number> = {}): string {
  const text = (LANGUAGES[locale.value] ?? en)[word];
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** A word for what the connector names by a code; the code itself for one that is new. */
export function code(prefix: string, name: string): string {
  const word = `${prefix}.${name}`;
  return word in en ? t(word as Word) : name.replaceAll("_", " ");
}

export function speak(language: string): void {
  localStorage.setItem("language", language);
  locale.value = language;
  document.documentElement.lang = language;
}
