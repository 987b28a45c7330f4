// Bot streams: where they go, how loud both sides are, how they sound, and what is wrong with them.

import { useEffect } from "preact/hooks";
import { caller, decimal, percent } from "../format";
import { pbxStale } from "../freshness";
import { code, t } from "../i18n";
import { tables, wantMeters } from "../live";
import { ofLoss, ofMos } from "../thresholds";
import type { StreamItem } from "../wire";
import { Meter } from "./meter";
import { pure, Scroll, Since, Value } from "./parts";

export function Streams() {
  useEffect(wantMeters, []);
  const streams = [...tables.value.stream.values()].sort((a, b) => a.started_at - b.started_at || (a.id < b.id ? -1 : 1));
  return (
    <>
      <h2>
        {t("streams")} <small>{streams.length || ""}</small>
      </h2>
      {streams.length === 0 ? (
        <p>{t("no_streams")}</p>
      ) : (
        <Scroll label={t("streams")}>
          <table class="streams">
            <thead>
              <tr>
                {(["caller", "profile", "state", "length", "level_caller", "level_bot", "mos", "loss_jitter"] as const).map((word) => (
                  <th key={word} scope="col">
                    {t(word)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {streams.map((stream) => (
                <Row key={stream.id} stream={stream} />
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </>
  );
}

const SIGNS = { connecting: "◌", live: "●", held: "‖" } as const;

const Row = pure(({ stream }: { stream: StreamItem }) => {
  const { meters } = stream;
  return (
    <tr class={pbxStale(stream.pbx) ? "old" : ""}>
      <th scope="row">
        {caller(stream.number, stream.name)}
        {stream.queues.length > 0 && <small>{stream.queues.join(", ")}</small>}
      </th>
      <td title={stream.peer}>
        {stream.profile}
        <small>
          {code("mode", stream.mode)} · {stream.dialect}
        </small>
      </td>
      <td>
        <span class={`state ${stream.state}`}>
          <span aria-hidden="true">{SIGNS[stream.state] ?? "?"}</span> {code("stream", stream.state)}
        </span>
        {stream.faults.map(({ fault, evidence, remedy }) => (
          <details key={fault} class="fault">
            <summary>
              <Value level="warn">{code("fault", fault)}</Value>
            </summary>
            {evidence}. {remedy}
          </details>
        ))}
      </td>
      <td>
        <Since at={stream.started_at} pbx={stream.pbx} />
      </td>
      <td>
        <Meter dbfs={meters?.caller_dbfs} label={t("level_caller")} />
      </td>
      <td>
        <Meter dbfs={meters?.bot_dbfs} label={t("level_bot")} />
      </td>
      <td>{meters?.mos ? <Value level={ofMos(meters.mos)}>{decimal(meters.mos)}</Value> : "–"}</td>
      <td>
        {meters ? (
          <>
            <Value level={ofLoss(meters.loss_percent)}>{percent(meters.loss_percent)}</Value> <small>{meters.jitter_ms.toFixed(0)} ms</small>
          </>
        ) : (
          "–"
        )}
      </td>
    </tr>
  );
});
