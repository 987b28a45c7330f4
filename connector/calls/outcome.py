"""What came of an act."""

from __future__ import annotations

import enum

import msgspec


class Outcome(enum.StrEnum):
    """How an act ended, as far as it is known. A refusal is an exception."""

    DONE = "done"
    """Asterisk's event, or its own list, says so."""
    SENT = "sent"
    """Asterisk took it, and has no word for whether it arrived."""
    UNKNOWN = "unknown"
    """Asterisk was told, and what would confirm it did not come in time: look, before doing it again."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an act.

    Attributes:
        outcome: See `Outcome`.
        detail: A sentence for whoever did it.
        took_s: Until that was known.
        uniqueid: Of the channel that was made for it, if one was.
    """

    outcome: Outcome
    detail: str = ""
    took_s: float = 0.0
    uniqueid: str = ""


class NotPossible(Exception):
    """Nothing was done, because of how things stand; the text is a sentence.

    Attributes:
        remedy: What to do.
    """

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy


class Denied(NotPossible):
    """Asterisk said no."""
