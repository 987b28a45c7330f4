"""For the team leader: who is there, who is paused, over the day."""

from __future__ import annotations

from dashboards.panels import PBX, QUEUE, Page, Panel, Query, Row, high_is_good, low_is_good, stat_panel

Q = '{pbx=~"$pbx", queue=~"$queue"}'


BUSY = "on_call|on_hold|wrap_up"
"""States of a person who works for a caller."""


def page() -> Page:
    """The page."""
    idle = '{pbx=~"$pbx", queue=~"$queue", state="not_in_use"}'
    busy = '{pbx=~"$pbx", queue=~"$queue", state=~"in_use|busy|ring_in_use|on_hold"}'
    gone = '{pbx=~"$pbx", queue=~"$queue", state=~"unavailable|invalid|unknown"}'
    return Page(
        uid="connector-agents",
        title="Agents",
        description="Members of the queues by state. Persons by name are on the wallboard, which has rights and masks.",
        variables=(PBX, QUEUE),
        rows=(
            Row(
                "Now",
                (
                    stat_panel(
                        "Members",
                        "Memberships of the chosen queues: a person in three queues counts in each.",
                        "short",
                        f"sum(connector_queue_members{Q})",
                        width=6,
                    ),
                    stat_panel(
                        "Idle",
                        "Their device is free. Paused ones are among them.",
                        "short",
                        f"sum(connector_queue_members{idle}) or vector(0)",
                        thresholds=high_is_good(1, 2),
                        width=6,
                    ),
                    stat_panel(
                        "On a call",
                        "Their device is in use, busy or on hold.",
                        "short",
                        f"sum(connector_queue_members{busy}) or vector(0)",
                        width=6,
                    ),
                    stat_panel(
                        "Paused",
                        "Members whom the queues skip.",
                        "short",
                        f"sum(connector_queue_members_paused{Q})",
                        width=6,
                    ),
                ),
            ),
            Row(
                "By name",
                (
                    Panel(
                        "Agents, last hour",
                        "Only where the settings have metrics.agents = true: names of people are then in Prometheus.",
                        "short",
                        (
                            Query(
                                'round(sum by (agent) (increase(connector_agent_answered_total{pbx=~"$pbx"}[1h])))',
                                "Answered",
                                may_be_empty=True,
                            ),
                            Query(
                                'round(sum by (agent) (increase(connector_agent_ring_no_answer_total{pbx=~"$pbx"}[1h])))',
                                "Rang in vain",
                                may_be_empty=True,
                            ),
                            Query(
                                'sum by (agent) (increase(connector_agent_talk_seconds_total{pbx=~"$pbx"}[1h]))',
                                "Talk (s)",
                                may_be_empty=True,
                            ),
                        ),
                        kind="table",
                        width=24,
                        decimals=0,
                    ),
                ),
            ),
            Row(
                "Over time",
                (
                    Panel(
                        "People by what they do",
                        "All people of the PBX, each once, however many queues they are in.",
                        "short",
                        (Query('sum by (state) (connector_agents{pbx=~"$pbx"})', "{{state}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Occupancy",
                        "Time on calls and in wrap-up, of the time in which people could have been: pauses left out. Above 85 % for hours wears people out.",
                        "percentunit",
                        (
                            Query(
                                f'sum(rate(connector_agents_state_seconds_total{{pbx=~"$pbx", state=~"{BUSY}"}}[15m]))'
                                f' / sum(rate(connector_agents_state_seconds_total{{pbx=~"$pbx", state=~"{BUSY}|available|ringing"}}[15m]))',
                                "occupancy",
                            ),
                        ),
                        thresholds=low_is_good(0.85, 0.95),
                        maximum=1,
                    ),
                    Panel(
                        "Rang and not answered",
                        "Phones that rang in vain, in a quarter of an hour. One agent or one phone may be behind all of them.",
                        "short",
                        (
                            Query(
                                f"sum by (queue) (increase(connector_queue_ring_no_answer_total{Q}[15m]))", "{{queue}}"
                            ),
                        ),
                        stacked=True,
                    ),
                    Panel(
                        "Transfers",
                        "Conversations that ended because the agent passed the caller on, in a quarter of an hour.",
                        "short",
                        (Query(f"sum by (queue) (increase(connector_queue_transfers_total{Q}[15m]))", "{{queue}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Paused by queue",
                        "Members whom the queue skips.",
                        "short",
                        (Query(f"sum by (queue) (connector_queue_members_paused{Q})", "{{queue}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Members by state",
                        "State of the devices of all members.",
                        "short",
                        (Query(f"sum by (state) (connector_queue_members{Q})", "{{state}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Not reachable by queue",
                        "Members whose device is unavailable, invalid or unknown: not registered, or misspelt.",
                        "short",
                        (Query(f"sum by (queue) (connector_queue_members{gone})", "{{queue}}", may_be_empty=True),),
                    ),
                ),
            ),
        ),
    )
