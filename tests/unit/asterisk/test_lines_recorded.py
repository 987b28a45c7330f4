"""Registrations, trunks, parking and the end of Asterisk, as real Asterisk told them."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from connector.acd.apply import apply
from connector.acd.model import PbxState
from connector.asterisk.headers import trunk_name
from connector.asterisk.replay import events
from connector.asterisk.snapshot_lines import contacts_snapshot, trunks_snapshot
from connector.asterisk.translate import Malformed
from connector.events import (
    AnyEvent,
    Contact,
    ContactsSnapshot,
    LegMoved,
    PbxChanged,
    PbxPhase,
    TrunkChanged,
    TrunksSnapshot,
    Whereabouts,
)
from connector.records import CallRecord, Direction

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ami"

on_both = pytest.mark.parametrize("version", ["22", "16"])


@cache
def recorded(version: str) -> tuple[AnyEvent, ...]:
    stream = tuple(events((FIXTURES / f"{version}-lines.bin").read_bytes(), "main"))
    assert not any(isinstance(event, Malformed) for event in stream)
    return tuple(event for event in stream if not isinstance(event, Malformed))


def port(version: str) -> int:
    return int(json.loads((FIXTURES / f"{version}-lines.json").read_text())["sip_port"])


def played(version: str, until: type | None = None) -> tuple[PbxState, list[CallRecord]]:
    state, records = PbxState("main"), []
    for event in recorded(version):
        records += [change for change in apply(state, event) if isinstance(change, CallRecord)]
        if until is not None and isinstance(event, until):
            break
    return state, records


@on_both
def test_a_trunk_has_one_name_in_events_and_lists(version: str) -> None:
    good, wrong = (f"PJSIP/{user}@127.0.0.1:{port(version)}" for user in ("desk", "nobody"))
    told = [(event.trunk, event.status) for event in recorded(version) if isinstance(event, TrunkChanged)]
    assert sorted(told) == [(good, "registered"), (good, "unregistered"), (wrong, "rejected")]
    (listed,) = [event for event in recorded(version) if isinstance(event, TrunksSnapshot)]
    assert {(trunk.trunk, trunk.label, trunk.endpoint, trunk.status) for trunk in listed.trunks} == {
        (good, "provider", "PJSIP/caller", "registered"),
        (wrong, "wrong", "PJSIP/caller", "rejected"),
    }
    state, _ = played(version)
    assert {name: (line.online, line.status) for name, line in state.trunks.items()} == {
        good: (False, "unregistered"),
        wrong: (False, "rejected"),
    }


@on_both
def test_a_registration_is_known_by_address_and_user_agent(version: str) -> None:
    state, _ = played(version, ContactsSnapshot)
    contacts = state.endpoints["PJSIP/desk"].contacts
    phone = next(contact for contact in contacts.values() if contact.uri.startswith("sip:desk@"))
    assert phone == Contact(
        uri=phone.uri,
        status="nonqualified",
        address=phone.uri.removeprefix("sip:desk@"),
        user_agent='Desk "2", Ä',
    )
    state, _ = played(version)
    assert state.endpoints["PJSIP/desk"].contacts == {}
    assert state.endpoints["PJSIP/desk"].online is False


@on_both
def test_parking_is_in_the_story_of_the_call(version: str) -> None:
    moved = Counter(event.what for event in recorded(version) if isinstance(event, LegMoved))
    assert moved == {
        Whereabouts.PARKED: 3,
        Whereabouts.UNPARKED: 1,
        Whereabouts.PARKING_GIVEN_UP: 1,
        Whereabouts.PARKING_TIMED_OUT: 1,
    }
    _, records = played(version)
    stories = [
        [(entry.what, entry.detail) for entry in record.timeline if "park" in entry.what]
        for record in records
        if record.dialled == "park"
    ]
    parked = ("parked", "default/701")
    assert sorted(stories) == [
        [parked, ("parking_given_up", "default/701")],
        [parked, ("parking_timed_out", "default/701")],
        [parked, ("unparked", "default/701")],
    ]
    fetched = next(record for record in records if record.dialled == "park" and record.legs == 2)
    assert any(entry.what == "merged" for entry in fetched.timeline)
    # Both phones come in by the line that the trunks' calls use.
    assert {record.direction for record in records} == {Direction.INBOUND}


@on_both
def test_the_end_is_announced(version: str) -> None:
    assert isinstance(recorded(version)[-1], PbxChanged)
    state, _ = played(version)
    assert state.stopping
    assert not state.calls
    apply(state, PbxChanged(pbx="main", at=1.0, phase=PbxPhase.BOOTED))
    assert not state.stopping


@pytest.mark.parametrize(
    ("account", "server", "name"),
    [
        ("sip:4711@p.example", "sip:p.example", "4711@p.example"),
        ("sip:4711@p.example", "sip:p.example;transport=tls", "4711@p.example"),
        ("sips:4711@p.example:5061", "sip:proxy.example:5061", "4711@p.example:5061 via proxy.example:5061"),
        ("4711", "iax.example:4569", "4711@iax.example:4569"),
        ("4711", "", "4711"),
    ],
)
def test_names_of_trunks(account: str, server: str, name: str) -> None:
    assert trunk_name("X", account, server) == f"X/{name}"


def test_what_is_no_registration_is_told_and_passed_over() -> None:
    item = {"Event": "DBGetTreeResponse", "Key": "/registrar/contact/a;@1"}
    good = {**item, "Val": '{"uri":"sip:a@1","endpoint":"a","via_addr":"::1","via_port":"5060"}'}
    snapshot, malformed = contacts_snapshot(
        [item, {**item, "Val": "{"}, {**item, "Val": '{"endpoint":"a"}'}, {**item, "Val": '{"uri":"sip:b@1"}'}, good],
        "main",
        1.0,
    )
    assert [fault.field for fault in malformed] == ["Val", "Val", "Val"]
    assert snapshot.contacts == (("PJSIP/a", Contact(uri="sip:a@1", address="[::1]:5060")),)
    trunks, malformed = trunks_snapshot(
        [{"Event": "OutboundRegistrationDetail", "ClientUri": "sip:a@b"}, {"Event": "AuthDetail"}], "main", 1.0
    )
    assert (trunks.trunks, [fault.field for fault in malformed]) == ((), ["ObjectName"])
