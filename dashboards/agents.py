"""For the team leader: who is there, who is paused, over the day."""

from __future__ import annotations

from dashboards.panels import PBX, QUEUE, Page, Panel, Query, Row, high_is_good, stat_panel

Q = '{pbx=~"$pbx", queue=~"$queue"}'


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
                "Over time",
                (
                    Panel(
                        "Occupied share",
                        "Members on a call, of those who are reachable and not paused.",
                        "percentunit",
                        (
                            Query(
                                f"sum by (queue) (connector_queue_members{busy}) / (sum by (queue) (connector_queue_members{Q})"
                                f" - sum by (queue) (connector_queue_members{gone} or connector_queue_members{Q} * 0)"
                                f" - sum by (queue) (connector_queue_members_paused{Q}) > 0)",
                                "{{queue}}",
                                may_be_empty=True,
                            ),
                        ),
                        maximum=1,
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
