"""A recorded shift, replayed: the state is what Asterisk said at the same moment, however the stream was disturbed."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from connector.acd.apply import apply, tick
from connector.acd.figures import Figures
from connector.acd.model import PbxState
from connector.acd.plain import encode
from connector.asterisk.replay import events
from connector.asterisk.translate import Malformed
from connector.events import (
    AgentChanged,
    AnyEvent,
    CallStarted,
    EventsMissed,
    LegsSnapshot,
    Outcome,
    QueueSnapshot,
    QueuesSnapshot,
    TalkEnded,
)
from connector.records import AgentInterval, AgentState, CallRecord, Derived

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ami"
RECORDINGS = ["22-shift", "16-shift", "22-exits", "16-exits", "22-people", "16-people"]


@cache
def recorded(name: str) -> tuple[AnyEvent, ...]:
    found = []
    for event in events((FIXTURES / f"{name}.bin").read_bytes(), "main"):
        assert not isinstance(event, Malformed)
        found.append(event)
    return tuple(found)


def fold(stream: tuple[AnyEvent, ...] | list[AnyEvent]) -> PbxState:
    state = PbxState("main")
    for event in stream:
        apply(state, event)
        check(state)
    return state


def check(state: PbxState) -> None:
    """What holds after every event."""
    waiting = {uniqueid: name for name, queue in state.queues.items() for uniqueid in queue.waiting}
    assert waiting == state.where
    assert sum(len(queue.waiting) for queue in state.queues.values()) == len(waiting)
    # Both at once only where a snapshot was ahead: the exit from the one queue is still to be told.
    assert all(waiting[uniqueid] != state.leaving[uniqueid].queue for uniqueid in waiting.keys() & state.leaving.keys())
    assert all(n >= 0 for counts in state.outcomes.values() for n in counts.values())
    for queue in state.queues.values():
        assert [c.position for c in queue.callers()] == list(range(1, len(queue.waiting) + 1))
    assert {u for call in state.calls.values() for u in call.legs} == state.legs.keys()
    assert all(call.legs for call in state.calls.values())
    assert all(state.legs[u].leg.linkedid == call.linkedid for call in state.calls.values() for u in call.legs)
    check_people(state)


def check_people(state: PbxState) -> None:
    """Each member, channel and conversation has one person, and both sides know it."""
    members = [(name, interface) for name, queue in state.queues.items() for interface in queue.members]
    assert sorted(key for agent in state.agents.values() for key in agent.members) == sorted(members)
    legs = {u: agent.id for agent in state.agents.values() for u in agent.legs}
    assert legs == {u: track.agent for u, track in state.legs.items() if track.agent}
    talks = {u: visit for agent in state.agents.values() for u, visit in agent.talks.items()}
    assert talks == {u: visit for u, visit in state.talks.items() if visit.agent in state.agents}
    assert all(visit.talking for visit in state.talks.values())
    for agent in state.agents.values():
        assert set(agent.ringing) <= state.where.keys()
        assert (agent.wrapping is None) or agent.wrapping.wraps
    for call in (*state.calls.values(), *state.ending.values()):
        assert all(visit.call is call for visit in call.visits)
    assert not state.calls.keys() & state.ending.keys()


def seen(state: PbxState) -> Any:
    """Queues, members and callers, without what a list tells only in whole seconds."""
    return {
        name: (
            [(c.uniqueid, c.channel, c.position, c.number) for c in queue.callers()],
            [queue.members[interface] for interface in sorted(queue.members)],
        )
        for name, queue in state.queues.items()
    }


@pytest.mark.parametrize("version", ["22", "16"])
def test_shift_ends_as_asterisk_says(version: str) -> None:
    facts = json.loads((FIXTURES / f"{version}-shift.json").read_text())
    state = fold(recorded(f"{version}-shift"))
    ours = {
        name: {
            "waiting": [c.channel for c in queue.callers()],
            "members": [
                {
                    "interface": m.interface,
                    "name": m.name,
                    "state": str(m.device),
                    "paused": m.paused,
                    "dynamic": m.membership == "dynamic",
                    "in_call": m.in_call,
                    "calls_taken": m.calls_taken,
                }
                for m in queue.members.values()
            ],
            "completed": queue.params.completed,
            "abandoned": queue.params.abandoned,
        }
        for name, queue in sorted(state.queues.items())
    }
    assert ours == facts["queues"]
    assert [track.leg.channel for track in state.legs.values()] == facts["channels"]
    for name, log in facts["queue_log"].items():
        counts = state.outcomes[name]
        assert counts.get(Outcome.ANSWERED, 0) == log.get("CONNECT", 0)
        assert counts.get(Outcome.ABANDONED, 0) + counts.get(Outcome.REDIRECTED, 0) == log.get("ABANDON", 0)
        assert counts.get(Outcome.TIMED_OUT, 0) == log.get("EXITWITHTIMEOUT", 0)
        assert counts.get(Outcome.KEY_EXIT, 0) == log.get("EXITWITHKEY", 0)
        assert sum(counts.values()) + len(state.queues[name].waiting) == log["ENTERQUEUE"]
    assert state.drift == {}


@pytest.mark.parametrize("name", RECORDINGS)
def test_same_recording_same_bytes(name: str) -> None:
    first, second = fold(recorded(name)), fold(recorded(name))
    assert encode(first, 1795300000.0) == encode(second, 1795300000.0)


@given(data=st.data(), name=st.sampled_from(RECORDINGS))
@settings(max_examples=30, deadline=None)
def test_disturbed_order_never_breaks_the_state(data: st.DataObject, name: str) -> None:
    stream = list(recorded(name))
    for at in data.draw(st.lists(st.integers(0, len(stream) - 2), max_size=40)):
        if data.draw(st.booleans()):
            stream[at], stream[at + 1] = stream[at + 1], stream[at]
        else:
            stream.insert(at, stream[at])
    fold(stream)


@given(data=st.data(), name=st.sampled_from(RECORDINGS))
@settings(max_examples=20, deadline=None)
def test_an_event_twice_is_an_event_once(data: st.DataObject, name: str) -> None:
    stream = recorded(name)
    twice = data.draw(st.sets(st.integers(0, len(stream) - 1), max_size=60))
    doubled = [event for at, event in enumerate(stream) for _ in range(2 if at in twice else 1)]
    assert encode(fold(doubled), 0.0) == encode(fold(stream), 0.0)


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_event_twice(name: str) -> None:
    stream = recorded(name)
    doubled = [event for event in stream for _ in range(2)]
    assert encode(fold(doubled), 0.0) == encode(fold(stream), 0.0)


def snapshots_of(state: PbxState, at: float) -> tuple[QueuesSnapshot, LegsSnapshot]:
    """What Asterisk would list of that state."""
    queues = tuple(
        QueueSnapshot(params=queue.params, members=tuple(queue.members.values()), callers=tuple(queue.callers()))
        for queue in state.queues.values()
    )
    legs = tuple(track.leg for track in state.legs.values())
    return QueuesSnapshot(pbx="main", at=at, queues=queues), LegsSnapshot(pbx="main", at=at, legs=legs)


def without_lists(name: str) -> list[AnyEvent]:
    stream = recorded(name)
    first = [e for e in stream if isinstance(e, QueuesSnapshot | LegsSnapshot)][:2]
    return [*first, *(e for e in stream if not isinstance(e, QueuesSnapshot | LegsSnapshot))]


@given(data=st.data(), name=st.sampled_from(RECORDINGS))
@settings(max_examples=40, deadline=None)
def test_a_snapshot_at_any_point_changes_nothing(data: st.DataObject, name: str) -> None:
    """Even one that is a few events ahead of the stream: no drift, no outcome lost or made up."""
    stream = without_lists(name)
    at = data.draw(st.integers(2, len(stream)))
    ahead = data.draw(st.integers(0, 4))
    queues, legs = snapshots_of(fold(stream[: at + ahead]), stream[min(at + ahead, len(stream)) - 1].at)
    later_queues, later_legs = snapshots_of(fold(stream), stream[-1].at)
    state = fold([*stream[:at], queues, legs, *stream[at:], later_queues, later_legs])
    plain = fold([*stream, later_queues, later_legs])
    assert seen(state) == seen(plain)
    assert state.outcomes == plain.outcomes
    assert state.calls.keys() == plain.calls.keys()
    assert state.drift == plain.drift == {}


@given(data=st.data(), name=st.sampled_from(RECORDINGS))
@settings(max_examples=40, deadline=None)
def test_who_comes_later_sees_the_same(data: st.DataObject, name: str) -> None:
    stream = without_lists(name)
    at = data.draw(st.integers(2, len(stream)))
    ahead = data.draw(st.integers(0, 6))
    queues, legs = snapshots_of(fold(stream[: at + ahead]), stream[min(at + ahead, len(stream)) - 1].at)
    state = fold([queues, legs, *stream[at:]])
    plain = fold(stream)
    assert {k: v for k, v in seen(state).items() if v != ([], [])} == {
        k: v for k, v in seen(plain).items() if v != ([], [])
    }
    assert state.calls.keys() == plain.calls.keys()


# -- what is told ---------------------------------------------------------------------------------------------------


def tell(stream: list[AnyEvent] | tuple[AnyEvent, ...]) -> tuple[PbxState, list[Derived]]:
    state = PbxState("main", default_wrap_up_s=0.7)
    changes = [change for event in stream for change in apply(state, event)]
    return state, changes + tick(state, stream[-1].at + 60.0)


def check_told(state: PbxState, changes: list[Derived]) -> None:
    """Intervals do not overlap, nothing ends twice, and the figures are the state's own counts."""
    figures = Figures("main")
    ends: dict[str, float] = {}
    records = Counter(change.linkedid for change in changes if isinstance(change, CallRecord))
    assert records <= Counter(change.linkedid for change in changes if isinstance(change, CallStarted))
    for change in changes:
        figures.take(change)
        if isinstance(change, AgentInterval):
            assert ends.get(change.agent, change.started_at) <= change.started_at < change.at
            ends[change.agent] = change.at
        elif isinstance(change, AgentChanged) and not change.state:
            ends.pop(change.agent, None)  # forgotten
        elif isinstance(change, TalkEnded):
            assert 0 <= change.hold_s <= change.talk_s + 1e-6
    now = max((change.at for change in changes), default=0.0)
    for name, counts in state.outcomes.items():
        if name in state.queues:
            today = figures.view(state, now)["queues"][name]["today"]
            assert {outcome: today[outcome.value] for outcome in counts} == counts
    assert not any(visit.wraps or visit.hung_up_at for visit in state.talks.values())
    assert not state.deadlines


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_event_twice_tells_everything_once(name: str) -> None:
    stream = recorded(name)
    state, changes = tell(stream)
    check_told(state, changes)
    assert tell([event for event in stream for _ in range(2)])[1] == changes


