"use strict";

// Everything shown is set as text, never as markup: caller names come from outside.

const PERIOD_MS = 1000;
const STALE_AFTER_MS = 3500;
let shownAt = 0;
let refused = false;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function table(caption, columns, rows, empty) {
  const parts = [element("h3", caption)];
  if (rows.length === 0) return [...parts, element("p", empty)];
  const box = element("div", undefined, "scroll");
  const made = element("table");
  const head = made.createTHead().insertRow();
  for (const column of columns) {
    const cell = element("th", column);
    cell.scope = "col";
    head.append(cell);
  }
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const value of row) line.append(element("td", String(value)));
  }
  box.append(made);
  return [...parts, box];
}

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function words(code) {
  return code.replaceAll("_", " ");
}

function outcomes(counts) {
  const seen = Object.entries(counts).filter(([, count]) => count > 0);
  return seen.length ? seen.map(([outcome, count]) => `${words(outcome)} ${count}`).join(", ") : "none yet";
}

function pbx(name, view, now) {
  const section = element("section");
  section.append(element("h2", name));
  for (const [link, health] of Object.entries(view.links)) {
    if (health.state !== "up") {
      const since = duration(now - health.since);
      section.append(element("p", `${link.toUpperCase()} is ${health.state} for ${since}: ${health.detail}`, "bad"));
    }
  }
  section.append(...table(
    "Queues",
    ["queue", "waiting", "longest wait", "members free", "members", "calls by outcome"],
    view.queues.map((queue) => [
      queue.name,
      queue.callers.length,
      queue.callers.length ? duration(now - Math.min(...queue.callers.map((caller) => caller.joined_at))) : "–",
      queue.members.filter((member) => member.device === "not_in_use" && !member.paused).length,
      queue.members.length,
      outcomes(queue.outcomes),
    ]),
    "No queue is known.",
  ));
  section.append(...table(
    "Waiting callers",
    ["queue", "position", "caller", "waiting for"],
    view.queues.flatMap((queue) => queue.callers.map((caller) => [
      queue.name, caller.position, [caller.number, caller.name].filter(Boolean).join(" ") || "unknown",
      duration(now - caller.joined_at),
    ])),
    "Nobody waits.",
  ));
  section.append(...table(
    "Members",
    ["queue", "member", "device", "paused"],
    view.queues.flatMap((queue) => queue.members.map((member) => [
      queue.name, member.name, words(member.device),
      member.paused ? `yes${member.pause_reason ? `: ${member.pause_reason}` : ""}` : "no",
    ])),
    "No members.",
  ));
  section.append(...table(
    "Streams",
    ["profile", "call", "packets in", "packets out", "lost"],
    view.streams.map((stream) => [
      stream.profile, stream.call_id, stream.stats.packets_in, stream.stats.packets_out, stream.stats.packets_lost,
    ]),
    "No call is streamed.",
  ));
  return section;
}

async function refresh() {
  try {
    const answer = await fetch("/api/v1/state", { cache: "no-store" });
    refused = answer.status === 401;
    document.getElementById("login").hidden = !refused;
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const state = await answer.json();
    const live = document.getElementById("live");
    live.replaceChildren(...Object.entries(state.pbx).map(([name, view]) => pbx(name, view, state.at)));
    shownAt = Date.now();
  } catch (error) {
    console.warn(error);
  }
}

function freshness() {
  const age = Date.now() - shownAt;
  const stale = age > STALE_AFTER_MS;
  document.body.classList.toggle("stale", stale);
  const line = document.getElementById("freshness");
  line.className = stale ? "bad" : "";
  if (!stale) line.textContent = "live";
  else if (refused) line.textContent = "log in as an administrator";
  else line.textContent = shownAt
    ? `no answer since ${new Date(shownAt).toLocaleTimeString()}: these numbers are old`
    : "no answer yet";
}

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(event.target);
  const body = JSON.stringify({ name: fields.get("name"), password: fields.get("password") });
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("/api/v1/session", { method: "POST", headers, body });
  event.target.reset();
  if (!answer.ok) document.getElementById("freshness").textContent = (await answer.json()).detail;
  else await refresh();
});

refresh();
setInterval(refresh, PERIOD_MS);
setInterval(freshness, 500);
