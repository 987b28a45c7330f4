// Figures of queues and agents by id, asked for while a view shows them.

import { all } from "./api";
import { kept } from "./kept";
import { usePoll } from "./poll";
import type { AgentFigures, LiveCall, QueueFigures, Trend } from "./wire";
import { keepZones } from "./zones";

const QUEUES_MS = 5_000;
const AGENTS_MS = 20_000;
const CALLS_MS = 3_000;
const TRENDS_MS = 30_000;

/** Older than that, they are greyed. */
export const FIGURES_OLD_S = 20;

export function useQueueFigures() {
  return usePoll<Map<string, QueueFigures["figures"]>>(async (before) => {
    const rows = await all<QueueFigures>("/figures/queues", "queues");
    keepZones(rows);
    return kept(before, rows.map((row) => [`${row.pbx}/${row.queue}`, ofQueue(row)] as const));
  }, QUEUES_MS);
}

export function useTrends() {
  return usePoll<Map<string, Trend>>(async (before) => {
    const rows = await all<Trend>("/figures/trends", "queues");
    return kept(before, rows.map((row) => [`${row.pbx}/${row.queue}`, row] as const));
  }, TRENDS_MS);
}

export function useAgentFigures() {
  return usePoll<Map<string, AgentFigures["figures"]["today"]>>(async (before) => {
    const rows = await all<AgentFigures>("/figures/agents", "agents");
    return kept(before, rows.map((row) => [`${row.pbx}/${row.agent}`, ofAgent(row)] as const));
  }, AGENTS_MS);
}

export function useCalls() {
  return usePoll<Map<string, LiveCall>>(async (before) => {
    const rows = await all<LiveCall>("/calls", "calls");
    return kept(before, rows.map((row) => [`${row.pbx}/${row.linkedid}`, row] as const));
  }, CALLS_MS);
}

/** What the page shows of it: the rest changes with every second. */
function ofQueue({ figures: { now, today } }: QueueFigures): QueueFigures["figures"] {
  const { agents, open, estimated_wait_s, target_s, target_share, time_zone } = now;
  const { offered, answered, abandoned, abandoned_share, service_level, answer_wait_mean_s } = today;
  const whole = estimated_wait_s === null ? null : Math.round(estimated_wait_s);
  return {
    now: { agents, open, estimated_wait_s: whole, target_s, target_share, time_zone },
    today: { offered, answered, abandoned, abandoned_share, service_level, answer_wait_mean_s },
  };
}

function ofAgent({ figures: { today } }: AgentFigures): AgentFigures["figures"]["today"] {
  const { talks, rang_in_vain } = today;
  return { talks, rang_in_vain };
}
