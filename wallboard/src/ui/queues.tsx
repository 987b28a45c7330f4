// All queues: a tile for each, and a table for comparing.

import { useQueueFigures, useTrends } from "../figures";
import { share, seconds } from "../format";
import { nowOf, pbxStale } from "../freshness";
import { t } from "../i18n";
import { tables } from "../live";
import { link, refine, route } from "../route";
import { type Level, ofAbandoned, ofServiceLevel, ofWait, ofWaiting } from "../thresholds";
import type { QueueFigures, QueueItem, Trend } from "../wire";
import { Choice } from "./choice";
import { FiguresAge } from "./figures_age";
import { useGrowing } from "./growing";
import { pure, Scroll, Since, Value } from "./parts";
import { Spark } from "./spark";

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

/** Those that the address asks for, in its order: `q` is part of the name. */
export function chosenQueues(figures: Map<string, QueueFigures["figures"]> | null): QueueItem[] {
  const { query } = route.value;
  const sought = (query.get("q") ?? "").toLocaleLowerCase();
  const show = query.get("show") ?? "";
  const found = sortedQueues().filter(
    (queue) =>
      title(queue).toLocaleLowerCase().includes(sought) &&
      (show !== "waiting" || queue.waiting > 0) &&
      (show !== "marked" || isMarked(queue, figures?.get(queue.id))),
  );
  const rank: Record<string, (queue: QueueItem) => number> = {
    waiting: (queue) => -queue.waiting,
    longest: (queue) => queue.waiting_since ?? Number.POSITIVE_INFINITY,
    level: (queue) => figures?.get(queue.id)?.today.service_level ?? 2,
  };
  const by = rank[query.get("order") ?? ""];
  return by ? found.sort((a, b) => by(a) - by(b)) : found; // a stable sort: equal ones stay by name
}

/** Something of it has a sign. */
function isMarked(queue: QueueItem, figures: Figures): boolean {
  const { now, today } = figures ?? {};
  const waits = queue.waiting_since === null ? 0 : nowOf(queue.pbx) - queue.waiting_since;
  const levels: Level[] = [
    ofWaiting(queue.waiting, queue.members_free),
    ofWait(waits, now?.target_s ?? DEFAULT_TARGET_S),
    ofServiceLevel(today?.service_level, now?.target_share ?? 0),
    ofAbandoned(today?.abandoned_share),
  ];
  return levels.some(Boolean);
}

export function Queues() {
  const polled = useQueueFigures();
  const trends = useTrends();
  const { query } = route.value;
  const figures = polled.value.value;
  const chosen = chosenQueues(figures);
  const queues = chosen.slice(0, useGrowing(chosen.length));
  if (tables.value.queue.size === 0) return <p>{t("no_queues")}</p>;
  return (
    <>
      <h2 class="hidden">{t("queues")}</h2>
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label>
          {t("search")}
          <input type="search" value={query.get("q") ?? ""} onInput={(event) => refine("q", event.currentTarget.value)} />
        </label>
        <Choice word="show" name="show" value={query.get("show") ?? ""} options={["waiting", "marked"]} prefix="show" any="show.all" />
        <Choice
          word="sort_by"
          name="order"
          value={query.get("order") ?? ""}
          options={["waiting", "longest", "level"]}
          prefix="order"
          any="order.name"
        />
      </form>
      {queues.length === 0 && <p>{t("no_queue_fits")}</p>}
      <div class="tiles">
        {queues.map((queue) => (
          <Tile key={queue.id} queue={queue} figures={figures?.get(queue.id)} trend={trends.value.value?.get(queue.id)} />
        ))}
      </div>
      <FiguresAge polled={polled.value} />
      {queues.length > 0 && (
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
                <th scope="col">{t("trend_head")}</th>
              </tr>
            </thead>
            <tbody>
              {queues.map((queue) => (
                <Row key={queue.id} queue={queue} figures={figures?.get(queue.id)} trend={trends.value.value?.get(queue.id)} />
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
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

interface OfQueue {
  queue: QueueItem;
  figures: Figures;
  trend?: Trend | undefined;
}

export const Tile = pure(({ queue, figures, trend }: OfQueue) => {
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
        {trend && (
          <div class="wide">
            <dt>{t("trend_head")}</dt>
            <dd>
              <Spark trend={trend} />
            </dd>
          </div>
        )}
      </dl>
    </a>
  );
});

const Row = pure(({ queue, figures, trend }: OfQueue) => {
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
      <td>
        <Spark trend={trend} />
      </td>
    </tr>
  );
});
