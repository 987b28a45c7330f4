// What the connector sends: docs/push.md and docs/rest.md, as far as the page uses it. Times are seconds since the epoch.

export type AgentState = "available" | "ringing" | "on_call" | "on_hold" | "wrap_up" | "paused" | "unavailable";

export interface LinkItem {
  kind: "link";
  id: string;
  pbx: string;
  link: string;
  state: "up" | "down" | "refused";
  since: number;
  detail: string;
}

export interface QueueItem {
  kind: "queue";
  id: string;
  pbx: string;
  queue: string;
  waiting: number;
  waiting_since: number | null;
  members: number;
  members_free: number;
  members_paused: number;
  current: boolean;
}

export interface MemberItem {
  kind: "member";
  id: string;
  pbx: string;
  queue: string;
  interface: string;
  name: string;
  agent: string;
  penalty: number;
  calls_taken: number;
  device: string;
  paused: boolean;
  pause_reason: string;
}

export interface CallerItem {
  kind: "caller";
  id: string;
  pbx: string;
  queue: string;
  uniqueid: string;
  position: number;
  joined_at: number;
  number: string;
  name: string;
  priority: number;
}

export interface AgentItem {
  kind: "agent";
  id: string;
  pbx: string;
  agent: string;
  name: string;
  teams: string[];
  state: AgentState;
  reason: string;
  since: number;
  call: string;
  queues: string[];
}

export interface Meters {
  caller_dbfs: number;
  bot_dbfs: number;
  mos: number;
  loss_percent: number;
  jitter_ms: number;
}

export interface StreamItem {
  kind: "stream";
  id: string;
  pbx: string;
  stream: string;
  profile: string;
  dialect: string;
  mode: string;
  peer: string;
  state: "connecting" | "live" | "held";
  started_at: number;
  queues: string[];
  agent: string;
  number: string;
  name: string;
  faults: { fault: string; evidence: string; remedy: string }[];
  meters: Meters | null;
}

export interface Items {
  link: LinkItem;
  queue: QueueItem;
  member: MemberItem;
  caller: CallerItem;
  agent: AgentItem;
  stream: StreamItem;
}

export type Kind = keyof Items;
export type Item = Items[Kind];

interface Numbered {
  epoch: string;
  sequence: number;
  at: number;
}

export interface Snapshot extends Numbered {
  type: "snapshot";
  items: Item[];
}

export interface Delta extends Numbered {
  type: "delta";
  after: number;
  changed: Item[];
  removed: { kind: string; id: string }[];
}

export interface Heartbeat extends Numbered {
  type: "heartbeat";
}

export interface Fault {
  type: "fault";
  detail: string;
  remedy: string;
}

export type Message = Snapshot | Delta | Heartbeat | Fault;

export interface Session {
  name: string;
  role: "viewer" | "supervisor" | "admin" | null;
  rights: string[];
  phone: string;
  csrf: string;
  sso: string;
}

export interface QueueWindow {
  offered: number;
  answered: number;
  abandoned: number;
  abandoned_share: number | null;
  service_level: number | null;
  answer_wait_mean_s: number | null;
}

export interface QueueFigures {
  pbx: string;
  queue: string;
  figures: {
    now: {
      agents: Record<AgentState, number>;
      open: boolean;
      estimated_wait_s: number | null;
      target_s: number;
      target_share: number;
      time_zone: string;
    };
    today: QueueWindow;
  };
}

/** The last hour minute by minute, the oldest first. */
export interface Trend {
  pbx: string;
  queue: string;
  offered: number[];
  answered: number[];
  abandoned: number[];
}

export interface AgentFigures {
  pbx: string;
  agent: string;
  figures: { today: { talks: number; rang_in_vain: number } };
}

export interface Leg {
  uniqueid: string;
  channel: string;
  state: string;
  number: string;
  name: string;
  context: string;
  exten: string;
  started_at: number;
}

export interface LiveCall {
  pbx: string;
  linkedid: string;
  started_at: number;
  direction: string;
  number: string;
  name: string;
  dialled: string;
  answered_at: number | null;
  queue: string;
  legs: Leg[];
}

export interface FinishedCall {
  pbx: string;
  linkedid: string;
  started_at: number;
  ended_at: number;
  direction: string;
  number: string;
  name: string;
  dialled: string;
  visits: { queue: string; outcome: string; wait_s: number }[];
}

export interface TimelineEntry {
  at: number;
  [field: string]: unknown;
}

export interface ActResult {
  outcome: "done" | "sent" | "unknown";
  detail: string;
}
