"""Registrations as lists tell them, and where calls come from by them."""

from __future__ import annotations

import pytest

from connector.acd.apply import apply
from connector.acd.model import CONTACTS_MAX, PbxState
from connector.events import (
    AnyEvent,
    Contact,
    ContactChanged,
    ContactsSnapshot,
    DirectoryChanged,
    Endpoint,
    EndpointsSnapshot,
    Leg,
    LegEnded,
    LegStarted,
    Person,
    Trunk,
    TrunkChanged,
    TrunksSnapshot,
)
from connector.records import CallRecord, Direction

A, B = "PJSIP/a", "PJSIP/b"


def run(*stream: AnyEvent, state: PbxState | None = None) -> PbxState:
    state = state or PbxState("main")
    for event in stream:
        apply(state, event)
    return state


def registered(*contacts: tuple[str, str]) -> ContactsSnapshot:
    """Endpoint and URI of each."""
    return ContactsSnapshot(
        pbx="main",
        at=5.0,
        contacts=tuple((name, Contact(uri=uri, address="10.0.0.1:5060", user_agent="X")) for name, uri in contacts),
    )


def changed(endpoint: str, uri: str, status: str, at: float = 6.0) -> ContactChanged:
    return ContactChanged(pbx="main", at=at, endpoint=endpoint, contact=uri, status=status)


def test_a_list_adds_what_events_do_not_tell_and_keeps_what_they_told() -> None:
    state = run(changed(A, "sip:a@1", "reachable"), registered((A, "sip:a@1"), (B, "sip:b@1")))
    assert state.endpoints[A].contacts == {
        "sip:a@1": Contact(uri="sip:a@1", status="reachable", address="10.0.0.1:5060", user_agent="X")
    }
    assert state.endpoints[B].contacts["sip:b@1"].status == ""
    run(changed(A, "sip:a@1", "unreachable"), state=state)
    assert state.endpoints[A].contacts["sip:a@1"].address == "10.0.0.1:5060"


def test_what_is_listed_no_more_is_gone_but_what_is_configured_stays() -> None:
    state = run(registered((A, "sip:a@1"), (A, "sip:a@2")), changed(A, "sip:fixed@3", "reachable"))
    run(registered((A, "sip:a@2")), state=state)
    assert sorted(state.endpoints[A].contacts) == ["sip:a@2", "sip:fixed@3"]


def test_contacts_are_bounded() -> None:
    state = run(registered(*((A, f"sip:a@{n}") for n in range(CONTACTS_MAX + 5))))
    assert len(state.endpoints[A].contacts) == CONTACTS_MAX


def test_trunks_are_those_listed_and_those_of_other_technologies() -> None:
    one = Trunk(trunk="PJSIP/1@p", label="one", endpoint="PJSIP/p", status="registered")
    two = Trunk(trunk="PJSIP/2@p", label="two", endpoint="", status="rejected")
    state = run(
        TrunkChanged(pbx="main", at=1.0, trunk="IAX2/x@y", status="registered"),
        TrunksSnapshot(pbx="main", at=2.0, trunks=(one, two)),
        TrunksSnapshot(pbx="main", at=3.0, trunks=(one,)),
    )
    assert {name: (line.label, line.online, line.since) for name, line in state.trunks.items()} == {
        "IAX2/x@y": ("", True, 1.0),
        "PJSIP/1@p": ("one", True, 2.0),
    }


def leg(number: int, channel: str, state: str = "ring", call: int = 1) -> LegStarted:
    return LegStarted(
        pbx="main",
        at=10.0,
        leg=Leg(
            uniqueid=str(number),
            linkedid=str(call),
            channel=channel,
            state=state,
            number="100",
            name="",
            context="",
            exten="200",
            started_at=10.0,
        ),
    )


ANNA = DirectoryChanged(pbx="main", at=1.0, people=(Person(id="anna", name="Anna", interfaces=("PJSIP/anna",)),))


@pytest.mark.parametrize(
    ("legs", "direction"),
    [
        ((leg(1, "PJSIP/trunk-1"),), Direction.INBOUND),
        ((leg(1, "PJSIP/trunk-1"), leg(2, "PJSIP/a-2", "down")), Direction.INBOUND),
        ((leg(1, "PJSIP/a-1"),), Direction.OUTBOUND),
        ((leg(1, "PJSIP/anna-1"),), Direction.OUTBOUND),
        ((leg(1, "PJSIP/a-1"), leg(2, "PJSIP/trunk-2", "down")), Direction.OUTBOUND),
        ((leg(1, "PJSIP/a-1"), leg(2, "PJSIP/anna-2", "down")), Direction.INTERNAL),
        ((leg(1, "PJSIP/anna-1"), leg(2, "PJSIP/a-2", "down")), Direction.INTERNAL),
        ((leg(1, "PJSIP/trunk-1", "down"),), Direction.OUTBOUND),
        ((leg(1, "Local/x@y-1;1"),), Direction.UNKNOWN),
    ],
)
def test_where_a_call_comes_from_without_a_setting(legs: tuple[LegStarted, ...], direction: Direction) -> None:
    """Whose phone it is need not be known: a phone registers here, a provider does not."""
    listed = (Endpoint(name=A, online=True), Endpoint(name="PJSIP/trunk", online=True))
    state = run(
        ANNA,
        EndpointsSnapshot(pbx="main", at=1.0, endpoints=listed),
        registered((A, "sip:a@1")),
        changed("PJSIP/trunk", "sip:provider.example", "reachable"),
        *legs,
    )
    ended = [
        change
        for each in legs
        for change in apply(
            state, LegEnded(pbx="main", at=20.0, uniqueid=each.leg.uniqueid, linkedid="1", cause=16, location="")
        )
    ]
    assert [change.direction for change in ended if isinstance(change, CallRecord)] == [direction]
