"""AMI messages become events: pure, and the only place that knows how the Asterisk versions differ.

Seen on 16.28 and 22.10: "<unknown>" in events is "unknown" in lists and empty elsewhere; list items say Name and
Location where events say MemberName and Interface; RingTime is in seconds in AgentConnect and in milliseconds in
AgentRingNoAnswer; 22 repeats in PausedReason the reason given at an unpause, 16 empties it. 22 tells the dialplan's
place as it is, 16 as of the last Newexten.
"""

from __future__ import annotations

from collections.abc import Callable

from connector.asterisk.headers import (
    Fault as Fault,
    Malformed as Malformed,
    Message as Message,
    Refuse,
    caller_id,
    caller_name,
    count,
    location,
    member,
    required,
    text,
    timestamp,
)
from connector.asterisk.translate_calls import BUILDERS, Builder
from connector.events import (
    AgentCalled,
    AgentCompleted,
    AgentConnected,
    AgentDumped,
    AgentRangNoAnswer,
    AnyEvent,
    Caller,
    CallerAbandoned,
    CallerJoined,
    CallerLeft,
    DialplanStep,
    MemberChanged,
    MemberRemoved,
    QueueStatus,
    QueueStatusSet,
)

_QUEUE_STATUS = {str(status): status for status in QueueStatus}


def _joined(m: Message, pbx: str, at: float) -> AnyEvent:
    uniqueid = required(m, "Uniqueid")
    position = count(m, "Position")
    if not position:
        raise Refuse(Fault.UNKNOWN_VALUE, "Position")
    return CallerJoined(
        pbx=pbx,
        at=at,
        queue=required(m, "Queue"),
        caller=Caller(
            uniqueid=uniqueid,
            channel=required(m, "Channel"),
            position=position,
            joined_at=at,
            number=caller_id(m, "CallerIDNum"),
            name=caller_name(m),
        ),
        linkedid=text(m, "Linkedid") or uniqueid,
        location=location(m),
    )


def _left(m: Message, pbx: str, at: float) -> AnyEvent:
    return CallerLeft(
        pbx=pbx, at=at, queue=required(m, "Queue"), uniqueid=required(m, "Uniqueid"), location=location(m)
    )


def _abandoned(m: Message, pbx: str, at: float) -> AnyEvent:
    return CallerAbandoned(
        pbx=pbx,
        at=at,
        queue=required(m, "Queue"),
        uniqueid=required(m, "Uniqueid"),
        hold_s=float(count(m, "HoldTime", 0)),
        position=count(m, "Position", 0),
        original_position=count(m, "OriginalPosition", 0),
        location=location(m),
    )


def _variable(m: Message, pbx: str, at: float) -> AnyEvent | None:
    if m.get("Variable") != "QUEUESTATUS":
        return None
    value = text(m, "Value")
    if not value:  # a dialplan that clears it before the next Queue()
        return None
    status = _QUEUE_STATUS.get(value)
    if status is None:
        raise Refuse(Fault.UNKNOWN_VALUE, "Value")
    return QueueStatusSet(pbx=pbx, at=at, uniqueid=required(m, "Uniqueid"), status=status)


def _extension(m: Message, pbx: str, at: float) -> AnyEvent:
    queue = text(m, "AppData").partition(",")[0].strip() if text(m, "Application").lower() == "queue" else ""
    return DialplanStep(pbx=pbx, at=at, uniqueid=required(m, "Uniqueid"), location=location(m), queue=queue)


def _called(m: Message, pbx: str, at: float) -> AnyEvent:
    interface = required(m, "Interface")
    return AgentCalled(
        pbx=pbx,
        at=at,
        queue=required(m, "Queue"),
        uniqueid=required(m, "Uniqueid"),
        interface=interface,
        member=text(m, "MemberName") or interface,
    )


