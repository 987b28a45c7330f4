"""Settings of queues and of the people who serve them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from connector.config_types import Section, checked_line, checked_zone

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_SPAN = re.compile(rf"({'|'.join(WEEKDAYS)})(?:-({'|'.join(WEEKDAYS)}))? (\d\d:\d\d)-(24:00|\d\d:\d\d)")

OpenHours = tuple[tuple[frozenset[int], int, int], ...]
"""Spans: weekdays (0 is Monday), first minute of the day, minute after the last."""


def parse_open(value: str) -> OpenHours:
    """Reads business hours such as `mon-fri 08:00-18:00; sat 10:00-14:00`.

    Raises:
        ValueError: Not of that form, or a span that ends before it begins.
    """
    spans = []
    for part in filter(None, (piece.strip().lower() for piece in value.split(";"))):
        found = _SPAN.fullmatch(part)
        if found is None:
            raise ValueError(f"{part!r} is no business hours: write for example mon-fri 08:00-18:00; sat 10:00-14:00")
        first = WEEKDAYS.index(found[1])
        last = WEEKDAYS.index(found[2] or found[1])
        days = frozenset((first + n) % 7 for n in range((last - first) % 7 + 1))
        begin, end = minute_of_day(found[3]), 1440 if found[4] == "24:00" else minute_of_day(found[4])
        if end <= begin:
            raise ValueError(f"{part!r} ends before it begins: write two spans, one to 24:00 and one from 00:00")
        spans.append((days, begin, end))
    return tuple(spans)


def minute_of_day(value: str) -> int:
    """Reads `HH:MM`.

    Raises:
        ValueError: No time of day.
    """
    found = _TIME.fullmatch(value)
    if found is None:
        raise ValueError(f"{value!r} is no time of day: write for example 08:00")
    return int(found[1]) * 60 + int(found[2])


class QueueSettings(Section):
    """How a queue's figures are counted. docs/figures.md has the formulas."""

    time_zone: str = "UTC"
    """IANA name, such as Europe/Berlin; for the beginning of the day and business hours."""
    day_starts: str = "00:00"
    """When a new day begins for the figures of today."""
    open: str = ""
    """Business hours, for example mon-fri 08:00-18:00; sat 10:00-14:00. Empty: always. Who calls at another time is
    counted but not in the service level."""
    target_seconds: Annotated[float, Field(gt=0, le=3600)] = 20.0
    """Answered within it is answered in time."""
    target_share: Annotated[float, Field(ge=0, le=1)] = 0.8
    """The service level that is aimed at."""
    short_abandon_seconds: Annotated[float, Field(ge=0, le=600)] = 5.0
    """Who gives up within it is not held against the queue."""
    wrap_up_seconds: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """wrapuptime of the queue in queues.conf: Asterisk tells it to nobody. A member's own, if set, counts instead."""

    _zone = field_validator("time_zone")(checked_zone)

    @field_validator("day_starts")
    @classmethod
    def _starts(cls, value: str) -> str:
        minute_of_day(value)
        return value

    @field_validator("open")
    @classmethod
    def _open(cls, value: str) -> str:
        parse_open(value)
        return value


class AgentSettings(Section):
    """A person who answers calls; the table's name is the person's id."""

    name: str = ""
    """As shown. Empty: the id. A queue member of this name belongs to the person, whatever its interface."""
    teams: tuple[str, ...] = ()
    skills: str = ""
    """Free text."""
    interfaces: tuple[str, ...] = ()
    """Devices as queues or channels name them, such as PJSIP/alice or Local/100@agents/n. Each has one owner."""
    pbx: str = ""
    """PBX of the interfaces. Empty: every one."""

    @field_validator("interfaces", "teams")
    @classmethod
    def _lines(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for line in value:
            checked_line(line)
        return value


def queue_settings(default: QueueSettings, queues: dict[str, QueueSettings], name: str) -> QueueSettings:
    """What counts for a queue: its own keys, and the default's for all that it does not set."""
    own = queues.get(name)
    return default if own is None else default.model_copy(update={k: getattr(own, k) for k in own.model_fields_set})
