"""Asterisk's clock is set in the middle of a shift: no count changes, and no time is negative."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from connector.acd.apply import apply
from connector.acd.model import PbxState
from connector.acd.plain import to_jsonable
from connector.asterisk.replay import events
from connector.asterisk.translate import Malformed
from connector.events import AnyEvent, Caller, CallerJoined, CallOutcome, Outcome, QueuesSnapshot

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ami"
RECORDINGS = ["22-shift", "16-shift", "22-exits", "16-exits"]


@cache
def recorded(name: str) -> tuple[AnyEvent, ...]:
    return tuple(e for e in events((FIXTURES / f"{name}.bin").read_bytes(), "main") if not isinstance(e, Malformed))


def moved(event: AnyEvent, by_s: float) -> AnyEvent:
    """The event as a clock that is ahead would date it."""
    later = msgspec.structs.replace(event, at=event.at + by_s)
    if isinstance(later, CallerJoined):
        return msgspec.structs.replace(later, caller=_joined(later.caller, by_s))
    if isinstance(later, QueuesSnapshot):  # Asterisk reckons by its clock how long each has waited
        queues = (
            msgspec.structs.replace(queue, callers=tuple(_joined(caller, by_s) for caller in queue.callers))
            for queue in later.queues
        )
        return msgspec.structs.replace(later, queues=tuple(queues))
    return later


def _joined(caller: Caller, by_s: float) -> Caller:
    return msgspec.structs.replace(caller, joined_at=caller.joined_at + by_s)


@given(data=st.data(), name=st.sampled_from(RECORDINGS), by_s=st.floats(-3000, 3000))
@settings(max_examples=40, deadline=None)
def test_a_clock_step_changes_no_count(data: st.DataObject, name: str, by_s: float) -> None:
    stream = recorded(name)
    at = data.draw(st.integers(0, len(stream)))
    state, plain = PbxState("main"), PbxState("main")
    for number, event in enumerate(stream):
        apply(plain, event)
        for change in apply(state, event if number < at else moved(event, by_s)):
            if isinstance(change, CallOutcome):
                assert change.wait_s >= 0
        shown = to_jsonable(state, event.at)
        assert all(queue["longest_wait_s"] >= 0 for queue in shown["queues"].values())
    assert state.outcomes == plain.outcomes
    assert {n: list(q.waiting) for n, q in state.queues.items()} == {
        n: list(q.waiting) for n, q in plain.queues.items()
    }
    assert state.calls.keys() == plain.calls.keys()
    assert state.drift == plain.drift == {}


@pytest.mark.parametrize("name", ["22-shift", "16-shift"])
@pytest.mark.parametrize("by_s", [-100.0, 100.0])
def test_a_clock_step_while_a_caller_waits_makes_no_second_stay(name: str, by_s: float) -> None:
    stream = recorded(name)
    lists = [n for n, e in enumerate(stream) if isinstance(e, QueuesSnapshot) and any(q.callers for q in e.queues)]
    state = PbxState("main")
    for number, event in enumerate(stream):
        for change in apply(state, event if number < lists[0] else moved(event, by_s)):
            assert not isinstance(change, CallOutcome) or change.outcome is not Outcome.UNKNOWN