def _connected(m: Message, pbx: str, at: float) -> AnyEvent:
    interface = required(m, "Interface")
    return AgentConnected(
        pbx=pbx,
        at=at,
        queue=required(m, "Queue"),
        uniqueid=required(m, "Uniqueid"),
        interface=interface,
        member=text(m, "MemberName") or interface,
        hold_s=float(count(m, "HoldTime", 0)),
        ring_s=float(count(m, "RingTime", 0)),
        leg=text(m, "DestUniqueid"),
    )


def _completed(m: Message, pbx: str, at: float) -> AnyEvent:
    interface = required(m, "Interface")
    return AgentCompleted(
        pbx=pbx,
        at=at,
        queue=required(m, "Queue"),
        uniqueid=text(m, "Uniqueid"),
        interface=interface,
        member=text(m, "MemberName") or interface,
        hold_s=float(count(m, "HoldTime", 0)),
        talk_s=float(count(m, "TalkTime", 0)),
        reason=text(m, "Reason"),
    )


def _no_answer(m: Message, pbx: str, at: float) -> AnyEvent:
    interface = required(m, "Interface")
    return AgentRangNoAnswer(
        pbx=pbx,
        at=at,
        queue=required(m, "Queue"),
        uniqueid=required(m, "Uniqueid"),
        interface=interface,
        member=text(m, "MemberName") or interface,
        ring_s=count(m, "RingTime", 0) / 1000,
    )


def _member_changed(kind: str) -> Callable[[Message, str, float], AnyEvent]:
    def build(m: Message, pbx: str, at: float) -> AnyEvent:
        return MemberChanged(pbx=pbx, at=at, queue=required(m, "Queue"), member=member(m), kind=kind)

    return build


def _member_removed(m: Message, pbx: str, at: float) -> AnyEvent:
    return MemberRemoved(pbx=pbx, at=at, queue=required(m, "Queue"), interface=required(m, "Interface"))


def _dumped(m: Message, pbx: str, at: float) -> AnyEvent:
    interface = required(m, "Interface")
    return AgentDumped(
        pbx=pbx,
        at=at,
        queue=required(m, "Queue"),
        uniqueid=required(m, "Uniqueid"),
        interface=interface,
        member=text(m, "MemberName") or interface,
    )


_BUILDERS: dict[str, Builder] = {
    "VarSet": _variable,
    "Newexten": _extension,
    "QueueCallerJoin": _joined,
    "QueueCallerLeave": _left,
    "QueueCallerAbandon": _abandoned,
    "AgentCalled": _called,
    "AgentConnect": _connected,
    "AgentComplete": _completed,
    "AgentRingNoAnswer": _no_answer,
    "AgentDump": _dumped,
    "QueueMemberAdded": _member_changed("added"),
    "QueueMemberStatus": _member_changed("status"),
    "QueueMemberPause": _member_changed("pause"),
    "QueueMemberPenalty": _member_changed("penalty"),
    "QueueMemberRinginuse": _member_changed("ring_in_use"),
    "QueueMemberRemoved": _member_removed,
    **BUILDERS,
}

EVENT_NAMES = frozenset(_BUILDERS)
"""AMI events that are read; all others can be filtered out at Asterisk, as can every VarSet but QUEUESTATUS. Without
Newexten a refusal has no queue name and, on 16, an exit by key or a redirect is told only when the channel ends."""


def translate(message: Message, pbx: str, received_at: float) -> AnyEvent | Malformed | None:
    """Reads one AMI message.

    Args:
        message: Its headers.
        pbx: Name of the PBX in the settings.
        received_at: Seconds since the epoch; used where Asterisk sent no Timestamp (`timestampevents=no`).

    Returns:
        The event; None for a message that is none of ours; `Malformed` for the caller to count. Never raises on
        what a peer can send.
    """
    name = message.get("Event")
    if name.__class__ is not str:
        return None
    build = _BUILDERS.get(name)
    if build is None:
        return None
    try:
        return build(message, pbx, timestamp(message, received_at))
    except Refuse as refusal:
        return Malformed(refusal.cause, refusal.field, name)
