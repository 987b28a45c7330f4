"""Answers to QueueStatus and CoreShowChannels become snapshots: pure.

List items carry no Timestamp, and say "unknown" where events say "<unknown>".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from connector.asterisk.headers import (
    Fault,
    Malformed,
    Message,
    Refuse,
    count,
    integer,
    leg,
    member,
    required,
    text,
)
from connector.events import (
    Caller,
    Leg,
    LegsSnapshot,
    Member,
    QueueParams,
    QueueSnapshot,
    QueuesSnapshot,
)


@dataclass(slots=True)
class _Gathered:
    params: QueueParams
    members: dict[str, Member] = field(default_factory=dict)
    callers: dict[str, Caller] = field(default_factory=dict)


def queues_snapshot(messages: Iterable[Message], pbx: str, at: float) -> tuple[QueuesSnapshot, tuple[Malformed, ...]]:
    """All queues from the items of one QueueStatus.

    Args:
        messages: What was sent under the action's id, in order; anything but list items is passed over.
        pbx: Name of the PBX in the settings.
        at: Asterisk's time of the list: the Timestamp of the latest event before QueueStatusComplete, or our clock.

    Returns:
        The snapshot, and the items that could not be used, for the caller to count.
    """
    queues: dict[str, _Gathered] = {}
    malformed: list[Malformed] = []
    for message in messages:
        name = str(message.get("Event", ""))
        try:
            if name == "QueueParams":
                params = _params(message)
                queues[params.name] = _Gathered(params)
            elif name == "QueueMember":
                one = member(message, "Name", "Location")
                _queue(queues, message).members[one.interface] = one
            elif name == "QueueEntry":
                caller = _caller(message, at)
                _queue(queues, message).callers[caller.uniqueid] = caller
        except Refuse as refusal:
            malformed.append(Malformed(refusal.cause, refusal.field, name))
    snapshot = QueuesSnapshot(
        pbx=pbx,
        at=at,
        queues=tuple(
            QueueSnapshot(
                params=queue.params,
                members=tuple(queue.members.values()),
                callers=tuple(sorted(queue.callers.values(), key=lambda c: c.position)),
            )
            for queue in queues.values()
        ),
    )
    return snapshot, tuple(malformed)


def legs_snapshot(messages: Iterable[Message], pbx: str, at: float) -> tuple[LegsSnapshot, tuple[Malformed, ...]]:
    """All channels from the items of one CoreShowChannels. See `queues_snapshot`."""
    legs: dict[str, Leg] = {}
    malformed: list[Malformed] = []
    for message in messages:
        if message.get("Event") != "CoreShowChannel":
            continue
        try:
            one = leg(message, at - _duration_s(message))
        except Refuse as refusal:
            malformed.append(Malformed(refusal.cause, refusal.field, "CoreShowChannel"))
            continue
        legs[one.uniqueid] = msgspec.structs.replace(one, number=_known(one.number), name=_known(one.name))
    return LegsSnapshot(pbx=pbx, at=at, legs=tuple(legs.values())), tuple(malformed)


def _queue(queues: dict[str, _Gathered], message: Message) -> _Gathered:
    queue = queues.get(required(message, "Queue"))
    if queue is None:  # its own QueueParams was not usable, or never came
        raise Refuse(Fault.UNKNOWN_VALUE, "Queue")
    return queue


def _params(m: Message) -> QueueParams:
    return QueueParams(
        name=required(m, "Queue"),
        strategy=text(m, "Strategy"),
        max_callers=count(m, "Max", 0),
        service_level_s=count(m, "ServiceLevel", 0),
        weight=integer(m, "Weight", 0),
        completed=count(m, "Completed", 0),
        abandoned=count(m, "Abandoned", 0),
        hold_s=_number(m, "Holdtime"),
        talk_s=_number(m, "TalkTime"),
        service_level_percent=_number(m, "ServicelevelPerf"),
        service_level2_percent=_number(m, "ServicelevelPerf2"),
    )


def _caller(m: Message, at: float) -> Caller:
    position = count(m, "Position")
    if not position:
        raise Refuse(Fault.UNKNOWN_VALUE, "Position")
    return Caller(
        uniqueid=required(m, "Uniqueid"),
        channel=required(m, "Channel"),
        position=position,
        joined_at=at - count(m, "Wait", 0),
        number=_known(text(m, "CallerIDNum")),
        name=_known(text(m, "CallerIDName")),
        priority=integer(m, "Priority", 0),
    )


def _known(value: str) -> str:
    return "" if value in ("unknown", "<unknown>") else value


def _number(m: Message, field_name: str) -> float:
    value = text(m, field_name)
    try:
        number = float(value or 0)
    except ValueError:
        raise Refuse(Fault.NOT_A_NUMBER, field_name) from None
    if not math.isfinite(number) or number < 0:
        raise Refuse(Fault.NOT_A_NUMBER, field_name)
    return number


def _duration_s(m: Message) -> int:
    """Duration is `HH:MM:SS`, with more digits of hours where needed (main/manager.c)."""
    value = text(m, "Duration")
    if not value:
        return 0
    parts = value.split(":")
    if len(parts) != 3 or len(value) > 18 or not all(part.isascii() and part.isdigit() for part in parts):
        raise Refuse(Fault.NOT_A_NUMBER, "Duration")
    hours, minutes, seconds = map(int, parts)
    return hours * 3600 + minutes * 60 + seconds
