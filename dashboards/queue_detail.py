"""For the supervisor of one queue: what its callers met."""

from __future__ import annotations

from dashboards.panels import PBX, QUEUE, Page, Panel, Query, Row, low_is_good, stat_panel

Q = '{pbx=~"$pbx", queue=~"$queue"}'


def _quantiles(metric: str, labels: str) -> tuple[Query, ...]:
    return tuple(
        Query(f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{labels}[15m])))", f"p{int(q * 100)}")
        for q in (0.5, 0.9, 0.99)
    )


def page() -> Page:
    """The page."""
    answered = '{pbx=~"$pbx", queue=~"$queue", answered="yes"}'
    unanswered = '{pbx=~"$pbx", queue=~"$queue", answered="no"}'
    return Page(
        uid="connector-queue",
        title="Queue detail",
        description="One queue, or a few: waits, conversations, exits, members.",
        variables=(PBX, QUEUE),
        rows=(
            Row(
                "Now",
                (
                    stat_panel(
                        "Waiting",
                        "Callers in the queue now.",
                        "short",
                        f"sum(connector_queue_callers_waiting{Q})",
                        thresholds=low_is_good(5, 15),
                        width=6,
                    ),
                    stat_panel(
                        "Longest wait",
                        "Of the caller at the front.",
                        "s",
                        f"max(connector_queue_longest_wait_seconds{Q})",
                        thresholds=low_is_good(60, 180),
                        width=6,
                    ),
                    stat_panel(
                        "Members",
                        "All memberships, whatever their state.",
                        "short",
                        f"sum(connector_queue_members{Q})",
                        width=6,
                    ),
                    stat_panel(
                        "Paused",
                        "Members whom the queue skips.",
                        "short",
                        f"sum(connector_queue_members_paused{Q})",
                        width=6,
                    ),
                ),
            ),
            Row(
                "Callers",
                (
                    Panel(
                        "Wait until answered",
                        "Half waited less than p50, nine of ten less than p90.",
                        "s",
                        _quantiles("connector_queue_wait_seconds", answered),
                        thresholds=low_is_good(20, 60),
                    ),
                    Panel(
                        "Wait until given up or sent away",
                        "How long those stayed who were not answered. Shorter than the announcements: they never heard them.",
                        "s",
                        _quantiles("connector_queue_wait_seconds", unanswered),
                    ),
                    Panel(
                        "Exits",
                        "How stays ended, callers in five minutes.",
                        "short",
                        (Query(f"sum by (outcome) (increase(connector_queue_calls_total{Q}[5m]))", "{{outcome}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Abandoned, share",
                        "Of all who came in half an hour.",
                        "percentunit",
                        (
                            Query(
                                'sum by (queue) (increase(connector_queue_calls_total{pbx=~"$pbx", queue=~"$queue",'
                                f' outcome="abandoned"}}[30m])) / sum by (queue) (increase(connector_queue_calls_total{Q}[30m]))',
                                "{{queue}}",
                                may_be_empty=True,
                            ),
                        ),
                        thresholds=low_is_good(0.05, 0.1),
                        maximum=1,
                    ),
                ),
            ),
            Row(
                "Agents",
                (
                    Panel(
                        "Conversations",
                        "How long callers and agents talked, until one of them hung up or passed the other on.",
                        "s",
                        _quantiles("connector_queue_talk_seconds", Q),
                    ),
                    Panel(
                        "Members by state",
                        "State of the devices of the queue's members.",
                        "short",
                        (Query(f"sum by (state) (connector_queue_members{Q})", "{{state}}"),),
                        stacked=True,
                    ),
                ),
            ),
        ),
    )
