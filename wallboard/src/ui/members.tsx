// An agent's places in queues: put into one, taken out of one, and the penalty in each.

import { useState } from "preact/hooks";
import { t } from "../i18n";
import { tables } from "../live";
import { may } from "../session";
import type { AgentItem, MemberItem } from "../wire";
import type { Deed } from "./dialog";

const PENALTY_MAX = 1000;

export function Places({ agent, run }: { agent: AgentItem; run: (deed: Deed) => void }) {
  const [queue, setQueue] = useState("");
  const [penalty, setPenalty] = useState("0");
  if (!may("members")) return null;
  const { pbx, name } = agent;
  const who = { pbx, agent: agent.agent };
  const mine = [...tables.value.member.values()].filter((each) => each.pbx === pbx && each.agent === agent.agent);
  const others = [...tables.value.queue.values()]
    .filter((each) => each.pbx === pbx && !agent.queues.includes(each.queue))
    .map((each) => each.queue)
    .sort();
  return (
    <div class="places">
      {mine.length > 0 && (
        <ul>
          {mine.map((member) => (
            <Place key={member.id} member={member} name={name} run={run} />
          ))}
        </ul>
      )}
      {others.length > 0 && (
        <p>
          <label>
            {t("add_to")}
            <select value={queue} onChange={(event) => setQueue(event.currentTarget.value)}>
              <option value="">…</option>
              {others.map((each) => (
                <option key={each}>{each}</option>
              ))}
            </select>
          </label>
          <Penalty value={penalty} change={setPenalty} />
          <button
            disabled={!queue}
            onClick={() => run({ name: "add-member", body: { ...who, queue, penalty: Number(penalty) } })}
          >
            {t("add")}
          </button>
        </p>
      )}
    </div>
  );
}

function Place({ member, name, run }: { member: MemberItem; name: string; run: (deed: Deed) => void }) {
  const [penalty, setPenalty] = useState(String(member.penalty));
  const { pbx, queue, agent } = member;
  return (
    <li>
      <b>{queue}</b>
      <Penalty value={penalty} change={setPenalty} of={queue} />
      <button
        disabled={Number(penalty) === member.penalty || penalty === ""}
        onClick={() => run({ name: "set-penalty", body: { pbx, agent, queue, penalty: Number(penalty) } })}
      >
        {t("set")} <span class="hidden">{queue}</span>
      </button>
      <button
        class="danger"
        onClick={() =>
          run({ name: "remove-member", body: { pbx, agent, queue }, confirm: t("confirm.remove-member", { name, queue }), flag: false })
        }
      >
        {t("remove_from")} <span class="hidden">{queue}</span>
      </button>
    </li>
  );
}

function Penalty({ value, change, of = "" }: { value: string; change: (value: string) => void; of?: string }) {
  return (
    <label>
      {t("penalty")} <span class="hidden">{of}</span>
      <input
        type="number"
        min={0}
        max={PENALTY_MAX}
        value={value}
        onInput={(event) => change(event.currentTarget.value)}
      />
    </label>
  );
}