@given(data=st.data(), name=st.sampled_from(RECORDINGS))
@settings(max_examples=30, deadline=None)
def test_disturbed_order_tells_nothing_impossible(data: st.DataObject, name: str) -> None:
    stream = list(recorded(name))
    for at in data.draw(st.lists(st.integers(0, len(stream) - 2), max_size=40)):
        if data.draw(st.booleans()):
            stream[at], stream[at + 1] = stream[at + 1], stream[at]
        else:
            stream.insert(at, stream[at])
    check_told(*tell(stream))


@given(data=st.data(), name=st.sampled_from(RECORDINGS))
@settings(max_examples=30, deadline=None)
def test_a_snapshot_on_time_tells_nothing(data: st.DataObject, name: str) -> None:
    stream = without_lists(name)
    at = data.draw(st.integers(2, len(stream) - 1))
    queues, legs = snapshots_of(fold(stream[:at]), stream[at - 1].at)
    with_lists = [*stream[:at], queues, legs, *stream[at:]]
    assert tell(with_lists)[1] == tell(stream)[1]


@given(data=st.data(), name=st.sampled_from(RECORDINGS))
@settings(max_examples=30, deadline=None)
def test_after_a_gap_the_people_are_what_they_are(data: st.DataObject, name: str) -> None:
    """Whatever was missed: after both lists everybody's state is as if nothing had been, but for who is on hold.

    No list of Asterisk's tells that.
    """
    stream = without_lists(name)
    begin = data.draw(st.integers(2, len(stream) - 1))
    end = data.draw(st.integers(begin, len(stream)))
    queues, legs = snapshots_of(fold(stream[:end]), stream[end - 1].at)
    missed = EventsMissed(pbx="main", at=stream[end - 1].at, dropped=end - begin)
    state, changes = tell([*stream[:begin], missed, queues, legs, *stream[end:]])
    check_told(state, changes)
    plain = tell(stream)[0]
    assert on_call_or(state) == on_call_or(plain)


def on_call_or(state: PbxState) -> dict[str, tuple[AgentState, str]]:
    return {
        agent.id: (AgentState.ON_CALL if agent.state is AgentState.ON_HOLD else agent.state, agent.reason)
        for agent in state.agents.values()
    }
