"""AMI messages become events: pure, and the only place that knows how the Asterisk versions differ.

Seen on 16.28 and 22.10: "<unknown>" in events is "unknown" in lists and empty elsewhere; list items say Name and
Location where events say MemberName and Interface; RingTime is in seconds in AgentConnect and in milliseconds in
AgentRingNoAnswer; 22 repeats in PausedReason the reason given at an unpause, 16 empties it. 22 tells the dialplan's
place as it is, 16 as of the last Newexten.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Mapping

import msgspec

from connector.events import (
    AgentCalled,
    AgentCompleted,
    AgentConnected,
    AgentRangNoAnswer,
    AnyEvent,
    Caller,
    CallerAbandoned,
    CallerJoined,
    CallerLeft,
    DeviceState,
    DialplanStep,
    HangupRequested,
    Leg,
    LegChanged,
    LegEnded,
    LegStarted,
    Member,
    MemberChanged,
    MemberRemoved,
    QueueStatus,
    QueueStatusSet,
)

Message = Mapping[str, str | list[str]]
"""Headers of one AMI message by Asterisk's own names; a header sent more than once is a list."""

DEVICE_STATES = tuple(DeviceState)
"""By app_queue's number (include/asterisk/devicestate.h, enum ast_device_state)."""

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
"""Characters that stand for others behind a backslash; any other stands for itself."""

_QUEUE_STATUS = {str(status): status for status in QueueStatus}


class Fault(enum.StrEnum):
    """Why a message of ours could not be used. A closed set: it is a metric label."""

    MISSING = "missing"
    NOT_A_NUMBER = "not_a_number"
    REPEATED = "repeated"
    UNKNOWN_VALUE = "unknown_value"


class Malformed(msgspec.Struct, frozen=True):
    """A message that should have been an event.

    Attributes:
        cause: For the counter.
        field: Header at fault.
        event: Name of the AMI event.
    """

    cause: Fault
    field: str
    event: str


class Refuse(Exception):
    """Leaves a reader of headers early; never leaves `translate` or `snapshot`."""

    def __init__(self, cause: Fault, field: str) -> None:
        super().__init__(f"{field}: {cause}")
        self.cause = cause
        self.field = field


def text(message: Message, field: str) -> str:
    """A header that may be absent, as one string.

    Raises:
        Refuse: It was sent more than once.
    """
    value = message.get(field, "")
    if value.__class__ is not str:
        raise Refuse(Fault.REPEATED, field)
    return value


def required(message: Message, field: str) -> str:
    """A header that must have a value.

    Raises:
        Refuse: It is absent or empty, or was sent more than once.
    """
    value = message.get(field)
    if value.__class__ is not str:
        raise Refuse(Fault.REPEATED if value else Fault.MISSING, field)
    if not value:
        raise Refuse(Fault.MISSING, field)
    return value


def integer(message: Message, field: str, default: int | None = None) -> int:
    """A whole number; `default` where the header is absent or empty.

    Raises:
        Refuse: No number, or absent without a default.
    """
    value = text(message, field)
    if not value:
        if default is None:
            raise Refuse(Fault.MISSING, field)
        return default
    # int() also takes "1_0" and digits of other scripts, which Asterisk never writes.
    if len(value) > 18 or not value.isascii() or "_" in value:
        raise Refuse(Fault.NOT_A_NUMBER, field)
    try:
        return int(value)
    except ValueError:
        raise Refuse(Fault.NOT_A_NUMBER, field) from None


def count(message: Message, field: str, default: int | None = None) -> int:
    """A whole number that is never negative. See `integer`."""
    value = integer(message, field, default)
    if value < 0:
        raise Refuse(Fault.NOT_A_NUMBER, field)
    return value


def caller_id(message: Message, field: str) -> str:
    """A caller's number or name; empty if withheld or not known."""
    value = text(message, field)
    return "" if value == "<unknown>" else value


def caller_name(message: Message) -> str:
    r"""The caller's name in an event, or list, that describes a channel; empty if withheld or not known.

    Asterisk escapes it there as C does (main/manager_channels.c, ast_escape_c), so O'Brien comes as O\'Brien. The
    entries of QueueStatus have it as it is.
    """
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), caller_id(message, "CallerIDName"))


def location(message: Message) -> str:
    """The dialplan's place as `context,exten,priority`."""
    return f"{text(message, 'Context')},{text(message, 'Exten')},{text(message, 'Priority')}"


