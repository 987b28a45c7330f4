import pytest
from hypothesis import given, strategies as st

from connector.media.pacing import PacingClock


def test_a_step_is_due_each_period_and_not_before() -> None:
    clock = PacingClock(100.0)
    assert clock.due(100.010) is None
    assert clock.due(100.0195) == (0, 0.0)
    assert clock.due(100.030) is None
    assert clock.due(100.0401) is not None


def test_whole_steps_are_skipped_after_a_stall() -> None:
    clock = PacingClock(0.0)
    due = clock.due(0.107)
    assert due is not None
    assert due[0] == 4
    assert due[1] == pytest.approx(0.087)
    assert clock.deadline_s == pytest.approx(0.120)


@given(st.lists(st.floats(0.0001, 0.2), min_size=1, max_size=200))
def test_no_drift_whatever_the_lateness(waits: list[float]) -> None:
    clock, now, steps = PacingClock(0.0), 0.0, 0
    for wait in waits:
        now += wait
        if (due := clock.due(now)) is not None:
            steps += 1 + due[0]
    assert abs(steps * 0.020 - now) < 0.0211
