// One queue: its figures, who waits, and its agents.

import { useState } from "preact/hooks";
import { useQueueFigures, useTrends } from "../figures";
import { caller, seconds, share } from "../format";
import { nowOf, pbxStale } from "../freshness";
import { t } from "../i18n";
import { tables } from "../live";
import { link } from "../route";
import { may } from "../session";
import { ofAbandoned, ofServiceLevel, ofWait, ofWaiting } from "../thresholds";
import type { CallerItem } from "../wire";
import { timeIn } from "../zones";
import { AgentTable, agentsOf } from "./agents";
import { CallerDialog } from "./caller_dialog";
import { FiguresAge } from "./figures_age";
import { Scroll, Since, State, STATES, Value } from "./parts";
import { LongestWait, title } from "./queues";
import { Spark } from "./spark";

export function Queue({ pbx, name }: { pbx: string; name: string }) {
  const id = `${pbx}/${name}`;
  const polled = useQueueFigures();
  const trends = useTrends();
  const queue = tables.value.queue.get(id);
  const figures = polled.value.value?.get(id);
  if (queue === undefined) return <p>{t("no_queues")}</p>;
  const { now, today } = figures ?? {};
  return (
    <section class={pbxStale(pbx) || !queue.current ? "old" : ""}>
      <p>
        <a href={link("queues")}>← {t("all_queues")}</a>
      </p>
      <h2>
        {title(queue)} {now && !now.open && <small>{t("closed")}</small>}
      </h2>
      <dl class="figures">
        <Figure word="waiting">
          <Value level={ofWaiting(queue.waiting, queue.members_free)}>{queue.waiting}</Value>
        </Figure>
        <Figure word="longest_wait">
          <LongestWait queue={queue} figures={figures} />
        </Figure>
        <Figure word="estimated_wait">{seconds(now?.estimated_wait_s)}</Figure>
        <Figure word="offered">{today?.offered ?? "–"}</Figure>
        <Figure word="answered">{today?.answered ?? "–"}</Figure>
        <Figure word="service_level" note={now && t("service_level_target", target(now))}>
          <Value level={ofServiceLevel(today?.service_level, now?.target_share ?? 0)}>{share(today?.service_level)}</Value>
        </Figure>
        <Figure word="abandoned">{today?.abandoned ?? "–"}</Figure>
        <Figure word="abandon_rate">
          <Value level={ofAbandoned(today?.abandoned_share)}>{share(today?.abandoned_share)}</Value>
        </Figure>
        <Figure word="asa">{seconds(today?.answer_wait_mean_s)}</Figure>
        <Figure word="trend_head">
          <Spark trend={trends.value.value?.get(id)} />
        </Figure>
        {now && <Figure word="local_time"><span class="time">{timeIn(nowOf(pbx), now.time_zone)}</span></Figure>}
      </dl>
      <FiguresAge polled={polled.value} />
      {now && (
        <>
          <h3>{t("agents_by_state")}</h3>
          <ul class="states">
            {STATES.map((state) => (
              <li key={state}>
                <State state={state} /> <b>{now.agents[state] ?? 0}</b>
              </li>
            ))}
          </ul>
        </>
      )}
      <h3>{t("waiting")}</h3>
      <Waiting callers={callersOf(pbx, name)} target_s={now?.target_s ?? 20} />
      <h3>{t("agents")}</h3>
      <AgentTable agents={agentsOf((agent) => agent.pbx === pbx && agent.queues.includes(name))} />
    </section>
  );
}

function target(now: { target_s: number; target_share: number }) {
  return { share: share(now.target_share), seconds: now.target_s };
}

function Figure({ word, note, children }: { word: Parameters<typeof t>[0]; note?: string | undefined; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{t(word)}</dt>
      <dd>{children}</dd>
      {note && <dd class="note">{note}</dd>}
    </div>
  );
}

export function callersOf(pbx: string, queue: string): CallerItem[] {
  return [...tables.value.caller.values()]
    .filter((each) => each.pbx === pbx && each.queue === queue)
    .sort((a, b) => a.position - b.position);
}

function Waiting({ callers, target_s }: { callers: CallerItem[]; target_s: number }) {
  const [open, setOpen] = useState<CallerItem | null>(null);
  const acts = may("hang_up") || may("transfer") || may("withdraw");
  // The dialog stays when its caller is gone: it is then that it says what came of the act.
  return (
    <>
      {callers.length === 0 && <p>{t("nobody_waits")}</p>}
      {callers.length > 0 && (
      <Scroll label={t("waiting")}>
        <table class="waiting">
          <thead>
            <tr>
              <th scope="col">{t("position")}</th>
              <th scope="col">{t("caller")}</th>
              <th scope="col">{t("wait")}</th>
              <th scope="col">{t("priority")}</th>
              {acts && <th scope="col">{t("actions")}</th>}
            </tr>
          </thead>
          <tbody>
            {callers.map((each) => (
              <tr key={each.id}>
                <td>{each.position}</td>
                <th scope="row">{caller(each.number, each.name)}</th>
                <td>
                  <Value level={ofWait(nowOf(each.pbx) - each.joined_at, target_s)}>
                    <Since at={each.joined_at} pbx={each.pbx} />
                  </Value>
                </td>
                <td>{each.priority}</td>
                {acts && (
                  <td>
                    <button
                      aria-label={t("act_on", { name: caller(each.number, each.name) })}
                      onClick={() => setOpen(each)}
                    >
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
      {open && <CallerDialog caller={open} close={() => setOpen(null)} />}
    </>
  );
}
