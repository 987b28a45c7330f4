// Small parts that all views use.

import type { ComponentChildren } from "preact";
import { Component, type FunctionComponent, type VNode } from "preact";
import { duration } from "../format";
import { nowOf } from "../freshness";
import { code, t } from "../i18n";
import type { Level } from "../thresholds";
import type { AgentState } from "../wire";

/** A time that runs, in the clock of the PBX it is of; nothing around it is drawn again. */
export function Since({ at, pbx }: { at: number | null; pbx: string }) {
  return <span class="time">{at ? duration(nowOf(pbx) - at) : "–"}</span>;
}

/** A value with its level: a colour, a sign, and a word for those who see neither. */
export function Value({ level, children }: { level: Level; children: ComponentChildren }) {
  if (!level) return <span class="value">{children}</span>;
  return (
    <span class={`value ${level}`}>
      <span class="sign" role="img" aria-label={t(`level.${level}`)}>
        {level === "bad" ? "▲" : "◆"}
      </span>
      {children}
    </span>
  );
}

const SIGNS: Record<AgentState, string> = {
  available: "●",
  ringing: "◐",
  on_call: "☎",
  on_hold: "‖",
  wrap_up: "✎",
  paused: "■",
  unavailable: "○",
};

export function State({ state }: { state: AgentState }) {
  return (
    <span class={`state ${state}`}>
      <span aria-hidden="true">{SIGNS[state] ?? "?"}</span> {code("state", state)}
    </span>
  );
}

export const STATES = Object.keys(SIGNS) as AgentState[];

/** Draws again only when one of its properties, or a signal it reads, is another: what did not change costs nothing. */
export function pure<P extends object>(Inner: (props: P) => VNode | null): FunctionComponent<P> {
  class Pure extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const [mine, its] = [this.props as Record<string, unknown>, next as Record<string, unknown>];
      return Object.keys(its).some((name) => mine[name] !== its[name]);
    }
    render(props: P) {
      return <Inner {...props} />; // a component of its own, which signals reach past the check above
    }
  }
  return Pure as unknown as FunctionComponent<P>;
}

/** A table that scrolls by itself where the page is narrow. */
export function Scroll({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      {children}
    </div>
  );
}
