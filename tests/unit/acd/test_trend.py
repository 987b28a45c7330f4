"""The last hour of a queue by the minute."""

from __future__ import annotations

from typing import Any

from connector.acd.figures import Figures
from connector.events import CallOutcome, Outcome

NOW = 1_800_000_030.0


def ended(minutes_ago: float, outcome: Outcome, wait_s: float = 20.0, **more: Any) -> CallOutcome:
    at = NOW - 60 * minutes_ago
    return CallOutcome(
        pbx="main", at=at, queue="support", uniqueid=f"{at}{outcome}", outcome=outcome, wait_s=wait_s, **more
    )


def test_each_minute_has_who_came_and_what_became_of_them() -> None:
    figures = Figures("main")
    for event in (
        ended(61, Outcome.ANSWERED),
        ended(59, Outcome.ANSWERED, agent="ann"),
        ended(2, Outcome.ABANDONED),
        ended(2, Outcome.ABANDONED, wait_s=1.0),
        ended(2, Outcome.TIMED_OUT),
        ended(0, Outcome.ANSWERED, agent="ann"),
    ):
        figures.take(event)
    trend = figures.trend("support", NOW)
    assert {name: len(values) for name, values in trend.items()} == {"offered": 60, "answered": 60, "abandoned": 60}
    assert (trend["offered"][0], trend["offered"][57], trend["offered"][59]) == (1, 3, 1)
    assert (trend["answered"][0], trend["answered"][59], sum(trend["answered"])) == (1, 1, 2)
    assert trend["abandoned"][57] == sum(trend["abandoned"]) == 1, "who gave up at once is not held against the queue"
    assert sum(figures.trend("support", NOW + 3600)["offered"]) == 0
    assert figures.trend("never heard of", NOW)["offered"] == [0] * 60
