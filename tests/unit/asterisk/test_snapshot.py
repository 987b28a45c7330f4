"""Lists of both versions, as Asterisk sent them, become snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connector.asterisk.replay import events, messages
from connector.asterisk.snapshot import legs_snapshot, queues_snapshot
from connector.asterisk.translate import Fault, Malformed, Message
from connector.events import DeviceState, LegsSnapshot, QueuesSnapshot

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ami"
VERSIONS = ["22", "16"]


def items(version: str, name: str) -> list[dict[str, Any]]:
    """The items of the list that names the most of them."""
    by_action: dict[str, list[Message]] = {}
    for message in messages((FIXTURES / f"{version}-exits.bin").read_bytes()):
        if "ActionID" in message:
            by_action.setdefault(str(message["ActionID"]), []).append(message)
    best = max(by_action.values(), key=lambda found: sum(m.get("Event") == name for m in found))
    return [dict(message) for message in best]


@pytest.mark.parametrize("version", VERSIONS)
def test_queues(version: str) -> None:
    snapshot, malformed = queues_snapshot(items(version, "QueueEntry"), "main", 1000.0)
    assert malformed == ()
    assert {queue.params.name for queue in snapshot.queues} == {"support", "tiny", "empty"}
    support = next(queue for queue in snapshot.queues if queue.params.name == "support")
    assert (support.params.strategy, support.params.service_level_s) == ("ringall", 5)
    assert [c.position for c in support.callers] == [1, 2, 3, 4]
    assert [c.priority for c in support.callers] == [5, 0, 0, 0]
    assert support.callers[0].number == "1019"
    assert all(998.0 <= c.joined_at <= 1000.0 for c in support.callers)
    (alice,) = support.members
    assert (alice.interface, alice.name, alice.state_interface) == ("Local/a1@agents/n", "Alice", "Local/a1@agents/n")
    assert (alice.device, alice.paused, alice.pause_reason) == (DeviceState.NOT_IN_USE, True, "Lunch")
    assert alice.ring_in_use is None


@pytest.mark.parametrize("version", VERSIONS)
def test_legs(version: str) -> None:
    snapshot, malformed = legs_snapshot(items(version, "CoreShowChannel"), "main", 1000.0)
    assert malformed == ()
    assert len(snapshot.legs) == 8
    assert {leg.state for leg in snapshot.legs} == {"up"}
    assert {leg.context for leg in snapshot.legs} == {"q", "caller"}
    assert not any("unknown" in leg.number + leg.name for leg in snapshot.legs)
    assert all(990.0 <= leg.started_at <= 1000.0 for leg in snapshot.legs)


@pytest.mark.parametrize("version", VERSIONS)
def test_lists_take_effect_where_their_complete_event_stood(version: str) -> None:
    stream = list(events((FIXTURES / f"{version}-shift.bin").read_bytes(), "main"))
    assert [type(event) for event in stream if isinstance(event, QueuesSnapshot | LegsSnapshot)] == [
        QueuesSnapshot,
        LegsSnapshot,
    ] * 4


def test_a_withheld_number_is_empty_and_a_name_that_only_holds_the_word_is_not() -> None:
    found = items("22", "QueueEntry")
    entries = [message for message in found if message.get("Event") == "QueueEntry"]
    entries[0] |= {"CallerIDNum": "unknown", "CallerIDName": "unknown soldier"}
    snapshot, _ = queues_snapshot(found, "main", 0.0)
    caller = next(c for q in snapshot.queues for c in q.callers if c.uniqueid == entries[0]["Uniqueid"])
    assert (caller.number, caller.name) == ("", "unknown soldier")


@pytest.mark.parametrize(
    ("event", "field", "value", "cause"),
    [
        ("QueueEntry", "Position", "0", Fault.UNKNOWN_VALUE),
        ("QueueEntry", "Wait", "-5", Fault.NOT_A_NUMBER),
        ("QueueEntry", "Queue", "nowhere", Fault.UNKNOWN_VALUE),
        ("QueueMember", "Location", "", Fault.MISSING),
        ("QueueMember", "Status", "77", Fault.UNKNOWN_VALUE),
        ("QueueParams", "Holdtime", "inf", Fault.NOT_A_NUMBER),
    ],
)
def test_a_bad_item_is_left_out_and_named(event: str, field: str, value: str, cause: Fault) -> None:
    found = items("22", "QueueEntry")
    # The queue without members and callers, so that nothing else depends on it.
    bad = next(m for m in found if m.get("Event") == event and (event != "QueueParams" or m["Queue"] == "tiny"))
    bad[field] = value
    snapshot, malformed = queues_snapshot(found, "main", 0.0)
    assert malformed == (Malformed(cause, field, event),)
    good, _ = queues_snapshot(items("22", "QueueEntry"), "main", 0.0)
    assert sum(1 + len(q.members) + len(q.callers) for q in snapshot.queues) == -1 + sum(
        1 + len(q.members) + len(q.callers) for q in good.queues
    )


@pytest.mark.parametrize("value", ["1:2", "a:b:c", "-1:00:00", "9" * 30 + ":00:00"])
def test_a_bad_duration(value: str) -> None:
    found = items("22", "CoreShowChannel")
    bad = next(m for m in found if m.get("Event") == "CoreShowChannel")
    bad["Duration"] = value
    snapshot, malformed = legs_snapshot(found, "main", 0.0)
    assert malformed == (Malformed(Fault.NOT_A_NUMBER, "Duration", "CoreShowChannel"),)
    assert len(snapshot.legs) == 7


def test_callers_are_in_order_of_position() -> None:
    found = items("22", "QueueEntry")
    entries = [m for m in found if m.get("Event") == "QueueEntry"]
    others = [m for m in found if m.get("Event") != "QueueEntry"]
    snapshot, _ = queues_snapshot([*others, *reversed(entries)], "main", 0.0)
    assert [c.position for queue in snapshot.queues for c in queue.callers] == [1, 2, 3, 4]


def test_nothing_listed_is_an_empty_snapshot() -> None:
    assert queues_snapshot([{"Response": "Success"}], "main", 1.0)[0].queues == ()
    assert legs_snapshot([], "main", 1.0)[0].legs == ()
