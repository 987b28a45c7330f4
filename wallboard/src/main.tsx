// Starts the page.

import { effect } from "@preact/signals";
import { render } from "preact";
import { ask } from "./api";
import { run } from "./clock";
import { locale, speak } from "./i18n";
import { dismiss } from "./listen/ear";
import * as live from "./live";
import { loadViews, theme, wear } from "./preferences";
import { enter, session } from "./session";
import { App } from "./ui/app";
import type { Session } from "./wire";
import "./wallboard.css";

const RETRY_MS = 2000;

async function who(): Promise<void> {
  try {
    enter(await ask<Session>("GET", "/session"));
  } catch {
    window.setTimeout(who, RETRY_MS);
  }
}

let name = "";
effect(() => {
  const next = session.value?.name ?? "";
  if (session.value === undefined || next === name) return;
  name = next;
  dismiss(); // whoever comes next does not listen
  if (next) {
    live.start();
    void loadViews();
  } else {
    live.stop();
  }
});

document.documentElement.lang = locale.value;
speak(locale.value);
wear(theme.value);
run();
void who();
const root = document.getElementById("wallboard");
if (root) render(<App />, root);
