"""What is heard of channels, lines and the PBX, as recorded; and what of it is left out."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from connector.asterisk.replay import events
from connector.asterisk.snapshot_lines import endpoints_snapshot
from connector.asterisk.translate import Fault, Malformed, Message, translate
from connector.events import (
    AgentDumped,
    AnyEvent,
    ContactChanged,
    DialEnded,
    Endpoint,
    LegHeld,
    LegMoved,
    PbxChanged,
    PbxPhase,
    PeerChanged,
    Transferred,
    TrunkChanged,
    Whereabouts,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ami"


@cache
def recorded(version: str) -> tuple[AnyEvent, ...]:
    found = []
    for event in events((FIXTURES / f"{version}-people.bin").read_bytes(), "main"):
        assert not isinstance(event, Malformed)
        found.append(event)
    return tuple(found)


def read(message: Message) -> AnyEvent | Malformed | None:
    return translate({"Timestamp": "100.5", **message}, "main", 7.0)


@pytest.mark.parametrize("version", ["22", "16"])
def test_what_was_recorded(version: str) -> None:
    stream = recorded(version)
    transfers = [event for event in stream if isinstance(event, Transferred)]
    assert [(t.attended, t.to, bool(t.consult), bool(t.transferee)) for t in transfers] == [
        (False, "support", False, True),
        (True, "103", True, True),
    ]
    # Each transfer sends an Unhold of its own for each channel that leaves.
    assert [event.held for event in stream if isinstance(event, LegHeld)][:4] == [True, False, False, True]
    assert {event.status for event in stream if isinstance(event, DialEnded)} >= {"ANSWER", "BUSY", "NOANSWER"}
    places = [(event.what, event.place) for event in stream if isinstance(event, LegMoved)]
    assert places == [(Whereabouts.CONFERENCE_JOINED, "1"), (Whereabouts.CONFERENCE_LEFT, "1")]
    contacts = [(event.endpoint, event.status) for event in stream if isinstance(event, ContactChanged)]
    assert contacts == [("PJSIP/desk", "nonqualified"), ("PJSIP/desk", "removed")]
    peers = [(event.endpoint, event.status) for event in stream if isinstance(event, PeerChanged)]
    assert peers == [("PJSIP/desk", "reachable"), ("PJSIP/desk", "unreachable")]
    assert [event.phase for event in stream if isinstance(event, PbxChanged)] == [PbxPhase.BOOTED, PbxPhase.RELOADED]


def test_a_transfer_that_failed_is_none() -> None:
    blind = {"Event": "BlindTransfer", "Result": "Success", "TransfererUniqueid": "1", "Extension": "200"}
    assert isinstance(read(blind), Transferred)
    assert read({**blind, "Result": "Fail"}) is None
    attended = {"Event": "AttendedTransfer", "Result": "Success", "OrigTransfererUniqueid": "1"}
    assert isinstance(read(attended), Transferred)
    assert read({**attended, "Result": "Not Permitted"}) is None


@pytest.mark.parametrize(
    ("event", "what"),
    [
        ("ParkedCall", Whereabouts.PARKED),
        ("UnParkedCall", Whereabouts.UNPARKED),
        ("ParkedCallTimeOut", Whereabouts.PARKING_TIMED_OUT),
        ("ParkedCallGiveUp", Whereabouts.PARKING_GIVEN_UP),
    ],
)
def test_parking(event: str, what: Whereabouts) -> None:
    message = {"Event": event, "ParkeeUniqueid": "1", "Parkinglot": "default", "ParkingSpace": "701"}
    assert read(message) == LegMoved(pbx="main", at=100.5, uniqueid="1", what=what, place="default/701")


def test_lines() -> None:
    registry = {
        "Event": "Registry",
        "ChannelType": "PJSIP",
        "Username": "sip:4711@p.example",
        "Domain": "sip:p.example",
    }
    assert read({**registry, "Status": "Rejected", "Cause": "403"}) == TrunkChanged(
        pbx="main", at=100.5, trunk="PJSIP/4711@p.example", status="rejected", cause="403"
    )
    contact = {"Event": "ContactStatus", "URI": "sip:a@1", "ContactStatus": "Reachable"}
    assert read(contact) is None  # of no endpoint
    assert read({**contact, "EndpointName": "a"}) == ContactChanged(
        pbx="main", at=100.5, endpoint="PJSIP/a", contact="sip:a@1", status="reachable"
    )


def test_when_asterisk_booted() -> None:
    booted = {"Event": "FullyBooted", "Status": "Fully Booted"}
    assert read({**booted, "Uptime": "40"}) == PbxChanged(pbx="main", at=100.5, phase=PbxPhase.BOOTED, booted_at=60.5)
    assert read(booted) == PbxChanged(pbx="main", at=100.5, phase=PbxPhase.BOOTED)
    assert read({**booted, "Uptime": "soon"}) == Malformed(Fault.NOT_A_NUMBER, "Uptime", "FullyBooted")


def test_an_announcement_cut_short() -> None:
    dump = {"Event": "AgentDump", "Queue": "q", "Uniqueid": "1", "Interface": "PJSIP/a"}
    assert read(dump) == AgentDumped(
        pbx="main", at=100.5, queue="q", uniqueid="1", interface="PJSIP/a", member="PJSIP/a"
    )


def test_endpoints_of_ari() -> None:
    snapshot = endpoints_snapshot([("PJSIP", "a", "online"), ("PJSIP", "b", "unknown")], "main", 5.0)
    assert snapshot.endpoints == (Endpoint(name="PJSIP/a", online=True), Endpoint(name="PJSIP/b", online=False))
