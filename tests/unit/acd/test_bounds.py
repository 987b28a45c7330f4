"""Nothing grows without an end, whatever a PBX sends."""

from __future__ import annotations

import pytest

from connector.acd import figures as figures_module, history, lines, people_tallies
from connector.acd.apply import apply
from connector.acd.figures import Figures
from connector.acd.history import note
from connector.acd.model import CONTACTS_MAX, TIMELINE_MAX, VISITS_MAX, Call, PbxState, Visit
from connector.events import (
    CallOutcome,
    ContactChanged,
    Endpoint,
    EndpointsSnapshot,
    Leg,
    LegStarted,
    Outcome,
    QueueStatus,
    QueueStatusSet,
    TrunkChanged,
)
from connector.records import CallRecord, Derived


def leg_started(uniqueid: str) -> LegStarted:
    leg = Leg(
        uniqueid=uniqueid,
        linkedid=uniqueid,
        channel=f"PJSIP/x-{uniqueid}",
        state="ring",
        number="",
        name="",
        context="c",
        exten="1",
        started_at=0.0,
    )
    return LegStarted(pbx="main", at=0.0, leg=leg)


def test_a_timeline() -> None:
    call = Call("1", 0.0)
    for n in range(TIMELINE_MAX * 2):
        note(call, float(n), "joined")
    assert len(call.timeline) == TIMELINE_MAX


def test_the_same_thing_twice_is_one_entry() -> None:
    call = Call("1", 0.0)
    for what in ("joined", "rang", "joined", "rang"):
        note(call, 1.0, what)
    assert [entry.what for entry in call.timeline] == ["joined", "rang"]


def test_the_visits_of_a_call() -> None:
    state = PbxState("main")
    apply(state, leg_started("1"))
    for n in range(VISITS_MAX * 2):
        apply(state, QueueStatusSet(pbx="main", at=float(n), uniqueid="1", status=QueueStatus.FULL))
    assert len(state.calls["1"].visits) == VISITS_MAX
    assert state.outcomes[""][Outcome.FULL] == VISITS_MAX * 2


def test_calls_that_wait_for_the_end_of_a_wrap_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "ENDING_MAX", 3)
    state, changes = PbxState("main"), list[Derived]()
    for n in range(10):
        call = Call(str(n), 0.0, ended_at=float(n))
        call.visits.append(Visit("q", str(n), 0.0, outcome=Outcome.ANSWERED, wraps=True))
        history.finish(state, call, changes)
        history.finish(state, call, changes)
    assert list(state.ending) == ["7", "8", "9"]
    assert [change.linkedid for change in changes if isinstance(change, CallRecord)] == list("0123456")


def test_a_record_is_given_out_once() -> None:
    state, changes = PbxState("main"), list[Derived]()
    call = Call("1", 0.0, ended_at=1.0)
    history.finish(state, call, changes)
    history.finish(state, call, changes)
    assert len(changes) == 1


def test_contacts_endpoints_and_trunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINES_MAX", 5)
    state = PbxState("main")
    for n in range(50):
        apply(state, ContactChanged(pbx="main", at=0.0, endpoint="PJSIP/a", contact=f"sip:{n}", status="reachable"))
        apply(state, ContactChanged(pbx="main", at=0.0, endpoint=f"PJSIP/{n}", contact="sip:1", status="reachable"))
        apply(state, TrunkChanged(pbx="main", at=0.0, trunk=str(n), status="registered"))
    assert (len(state.endpoints["PJSIP/a"].contacts), len(state.endpoints), len(state.trunks)) == (CONTACTS_MAX, 5, 5)
    listed = tuple(Endpoint(name=str(n), online=True) for n in range(50))
    apply(state, EndpointsSnapshot(pbx="main", at=1.0, endpoints=listed))
    assert len(state.endpoints) == 5


def test_queues_and_people_that_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures_module, "QUEUES_MAX", 3)
    monkeypatch.setattr(people_tallies, "PEOPLE_MAX", 4)
    monkeypatch.setattr(people_tallies, "QUEUES_OF_ONE_MAX", 2)
    figures = Figures("main")
    for n in range(50):
        figures.take(
            CallOutcome(
                pbx="main",
                at=0.0,
                queue=str(n),
                uniqueid="1",
                outcome=Outcome.ANSWERED,
                wait_s=0.0,
                agent=str(n),
            )
        )
    assert (list(figures.queues), list(figures.people.by_id)) == (["47", "48", "49"], ["46", "47", "48", "49"])
    assert list(figures.people._in) == ["46", "47", "48", "49"]
    for n in range(50):
        figures.people.both("49", f"other{n}")
    assert list(figures.people._in["49"]) == ["other48", "other49"]