def member(message: Message, name: str = "MemberName", interface: str = "Interface") -> Member:
    """A queue member; the header names are those of events, lists pass their own.

    Raises:
        Refuse: A header is missing or wrong.
    """
    device = count(message, "Status")
    if device >= len(DEVICE_STATES):
        raise Refuse(Fault.UNKNOWN_VALUE, "Status")
    paused = text(message, "Paused") == "1"
    where = required(message, interface)
    ring_in_use = text(message, "Ringinuse")
    return Member(
        interface=where,
        name=text(message, name) or where,
        state_interface=text(message, "StateInterface"),
        membership=text(message, "Membership") or "static",
        penalty=integer(message, "Penalty", 0),
        calls_taken=count(message, "CallsTaken", 0),
        last_call_at=float(count(message, "LastCall", 0)),
        in_call=text(message, "InCall") == "1",
        device=DEVICE_STATES[device],
        paused=paused,
        pause_reason=text(message, "PausedReason") if paused else "",
        paused_at=float(count(message, "LastPause", 0)),
        ring_in_use=ring_in_use == "1" if ring_in_use else None,
        wrapup_seconds=count(message, "Wrapuptime", 0),
    )


def leg(message: Message, started_at: float) -> Leg:
    """A channel from the block of headers that every channel event carries.

    Raises:
        Refuse: A header is missing or wrong.
    """
    uniqueid = required(message, "Uniqueid")
    return Leg(
        uniqueid=uniqueid,
        linkedid=text(message, "Linkedid") or uniqueid,
        channel=required(message, "Channel"),
        state=text(message, "ChannelStateDesc").lower(),
        number=caller_id(message, "CallerIDNum"),
        name=caller_name(message),
        context=text(message, "Context"),
        exten=text(message, "Exten"),
        started_at=started_at,
    )


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
    )


def _completed(m: Message, pbx: str, at: float) -> AnyEvent:
    interface = required(m, "Interface")
    return AgentCompleted(
        pbx=pbx,
        at=at,
        queue=required(m, "Queue"),
        uniqueid=required(m, "Uniqueid"),
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


def _leg_started(m: Message, pbx: str, at: float) -> AnyEvent:
    return LegStarted(pbx=pbx, at=at, leg=leg(m, at))


def _leg_changed(m: Message, pbx: str, at: float) -> AnyEvent:
    uniqueid = required(m, "Uniqueid")
    return LegChanged(
        pbx=pbx,
        at=at,
        uniqueid=uniqueid,
        linkedid=text(m, "Linkedid") or uniqueid,
        state=required(m, "ChannelStateDesc").lower(),
    )


def _hangup_requested(m: Message, pbx: str, at: float) -> AnyEvent:
    return HangupRequested(pbx=pbx, at=at, uniqueid=required(m, "Uniqueid"))


def _leg_ended(m: Message, pbx: str, at: float) -> AnyEvent:
    uniqueid = required(m, "Uniqueid")
    return LegEnded(
        pbx=pbx,
        at=at,
        uniqueid=uniqueid,
        linkedid=text(m, "Linkedid") or uniqueid,
        cause=count(m, "Cause", 0),
        location=location(m),
    )


_BUILDERS: dict[str, Callable[[Message, str, float], AnyEvent | None]] = {
    "VarSet": _variable,
    "Newexten": _extension,
    "QueueCallerJoin": _joined,
    "QueueCallerLeave": _left,
    "QueueCallerAbandon": _abandoned,
    "AgentCalled": _called,
    "AgentConnect": _connected,
    "AgentComplete": _completed,
    "AgentRingNoAnswer": _no_answer,
    "QueueMemberAdded": _member_changed("added"),
    "QueueMemberStatus": _member_changed("status"),
    "QueueMemberPause": _member_changed("pause"),
    "QueueMemberPenalty": _member_changed("penalty"),
    "QueueMemberRinginuse": _member_changed("ring_in_use"),
    "QueueMemberRemoved": _member_removed,
    "Newchannel": _leg_started,
    "Newstate": _leg_changed,
    "BridgeEnter": _leg_changed,
    "HangupRequest": _hangup_requested,
    "SoftHangupRequest": _hangup_requested,
    "Hangup": _leg_ended,
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
        return build(message, pbx, _timestamp(message, received_at))
    except Refuse as refusal:
        return Malformed(refusal.cause, refusal.field, name)


def _timestamp(message: Message, received_at: float) -> float:
    value = message.get("Timestamp")
    if value is None:
        return received_at
    try:
        at = float(value)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        raise Refuse(Fault.NOT_A_NUMBER, "Timestamp") from None
    if not math.isfinite(at) or at < 0:
        raise Refuse(Fault.NOT_A_NUMBER, "Timestamp")
    return at
