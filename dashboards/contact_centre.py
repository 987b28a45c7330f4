"""For the manager of a contact centre: how the queues do, over the day."""

from __future__ import annotations

from dashboards.panels import PBX, QUEUE, Page, Panel, Query, Row, high_is_good, low_is_good, stat_panel

Q = '{pbx=~"$pbx", queue=~"$queue"}'
"""The chosen queues."""
CALLS = "connector_queue_calls_total"


def _by_outcome(*outcomes: str) -> str:
    return f'{CALLS}{{pbx=~"$pbx", queue=~"$queue", outcome=~"{"|".join(outcomes)}"}}'


def page() -> Page:
    """The page."""
    return Page(
        uid="connector-contact-centre",
        title="Contact centre",
        description="All queues: who waits, how fast callers are answered, how many give up, who is there to answer.",
        variables=(PBX, QUEUE),
        rows=(
            Row(
                "Now",
                (
                    stat_panel(
                        "Callers waiting",
                        "Callers in the chosen queues at this moment. Many and no free agent: call people to the phones.",
                        "short",
                        f"sum(connector_queue_callers_waiting{Q})",
                        thresholds=low_is_good(5, 15),
                    ),
                    stat_panel(
                        "Longest wait",
                        "How long the caller at the front has waited.",
                        "s",
                        f"max(connector_queue_longest_wait_seconds{Q})",
                        thresholds=low_is_good(60, 180),
                    ),
                    stat_panel(
                        "Service level, last hour",
                        "Of the callers who count, the share answered within their queue's target. Formula: the page of figures.",
                        "percentunit",
                        f"sum(increase(connector_queue_service_level_met_total{Q}[1h]))"
                        f" / sum(increase(connector_queue_service_level_calls_total{Q}[1h]))",
                        thresholds=high_is_good(0.7, 0.8),
                    ),
                    stat_panel(
                        "Answered, last hour",
                        "Callers answered by an agent in the last hour.",
                        "short",
                        f"sum(increase({_by_outcome('answered')}[1h]))",
                        decimals=0,
                    ),
                    stat_panel(
                        "Abandoned, last hour",
                        "Share of callers who hung up while they waited, in the last hour.",
                        "percentunit",
                        f"sum(increase({_by_outcome('abandoned')}[1h])) / sum(increase({CALLS}{Q}[1h]))",
                        thresholds=low_is_good(0.05, 0.1),
                    ),
                    stat_panel(
                        "Average speed of answer, last hour",
                        "Mean wait of those who were answered in the last hour.",
                        "s",
                        'sum(increase(connector_queue_wait_seconds_sum{pbx=~"$pbx", queue=~"$queue", answered="yes"}[1h]))'
                        ' / sum(increase(connector_queue_wait_seconds_count{pbx=~"$pbx", queue=~"$queue", answered="yes"}[1h]))',
                        thresholds=low_is_good(20, 60),
                        decimals=1,
                    ),
                ),
            ),
            Row(
                "Over time",
                (
                    Panel(
                        "Callers waiting by queue",
                        "Each line is a queue. A line that only rises has nobody who answers.",
                        "short",
                        (Query(f"sum by (queue) (connector_queue_callers_waiting{Q})", "{{queue}}"),),
                    ),
                    Panel(
                        "Longest wait by queue",
                        "Of those who wait at that moment.",
                        "s",
                        (Query(f"max by (queue) (connector_queue_longest_wait_seconds{Q})", "{{queue}}"),),
                        thresholds=low_is_good(60, 180),
                    ),
                    Panel(
                        "Outcomes",
                        "How stays in queues ended, callers in five minutes. Every exit has its own name: see the page of figures.",
                        "short",
                        (Query(f"sum by (outcome) (increase({CALLS}{Q}[5m]))", "{{outcome}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Wait of those answered",
                        "Half waited less than p50, nineteen of twenty less than p95. From a histogram: exact only at its steps.",
                        "s",
                        tuple(
                            Query(
                                f"histogram_quantile({quantile}, sum by (le) (rate("
                                'connector_queue_wait_seconds_bucket{pbx=~"$pbx", queue=~"$queue", answered="yes"}[15m])))',
                                f"p{int(quantile * 100)}",
                            )
                            for quantile in (0.5, 0.95)
                        ),
                        thresholds=low_is_good(20, 60),
                    ),
                    Panel(
                        "Service level by queue",
                        "Of half an hour, the share answered within the target; below the queue's own aim an alert comes.",
                        "percentunit",
                        (
                            Query(
                                f"sum by (queue) (increase(connector_queue_service_level_met_total{Q}[30m]))"
                                f" / sum by (queue) (increase(connector_queue_service_level_calls_total{Q}[30m]))",
                                "{{queue}}",
                                may_be_empty=True,
                            ),
                        ),
                        thresholds=high_is_good(0.7, 0.8),
                        maximum=1,
                    ),
                    Panel(
                        "Estimated wait",
                        "For a caller who joins now: the method is on the page of figures.",
                        "s",
                        (
                            Query(
                                f"max by (queue) (connector_queue_estimated_wait_seconds{Q})",
                                "{{queue}}",
                                may_be_empty=True,
                            ),
                        ),
                        thresholds=low_is_good(60, 180),
                    ),
                    Panel(
                        "People by what they do",
                        "Members of the chosen queues, a person once in each queue.",
                        "short",
                        (Query(f"sum by (state) (connector_queue_agents{Q})", "{{state}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Paused members by queue",
                        "Members whom the queue skips because they are paused.",
                        "short",
                        (Query(f"sum by (queue) (connector_queue_members_paused{Q})", "{{queue}}"),),
                    ),
                ),
            ),
            Row(
                "By queue",
                (
                    Panel(
                        "Queues, last hour",
                        "One row for each queue; sort by a column with a click.",
                        "short",
                        (
                            Query(f"sum by (queue) (connector_queue_callers_waiting{Q})", "Waiting"),
                            Query(f"max by (queue) (connector_queue_longest_wait_seconds{Q})", "Longest wait (s)"),
                            Query(
                                f"max by (queue) (connector_queue_service_level_ratio{Q}) * 100",
                                "Service level today (%)",
                                may_be_empty=True,
                            ),
                            Query(
                                f"max by (queue) (connector_queue_answer_wait_mean_seconds{Q})",
                                "ASA today (s)",
                                may_be_empty=True,
                            ),
                            Query(f"round(sum by (queue) (increase({_by_outcome('answered')}[1h])))", "Answered"),
                            Query(
                                f"round(sum by (queue) (increase({_by_outcome('abandoned')}[1h])))",
                                "Abandoned",
                                may_be_empty=True,
                            ),
                        ),
                        kind="table",
                        width=24,
                        height=10,
                        decimals=0,
                    ),
                ),
            ),
        ),
    )
