// Figures of queues and agents by id, asked for while a view shows them.

import { all } from "./api";
import { usePoll } from "./poll";
import type { AgentFigures, LiveCall, QueueFigures, Trend } from "./wire";
import { keepZones } from "./zones";

const QUEUES_MS = 5_000;
const AGENTS_MS = 20_000;
const CALLS_MS = 3_000;

/** Older than that, they are greyed. */
export const FIGURES_OLD_S = 20;

export function useQueueFigures() {
  return usePoll(async () => {
    const rows = await all<QueueFigures>("/figures/queues", "queues");
    keepZones(rows);
    return new Map(rows.map((row) => [`${row.pbx}/${row.queue}`, row.figures]));
  }, QUEUES_MS);
}

const TRENDS_MS = 30_000;

export function useTrends() {
  return usePoll(async () => {
    const rows = await all<Trend>("/figures/trends", "queues");
    return new Map(rows.map((row) => [`${row.pbx}/${row.queue}`, row]));
  }, TRENDS_MS);
}

export function useAgentFigures() {
  return usePoll(async () => {
    const rows = await all<AgentFigures>("/figures/agents", "agents");
    return new Map(rows.map((row) => [`${row.pbx}/${row.agent}`, row.figures.today]));
  }, AGENTS_MS);
}

export function useCalls() {
  return usePoll(async () => {
    const rows = await all<LiveCall>("/calls", "calls");
    return new Map(rows.map((row) => [`${row.pbx}/${row.linkedid}`, row]));
  }, CALLS_MS);
}
