// The recordings of a day, or of one call; each can be played where one may.

import { useState } from "preact/hooks";
import { all, ask } from "../api";
import { now } from "../clock";
import { caller, duration, timeOfDay } from "../format";
import { code, t } from "../i18n";
import { usePoll } from "../poll";
import { recordings, type Recording } from "../recordings";
import { refine, route } from "../route";
import type { FinishedCall, LiveCall } from "../wire";
import { FiguresAge } from "./figures_age";
import { Scroll } from "./parts";
import { Player } from "./player";

const PERIOD_MS = 10_000;
const DAY_S = 86_400;

/** All that begin on a day of this browser's calendar. */
export function Recordings() {
  const today = dateOf(now.value);
  const day = route.value.query.get("day") ?? today;
  const since = new Date(`${day}T00:00`).getTime() / 1000;
  const span = { since: String(since), until: String(since + DAY_S) };
  const polled = usePoll(async () => {
    const [rows, ended, live] = await Promise.all([
      recordings({ ...span, limit: "200" }),
      ask<{ calls: FinishedCall[] }>("GET", `/history/calls?${new URLSearchParams({ since: span.since, limit: "500" })}`),
      all<LiveCall>("/calls", "calls"),
    ]);
    return { rows, calls: new Map([...ended.calls, ...live].map((call) => [`${call.pbx}/${call.linkedid}`, call])) };
  }, PERIOD_MS, day);
  const found = polled.value.value;
  return (
    <>
      <h2 class="hidden">{t("recordings")}</h2>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <label>
          {t("day")}
          <input type="date" value={day} max={today} onChange={(event) => refine("day", event.currentTarget.value)} />
        </label>
        {found && <output>{t("count_recordings", { count: found.rows.length })}</output>}
      </form>
      <FiguresAge polled={polled.value} />
      {polled.value.error && !found && <p class="result bad">▲ {polled.value.error}</p>}
      {found && found.rows.length === 0 && <p>{t("no_recordings")}</p>}
      {found && found.rows.length > 0 && <Table rows={found.rows} calls={found.calls} />}
    </>
  );
}

function Table({ rows, calls }: { rows: Recording[]; calls: Map<string, FinishedCall | LiveCall> }) {
  const [open, setOpen] = useState("");
  return (
    <Scroll label={t("recordings")}>
      <table class="recordings">
        <thead>
          <tr>
            {(["caller", "queue", "began", "length", "with", "state", "play"] as const).map((word) => (
              <th key={word} scope="col">
                {t(word)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => {
            const key = `${row.day}/${row.file}`;
            const call = calls.get(`${row.pbx}/${row.linkedid}`);
            const name = call ? caller(call.number, call.name) : "–";
            return [
              <tr key={key}>
                <th scope="row">{name}</th>
                <td>{call && queuesOf(call)}</td>
                <td>{timeOfDay(row.started_at)}</td>
                <td>{row.duration_ms === null ? "–" : duration(row.duration_ms / 1000)}</td>
                <td>{row.profile || code("ears", row.right)}</td>
                <td title={row.error}>{code("recorded", row.state)}</td>
                <td>
                  {playable(row) && (
                    <button
                      aria-expanded={open === key}
                      aria-label={t("play_of", { name, time: timeOfDay(row.started_at) })}
                      onClick={() => setOpen(open === key ? "" : key)}
                    >
                      {open === key ? "▾" : "▶"}
                    </button>
                  )}
                </td>
              </tr>,
              open === key && (
                <tr key={`${key} player`}>
                  <td colSpan={7}>
                    <Player recording={row} />
                  </td>
                </tr>
              ),
            ];
          })}
        </tbody>
      </table>
    </Scroll>
  );
}

function queuesOf(call: FinishedCall | LiveCall): string {
  return "visits" in call ? call.visits.map((visit) => visit.queue).join(", ") : call.queue;
}

/** What there is of one call, below its timeline. */
export function OfCall({ call }: { call: FinishedCall }) {
  const { pbx, linkedid, started_at, ended_at } = call;
  const query = { pbx, call: linkedid, since: String(started_at - 1), until: String(ended_at + 1) };
  const polled = usePoll(() => recordings(query), PERIOD_MS / 2, `${pbx}/${linkedid}`);
  const rows = (polled.value.value ?? []).filter(playable);
  if (rows.length === 0) return null;
  return (
    <>
      <h3>{t("recordings")}</h3>
      {rows.map((row) => (
        <Player key={row.file} recording={row} />
      ))}
    </>
  );
}

function playable({ state }: Recording): boolean {
  return state === "closed" || state === "recovered";
}

function dateOf(at: number): string {
  const date = new Date(at * 1000);
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}
