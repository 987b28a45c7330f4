// The push socket: connects, folds what comes, resumes after a drop, and says how fresh the page is.

import { signal } from "@preact/signals";
import { heard } from "./clock";
import { Fold, type Tables } from "./fold";
import { session } from "./session";
import type { Message } from "./wire";

const RETRY_MS = [250, 500, 1000, 2000, 3000];
const SHOW_MS = 200; // what comes is shown five times a second at most, however much comes
const SILENT_MS = 12_000; // heartbeats come after 5 quiet seconds

const fold = new Fold();
let socket: WebSocket | null = null;
let tries = 0;
let wanted = false;
let metersWanted = 0;
let retry = 0;
let show = 0;
let silence = 0;

/** What is shown; a new object after each change. */
export const tables = signal<Tables>(fold.tables);
/** A snapshot or a resumed connection is there. */
export const connected = signal(false);
/** At least one snapshot came. */
export const seen = signal(false);
/** What the connector refused, as it said it. */
export const fault = signal("");

export function start(): void {
  wanted = true;
  if (socket === null) open();
}

export function stop(): void {
  wanted = false;
  clearTimeout(retry);
  socket?.close();
  socket = null;
  connected.value = false;
  seen.value = false;
  fold.tables = new Fold().tables;
  fold.position = null;
  tables.value = fold.tables;
}

/** Streams come with their meters, once a second each, until what this gives is called. */
export function wantMeters(): () => void {
  if (metersWanted++ === 0) subscribe();
  return () => {
    if (--metersWanted === 0) subscribe();
  };
}

/** Says what is to be shown; on a connection that has one already, a fresh snapshot follows. */
function subscribe(): void {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const resume = fold.position;
  socket.send(JSON.stringify({ type: "subscribe", meters: metersWanted > 0, ...(resume && { resume }) }));
}

function open(): void {
  clearTimeout(retry);
  const mine = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/live`);
  socket = mine;
  mine.onopen = () => {
    subscribe();
    listen(mine);
  };
  mine.onmessage = (event) => {
    if (socket !== mine) return;
    listen(mine);
    const message = JSON.parse(String(event.data)) as Message;
    if (message.type === "fault") fault.value = `${message.detail} ${message.remedy}`;
    else heard(message.at);
    if (!fold.take(message)) {
      mine.close();
      return;
    }
    tries = 0;
    fault.value = "";
    connected.value = true;
    if (message.type !== "heartbeat" && show === 0) {
      // Not by requestAnimationFrame: a page in a hidden tab goes on, so that it is true when it is looked at.
      show = window.setTimeout(shown, seen.value ? SHOW_MS : 0);
    }
  };
  mine.onclose = (event) => {
    if (socket !== mine) return;
    clearTimeout(silence);
    socket = null;
    connected.value = false;
    if (event.code === 4401) session.value = null;
    if (!wanted) return;
    const pause = RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)] ?? 3000;
    retry = window.setTimeout(open, pause * (0.75 + Math.random() / 2)); // all pages at once would be a storm
  };
}

function shown(): void {
  show = 0;
  seen.value = true;
  tables.value = { ...fold.tables };
}

/** A connection that is silent for too long is dead, whatever TCP believes. */
function listen(mine: WebSocket): void {
  clearTimeout(silence);
  silence = window.setTimeout(() => {
    if (socket === mine) {
      mine.onclose?.(new CloseEvent("close", { code: 1006 }));
      mine.close();
    }
  }, SILENT_MS);
}
