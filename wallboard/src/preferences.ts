// What is kept: the views of an account at the connector, the looks in this browser.

import { signal } from "@preact/signals";
import { ask } from "./api";

export interface View {
  name: string;
  hash: string;
}

type Kept = { preferences: { views?: View[] } & Record<string, unknown> };

const VIEWS_MAX = 50;

export const views = signal<View[]>([]);
export const theme = signal(localStorage.getItem("theme") ?? "auto");

let kept: Kept["preferences"] = {};

export async function loadViews(): Promise<void> {
  try {
    kept = (await ask<Kept>("GET", "/session/preferences")).preferences;
  } catch {
    kept = {}; // who is not logged in has nowhere to keep any
  }
  views.value = Array.isArray(kept.views) ? kept.views.filter((view) => view.hash?.startsWith("#/")) : [];
}

export async function keepViews(changed: View[]): Promise<void> {
  views.value = changed.slice(-VIEWS_MAX);
  kept = { ...kept, views: views.value };
  await ask("PUT", "/session/preferences", { preferences: kept });
}

export function wear(name: string): void {
  localStorage.setItem("theme", name);
  theme.value = name;
  document.documentElement.dataset["theme"] = name;
}
