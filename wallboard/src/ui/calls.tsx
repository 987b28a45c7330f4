// Calls that go on with their path, the bots' streams, and calls that ended with their timeline.

import { useState } from "preact/hooks";
import { ask } from "../api";
import { useCalls, useQueueFigures } from "../figures";
import { caller, duration } from "../format";
import { code, t } from "../i18n";
import { usePoll } from "../poll";
import { may } from "../session";
import type { FinishedCall, LiveCall, TimelineEntry } from "../wire";
import { timeIn, zoneOf } from "../zones";
import { Dialog } from "./dialog";
import { FiguresAge } from "./figures_age";
import { ListenHere } from "./listen_here";
import { Scroll, Since } from "./parts";
import { Record } from "./record";
import { OfCall } from "./recordings";
import { Streams } from "./streams";
import { Transfer } from "./transfer";

const RECENT_MS = 5_000;

export function Calls() {
  const calls = useCalls();
  useQueueFigures(); // the zones that times are in
  const [open, setOpen] = useState<LiveCall | null>(null);
  const [told, setTold] = useState<FinishedCall | null>(null);
  const live = [...(calls.value.value?.values() ?? [])].sort((a, b) => a.started_at - b.started_at);
  return (
    <>
      <h2>{t("going_on")}</h2>
      <FiguresAge polled={calls.value} />
      {live.length === 0 ? (
        <p>{calls.value.at ? t("no_calls") : t("loading")}</p>
      ) : (
        <Scroll label={t("going_on")}>
          <table class="calls">
            <thead>
              <tr>
                {(["caller", "direction", "dialled", "length", "queue", "path"] as const).map((word) => (
                  <th key={word} scope="col">
                    {t(word)}
                  </th>
                ))}
                {may("hang_up") && <th scope="col">{t("actions")}</th>}
              </tr>
            </thead>
            <tbody>
              {live.map((call) => (
                <tr key={`${call.pbx}/${call.linkedid}`}>
                  <th scope="row">{caller(call.number, call.name)}</th>
                  <td>{code("direction", call.direction)}</td>
                  <td>{call.dialled}</td>
                  <td>
                    <Since at={call.started_at} pbx={call.pbx} />
                  </td>
                  <td>{call.queue}</td>
                  <td>{call.legs.map((leg) => leg.channel).join(" → ")}</td>
                  {may("hang_up") && (
                    <td>
                      <button aria-label={t("act_on", { name: caller(call.number, call.name) })} onClick={() => setOpen(call)}>
                        …
                      </button>
                    </td>
                  )}
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
      <Streams />
      <Recent open={setTold} />
      {open && <CallDialog call={open} close={() => setOpen(null)} />}
      {told && <Timeline call={told} close={() => setTold(null)} />}
    </>
  );
}

function CallDialog({ call, close }: { call: LiveCall; close: () => void }) {
  return (
    <Dialog title={caller(call.number, call.name)} close={close}>
      {(run, busy) => (
        <fieldset disabled={busy}>
          <ListenHere
            target={{ pbx: call.pbx, call: call.linkedid, name: caller(call.number, call.name) }}
            begun={close}
          />
          <Record call={call} />
          {call.legs[0] && (
            <Transfer
              pbx={call.pbx}
              uniqueid={call.legs[0].uniqueid}
              name={caller(call.number, call.name)}
              here={call.queue}
              run={run}
            />
          )}
          {call.legs.map((leg) => (
            <p key={leg.uniqueid}>
              {leg.channel} <small>{leg.state}</small>{" "}
              <button
                class="danger"
                onClick={() =>
                  run({
                    name: "hang-up",
                    body: { pbx: call.pbx, uniqueid: leg.uniqueid },
                    confirm: t("confirm.hang-up", { name: leg.channel }),
                  })
                }
              >
                {t("hang_up")}
              </button>
            </p>
          ))}
        </fieldset>
      )}
    </Dialog>
  );
}

function Recent({ open }: { open: (call: FinishedCall) => void }) {
  const polled = usePoll(() => ask<{ calls: FinishedCall[] }>("GET", "/history/calls?limit=50"), RECENT_MS);
  const calls = polled.value.value?.calls ?? [];
  return (
    <>
      <h2>{t("recent")}</h2>
      <FiguresAge polled={polled.value} />
      {calls.length === 0 ? (
        <p>{polled.value.at ? t("no_recent") : t("loading")}</p>
      ) : (
        <Scroll label={t("recent")}>
          <table class="recent">
            <thead>
              <tr>
                {(["caller", "direction", "dialled", "ended", "length", "outcome"] as const).map((word) => (
                  <th key={word} scope="col">
                    {t(word)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {calls.map((call) => (
                <tr key={`${call.pbx}/${call.linkedid}`}>
                  <th scope="row">
                    <button class="plain" onClick={() => open(call)}>
                      {caller(call.number, call.name)}
                    </button>
                  </th>
                  <td>{code("direction", call.direction)}</td>
                  <td>{call.dialled}</td>
                  <td>{timeIn(call.ended_at, zoneOf(call.pbx, call.visits.at(-1)?.queue))}</td>
                  <td>{duration(call.ended_at - call.started_at)}</td>
                  <td>{call.visits.map((visit) => `${visit.queue}: ${code("visit", visit.outcome)}`).join(", ")}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </>
  );
}

function Timeline({ call, close }: { call: FinishedCall; close: () => void }) {
  const path = `/calls/${encodeURIComponent(call.pbx)}/${encodeURIComponent(call.linkedid)}`;
  const polled = usePoll(() => ask<{ timeline: TimelineEntry[] }>("GET", path), 60_000, path);
  return (
    <Dialog title={t("timeline", { name: caller(call.number, call.name) })} close={close}>
      {() => (
        <>
          <ol class="timeline">
            {(polled.value.value?.timeline ?? []).map((entry, index) => (
              <li key={index}>
                <span class="time">{timeIn(entry.at, zoneOf(call.pbx, call.visits.at(-1)?.queue))}</span> {told(entry)}
              </li>
            ))}
          </ol>
          {may("play_recordings") && <OfCall call={call} />}
        </>
      )}
    </Dialog>
  );
}

function told(entry: TimelineEntry): string {
  return Object.entries(entry)
    .filter(([field, value]) => field !== "at" && value !== "" && value !== null)
    .map(([field, value]) => (field === "kind" || field === "what" ? code("timeline", String(value)) : String(value)))
    .join(" · ");
}
