"""Real AMI bytes of both versions become the same events; what is malformed is named and never raises."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from panoramisk.message import Message as PanoramiskMessage

from connector.asterisk.replay import events, messages
from connector.asterisk.translate import EVENT_NAMES, Fault, Malformed, Message, translate
from connector.events import (
    AgentCompleted,
    AgentConnected,
    AgentRangNoAnswer,
    AnyEvent,
    CallerAbandoned,
    CallerJoined,
    DeviceState,
    DialplanStep,
    LegEnded,
    LegStarted,
    MemberChanged,
    QueueStatus,
    QueueStatusSet,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ami"
VERSIONS = ["22", "16"]


def recorded(name: str) -> list[AnyEvent]:
    found = []
    for event in events((FIXTURES / f"{name}.bin").read_bytes(), "main"):
        assert not isinstance(event, Malformed)
        found.append(event)
    return found


def of(kind: type, version: str) -> list[Any]:
    return [event for event in recorded(f"{version}-exits") if type(event) is kind]


@cache
def recording(version: str) -> list[Message]:
    return list(messages((FIXTURES / f"{version}-exits.bin").read_bytes()))


def first(version: str, name: str) -> dict[str, Any]:
    return next(dict(m) for m in recording(version) if m.get("Event") == name)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_join(version: str) -> None:
    event = of(CallerJoined, version)[0]
    assert event.queue == "support"
    assert event.caller.channel == "Local/w@caller-00000000;1"
    assert (event.caller.number, event.caller.name, event.caller.position) == ("101", "Caller 1", 1)
    assert event.at == event.caller.joined_at > 1_700_000_000
    assert event.linkedid == event.caller.uniqueid
    assert event.location == "q,support,1"


@pytest.mark.parametrize("version", VERSIONS)
def test_ring_time_is_in_seconds_wherever_it_stands(version: str) -> None:
    assert {event.ring_s for event in of(AgentRangNoAnswer, version)} == {0.0, 2.0}
    assert {event.ring_s for event in of(AgentConnected, version)} <= {0.0, 1.0, 2.0}


@pytest.mark.parametrize("version", VERSIONS)
def test_pause_and_unpause_read_alike(version: str) -> None:
    pause, unpause = (e.member for e in of(MemberChanged, version) if e.kind == "pause")
    assert (pause.paused, pause.pause_reason) == (True, "Lunch")
    assert (unpause.paused, unpause.pause_reason) == (False, "")
    assert pause.paused_at > 1_700_000_000


@pytest.mark.parametrize("version", VERSIONS)
def test_member_of_an_event(version: str) -> None:
    changes = of(MemberChanged, version)
    assert {e.kind for e in changes} == {"added", "status", "pause", "penalty", "ring_in_use"}
    alice = changes[0].member
    assert (alice.interface, alice.name, alice.membership) == ("Local/a1@agents/n", "Alice", "dynamic")
    assert (alice.device, alice.penalty, alice.ring_in_use) == (DeviceState.NOT_IN_USE, 1, True)
    nameless = next(e.member for e in changes if e.member.interface == "Local/busy@agents/n")
    assert nameless.name == nameless.interface


@pytest.mark.parametrize("version", VERSIONS)
def test_unknown_caller_is_empty(version: str) -> None:
    legs = [event.leg for event in of(LegStarted, version)]
    assert any(leg.number == "" for leg in legs)
    assert not any("unknown" in leg.number + leg.name for leg in legs)


@pytest.mark.parametrize("version", VERSIONS)
def test_only_queuestatus_of_variables(version: str) -> None:
    assert {event.status for event in of(QueueStatusSet, version)} == {
        QueueStatus.TIMEOUT,
        QueueStatus.FULL,
        QueueStatus.JOINEMPTY,
        QueueStatus.LEAVEEMPTY,
        QueueStatus.WITHDRAW,
        QueueStatus.CONTINUE,
    }
    message = first(version, "VarSet")
    assert translate({**message, "Variable": "OTHER"}, "main", 0.0) is None
    assert translate({**message, "Value": ""}, "main", 0.0) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_a_step_names_the_queue(version: str) -> None:
    steps = of(DialplanStep, version)
    assert {"support", "tiny", "empty", ""} == {step.queue for step in steps}


@pytest.mark.parametrize("version", VERSIONS)
def test_hangup_cause(version: str) -> None:
    assert {event.cause for event in of(LegEnded, version)} >= {0, 16}


@pytest.mark.parametrize("version", VERSIONS)
def test_panoramisk_messages_read_alike(version: str) -> None:
    for message in messages((FIXTURES / f"{version}-shift.bin").read_bytes()):
        assert translate(PanoramiskMessage(dict(message)), "main", 1.0) == translate(message, "main", 1.0)


def test_both_versions_tell_the_same_shift() -> None:
    kinds = [sorted(type(event).__name__ for event in recorded(f"{version}-shift")) for version in VERSIONS]
    assert kinds[0] == kinds[1]


def test_without_timestamp_it_happened_when_it_came() -> None:
    message = first("22", "QueueCallerAbandon")
    del message["Timestamp"]
    event = translate(message, "main", 42.5)
    assert isinstance(event, CallerAbandoned)
    assert event.at == 42.5


def test_what_is_not_ours() -> None:
    for message in (
        {},
        {"Response": "Success"},
        {"Event": "RTCPSent"},
        {"Event": ["Hangup", "Hangup"]},
        {"Event": ""},
    ):
        assert translate(message, "main", 0.0) is None


@pytest.mark.parametrize(
    ("name", "field", "value", "cause"),
    [
        ("QueueCallerJoin", "Queue", None, Fault.MISSING),
        ("QueueCallerJoin", "Uniqueid", "", Fault.MISSING),
        ("QueueCallerJoin", "Uniqueid", ["a", "b"], Fault.REPEATED),
        ("QueueCallerJoin", "CallerIDName", ["a", "b"], Fault.REPEATED),
        ("QueueCallerJoin", "Position", "first", Fault.NOT_A_NUMBER),
        ("QueueCallerJoin", "Position", "-1", Fault.NOT_A_NUMBER),
        ("QueueCallerJoin", "Position", "0", Fault.UNKNOWN_VALUE),
        ("QueueCallerJoin", "Position", "1_0", Fault.NOT_A_NUMBER),
        ("QueueCallerJoin", "Position", "\u0661", Fault.NOT_A_NUMBER),
        ("QueueCallerJoin", "Position", "9" * 5000, Fault.NOT_A_NUMBER),
        ("QueueCallerJoin", "Timestamp", "now", Fault.NOT_A_NUMBER),
        ("QueueCallerJoin", "Timestamp", "nan", Fault.NOT_A_NUMBER),
        ("QueueCallerJoin", "Timestamp", ["1", "2"], Fault.NOT_A_NUMBER),
        ("QueueMemberStatus", "Status", "9", Fault.UNKNOWN_VALUE),
        ("QueueMemberStatus", "Status", "", Fault.MISSING),
        ("AgentConnect", "HoldTime", "1.5", Fault.NOT_A_NUMBER),
        ("AgentConnect", "HoldTime", "9" * 400, Fault.NOT_A_NUMBER),
        ("VarSet", "Value", "LUNCH", Fault.UNKNOWN_VALUE),
        ("Newstate", "ChannelStateDesc", None, Fault.MISSING),
        ("Hangup", "Cause", "x", Fault.NOT_A_NUMBER),
    ],
)
def test_malformed(name: str, field: str, value: Any, cause: Fault) -> None:
    message = first("22", name)
    if value is None:
        del message[field]
    else:
        message[field] = value
    assert translate(message, "main", 0.0) == Malformed(cause, field, name)


headers = st.one_of(
    st.text(max_size=20), st.lists(st.text(max_size=5), max_size=3), st.sampled_from(["1", "-1", "nan"])
)


@given(name=st.sampled_from(sorted(EVENT_NAMES)), changed=st.dictionaries(st.integers(0, 40), headers, max_size=8))
@settings(deadline=None)
def test_no_message_raises(name: str, changed: dict[int, Any]) -> None:
    message = first("16", "QueueMemberStatus") | first("16", "AgentConnect") | {"Event": name}
    fields = [field for field in message if field != "Event"]
    for at, value in changed.items():
        message[fields[at % len(fields)]] = value
    translate(message, "main", 0.0)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_end_of_a_conversation_may_come_without_the_callers_channel(version: str) -> None:
    ended = [event for event in recorded(f"{version}-complete-bare") if isinstance(event, AgentCompleted)]
    assert sum(not event.uniqueid for event in ended) == 2
    assert all(event.interface and event.queue and event.reason for event in ended)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_callers_name_is_freed_of_asterisks_escapes(version: str) -> None:
    joined = first(version, "QueueCallerJoin")
    for sent, name in {
        r"O\'Brien\?": "O'Brien?",
        r"say \"a\\b\"": r'say "a\b"',
        r"tab\tend": "tab\tend",
        r"C:\\new": r"C:\new",
        "alone\\": "alone\\",
    }.items():
        event = translate({**joined, "CallerIDName": sent}, "main", 1.0)
        assert isinstance(event, CallerJoined)
        assert event.caller.name == name
