// The grid of agents: filter, sort, search; made for 200 people who change 20 times a second.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { useAgentFigures, useCalls } from "../figures";
import { caller } from "../format";
import { nowOf, pbxStale } from "../freshness";
import { t, type Word } from "../i18n";
import { tables } from "../live";
import { refine, route } from "../route";
import { may } from "../session";
import { LONG_CALL_S, LONG_PAUSE_S } from "../thresholds";
import type { AgentFigures, AgentItem, LiveCall } from "../wire";
import { AgentDialog } from "./agent_dialog";
import { Choice } from "./choice";
import { FiguresAge } from "./figures_age";
import { useGrowing } from "./growing";
import { pure, Scroll, Since, State, STATES, Value } from "./parts";

type Today = AgentFigures["figures"]["today"];
type Key = "name" | "state" | "since" | "handled_today" | "rna";

export function agentsOf(fits: (agent: AgentItem) => boolean): AgentItem[] {
  return [...tables.value.agent.values()].filter(fits);
}

export function Agents() {
  const { query } = route.value;
  const [queue, team, state, text] = ["queue", "team", "state", "q"].map((name) => query.get(name) ?? "");
  const search = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    const key = (event: KeyboardEvent): void => {
      const typing = event.target instanceof Element && event.target.matches("input, select, textarea");
      if (event.key !== "/" || typing || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      search.current?.focus();
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
  const everybody = agentsOf(() => true);
  const sought = (text ?? "").toLocaleLowerCase();
  const agents = everybody.filter(
    (agent) =>
      (!queue || agent.queues.includes(queue)) &&
      (!team || agent.teams.includes(team)) &&
      (!state || agent.state === state) &&
      (!sought || `${agent.name} ${agent.agent}`.toLocaleLowerCase().includes(sought)),
  );
  return (
    <>
      <h2 class="hidden">{t("agents")}</h2>
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label>
          {t("search")} <kbd>/</kbd>
          <input ref={search} type="search" value={text} onInput={(event) => refine("q", event.currentTarget.value)} />
        </label>
        <Choice word="queue" name="queue" value={queue ?? ""} options={distinct(everybody.flatMap((each) => each.queues))} />
        <Choice word="team" name="team" value={team ?? ""} options={distinct(everybody.flatMap((each) => each.teams))} />
        <Choice word="state" name="state" value={state ?? ""} options={STATES} prefix="state" />
        <output>{t("count_agents", { count: agents.length })}</output>
      </form>
      {agents.length ? <AgentTable agents={agents} /> : <p>{t("no_agents")}</p>}
    </>
  );
}

function distinct(values: string[]): string[] {
  return [...new Set(values)].sort();
}

/** The grid of some agents. */
export function AgentTable({ agents }: { agents: AgentItem[] }) {
  const figures = useAgentFigures();
  const calls = useCalls();
  const [open, setOpen] = useState<string | null>(null);
  const { query } = route.value;
  const sort = (query.get("sort") ?? "state") as Key;
  const down = query.get("down") === "1";
  const today = (agent: AgentItem): Today | undefined => figures.value.value?.get(agent.id);
  const rows = sorted(agents, sort, down, today).slice(0, useGrowing(agents.length));
  const order = (key: Key): void => {
    refine("down", sort === key && !down ? "1" : "");
    refine("sort", key);
  };
  const head = (key: Key, word: Word) => (
    <th scope="col" aria-sort={sort === key ? (down ? "descending" : "ascending") : undefined}>
      <button class="plain" title={t("sort", { column: t(word) })} onClick={() => order(key)}>
        {t(word)} <span aria-hidden="true">{sort === key ? (down ? "▾" : "▴") : ""}</span>
      </button>
    </th>
  );
  return (
    <>
      <Scroll label={t("agents")}>
        <table class="agents">
          <thead>
            <tr>
              {head("name", "agent")}
              {head("state", "state")}
              {head("since", "since")}
              <th scope="col">{t("call")}</th>
              <th scope="col">{t("queues")}</th>
              {head("handled_today", "handled_today")}
              {head("rna", "rna")}
            </tr>
          </thead>
          <tbody>
            {rows.map((agent) => (
              <Row
                key={agent.id}
                agent={agent}
                call={agent.call ? calls.value.value?.get(`${agent.pbx}/${agent.call}`) : undefined}
                handled={today(agent)?.talks}
                missed={today(agent)?.rang_in_vain}
                open={setOpen}
                old={pbxStale(agent.pbx)}
              />
            ))}
          </tbody>
        </table>
      </Scroll>
      <FiguresAge polled={figures.value} />
      {open && <AgentDialog id={open} close={() => setOpen(null)} />}
    </>
  );
}

function sorted(agents: AgentItem[], key: Key, down: boolean, today: (agent: AgentItem) => Today | undefined): AgentItem[] {
  const rank = (agent: AgentItem): number => {
    switch (key) {
      case "state":
        return STATES.indexOf(agent.state);
      case "since":
        return agent.since;
      case "handled_today":
        return today(agent)?.talks ?? -1;
      case "rna":
        return today(agent)?.rang_in_vain ?? -1;
      default:
        return 0;
    }
  };
  const sign = down ? -1 : 1;
  return agents
    .map((agent) => ({ agent, rank: rank(agent) }))
    .sort((a, b) => sign * (a.rank - b.rank || compare(a.agent.name, b.agent.name) || compare(a.agent.id, b.agent.id)))
    .map(({ agent }) => agent);
}

const { compare } = new Intl.Collator();

interface RowProps {
  agent: AgentItem;
  call: LiveCall | undefined;
  handled: number | undefined;
  missed: number | undefined;
  open: (id: string) => void;
  old: boolean;
}

const Row = pure(({ agent, call, handled, missed, open, old }: RowProps) => (
  <tr class={old ? "old" : ""}>
    <th scope="row">
      {may("pause") ? (
        <button class="plain" aria-label={t("act_on", { name: agent.name })} onClick={() => open(agent.id)}>
          {agent.name}
        </button>
      ) : (
        agent.name
      )}
      {agent.teams.length > 0 && <small> {agent.teams.join(", ")}</small>}
    </th>
    <td>
      <State state={agent.state} /> {agent.reason && <q>{agent.reason}</q>}
    </td>
    <td>
      <Timer agent={agent} />
    </td>
    <td>{call && caller(call.number, call.name)}</td>
    <td>{agent.queues.join(", ")}</td>
    <td>{handled ?? "–"}</td>
    <td>
      <Value level={(missed ?? 0) > 0 ? "warn" : ""}>{missed ?? "–"}</Value>
    </td>
  </tr>
));

/** How long the state lasts, marked where a call or a pause is long. */
function Timer({ agent }: { agent: AgentItem }) {
  const { since, pbx, state } = agent;
  if (!since) return <span class="time">–</span>;
  const lasts = nowOf(pbx) - since;
  const long =
    state === "on_call" && lasts > LONG_CALL_S ? "long_call" : state === "paused" && lasts > LONG_PAUSE_S ? "long_pause" : null;
  return (
    <Value level={long ? "warn" : ""}>
      <Since at={since} pbx={pbx} /> {long && <small>{t(long)}</small>}
    </Value>
  );
}
