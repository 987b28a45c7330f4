// All queues: a tile for each, and a table for comparing.

import { useQueueFigures } from "../figures";
import { share, seconds } from "../format";
import { pbxStale } from "../freshness";
import { t } from "../i18n";
import { tables } from "../live";
import { link } from "../route";
import { ofAbandoned, ofServiceLevel, ofWait, ofWaiting } from "../thresholds";
import type { QueueFigures, QueueItem } from "../wire";
import { nowOf } from "../freshness";
import { pure, Scroll, Since, Value } from "./parts";
import { FiguresAge } from "./figures_age";

export type Figures = QueueFigures["figures"] | undefined;

const DEFAULT_TARGET_S = 20;

export function sortedQueues(): QueueItem[] {
  return [...tables.value.queue.values()].sort((a, b) => a.pbx.localeCompare(b.pbx) || a.queue.localeCompare(b.queue));
}

/** A queue's name, with its PBX where there are several. */
export function title(queue: { pbx: string; queue: string }): string {
  const several = new Set([...tables.value.queue.values()].map((each) => each.pbx)).size > 1;
  return several ? `${queue.pbx} / ${queue.queue}` : queue.queue;
}

export function Queues() {
  const figures = useQueueFigures();
  const queues = sortedQueues();
  if (queues.length === 0) return <p>{t("no_queues")}</p>;
  return (
    <>
      <h2 class="hidden">{t("queues")}</h2>
      <div class="tiles">
        {queues.map((queue) => (
          <Tile key={queue.id} queue={queue} figures={figures.value.value?.get(queue.id)} />
        ))}
      </div>
      <FiguresAge polled={figures.value} />
      <Scroll label={t("queues")}>
        <table>
          <thead>
            <tr>
              {(["queue", "waiting", "longest_wait", "estimated_wait", "free", "agents"] as const).map((word) => (
                <th key={word} scope="col">
                  {t(word)}
                </th>
              ))}
              {(["offered", "answered", "service_level", "abandon_rate", "asa"] as const).map((word) => (
                <th key={word} scope="col">
                  {t(word)} <small>{t("today")}</small>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {queues.map((queue) => (
              <Row key={queue.id} queue={queue} figures={figures.value.value?.get(queue.id)} />
            ))}
          </tbody>
        </table>
      </Scroll>
    </>
  );
}

/** The longest wait, against the target of the queue. */
export function LongestWait({ queue, figures }: { queue: QueueItem; figures: Figures }) {
  const { waiting_since, pbx } = queue;
  if (waiting_since === null) return <Value level="">–</Value>;
  const level = ofWait(nowOf(pbx) - waiting_since, figures?.now.target_s ?? DEFAULT_TARGET_S);
  return (
    <Value level={level}>
      <Since at={waiting_since} pbx={pbx} />
    </Value>
  );
}

export const Tile = pure(({ queue, figures }: { queue: QueueItem; figures: Figures }) => {
  const today = figures?.today;
  return (
    <a class={`tile ${pbxStale(queue.pbx) || !queue.current ? "old" : ""}`} href={link("queues", queue.pbx, queue.queue)}>
      <h3>
        {title(queue)} {figures && !figures.now.open && <small>{t("closed")}</small>}
      </h3>
      <dl>
        <div class="large">
          <dt>{t("waiting")}</dt>
          <dd>
            <Value level={ofWaiting(queue.waiting, queue.members_free)}>{queue.waiting}</Value>
          </dd>
        </div>
        <div class="large">
          <dt>{t("longest_wait")}</dt>
          <dd>
            <LongestWait queue={queue} figures={figures} />
          </dd>
        </div>
        <div>
          <dt>{t("free")}</dt>
          <dd>
            {queue.members_free} / {queue.members}
          </dd>
        </div>
        <div>
          <dt>{t("service_level")}</dt>
          <dd>
            <Value level={ofServiceLevel(today?.service_level, figures?.now.target_share ?? 0)}>
              {share(today?.service_level)}
            </Value>
          </dd>
        </div>
        <div>
          <dt>{t("abandon_rate")}</dt>
          <dd>
            <Value level={ofAbandoned(today?.abandoned_share)}>{share(today?.abandoned_share)}</Value>
          </dd>
        </div>
      </dl>
    </a>
  );
});

const Row = pure(({ queue, figures }: { queue: QueueItem; figures: Figures }) => {
  const today = figures?.today;
  return (
    <tr class={pbxStale(queue.pbx) || !queue.current ? "old" : ""}>
      <th scope="row">
        <a href={link("queues", queue.pbx, queue.queue)}>{title(queue)}</a>
      </th>
      <td>
        <Value level={ofWaiting(queue.waiting, queue.members_free)}>{queue.waiting}</Value>
      </td>
      <td>
        <LongestWait queue={queue} figures={figures} />
      </td>
      <td>{seconds(figures?.now.estimated_wait_s)}</td>
      <td>{queue.members_free}</td>
      <td>{queue.members}</td>
      <td>{today?.offered ?? "–"}</td>
      <td>{today?.answered ?? "–"}</td>
      <td>
        <Value level={ofServiceLevel(today?.service_level, figures?.now.target_share ?? 0)}>
          {share(today?.service_level)}
        </Value>
      </td>
      <td>
        <Value level={ofAbandoned(today?.abandoned_share)}>{share(today?.abandoned_share)}</Value>
      </td>
      <td>{seconds(today?.answer_wait_mean_s)}</td>
    </tr>
  );
});
