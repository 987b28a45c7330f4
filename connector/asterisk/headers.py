"""Headers of AMI messages as values: text, numbers, callers, members, channels. What is wrong leaves by `Refuse`."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping

import msgspec

from connector.events import DeviceState, Leg, Member

Message = Mapping[str, str | list[str]]
"""Headers of one AMI message by Asterisk's own names; a header sent more than once is a list."""

DEVICE_STATES = tuple(DeviceState)
"""By app_queue's number (include/asterisk/devicestate.h, enum ast_device_state)."""


_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
"""Characters that stand for others behind a backslash; any other stands for itself."""


_SCHEME = re.compile(r"^sips?:", re.IGNORECASE)


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

    Asterisk escapes it there as C does (main/manager_channels.c, ast_escape_c), so O'Brien comes as O\\'Brien. The
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
        logged_in_at=float(count(message, "LoginTime", 0)),
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


def trunk_name(technology: str, account: str, server: str) -> str:
    """One name for a registration at a provider, in events and lists.

    Args:
        technology: Such as PJSIP.
        account: PJSIP's client URI, such as sip:4711@provider.example; IAX2's user.
        server: PJSIP's server URI; IAX2's host.
    """
    user, host = _SCHEME.sub("", account), _SCHEME.sub("", server).partition(";")[0]
    if "@" not in user and host:
        return f"{technology}/{user}@{host}"
    own_host = user.rpartition("@")[2].partition(";")[0]
    return f"{technology}/{user}" + (f" via {host}" if host and host != own_host else "")


def timestamp(message: Message, received_at: float) -> float:
    """When the event happened by Asterisk's clock, or `received_at` where it does not say.

    Raises:
        Refuse: No time.
    """
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
