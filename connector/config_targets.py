"""Where a call may be sent, as one word that settings, bots and the API share, for example `queue:support`."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

_FORBIDDEN = re.compile(r"[,&()^|;\"'\\${}\[\]\s\x00-\x1f\x7f]")
"""What would end an argument, or begin an expression, in Asterisk's dialplan."""
_MAX_CHARACTERS = 200


class TargetKind(enum.StrEnum):
    """What a target is. A closed set."""

    DIALPLAN = "dialplan"
    """The next line after Stasis()."""
    QUEUE = "queue"
    EXTENSION = "extension"
    SIP = "sip"
    PROFILE = "profile"
    """Another bot."""
    ANNOUNCE = "announce"
    """A sound, then the end of the call."""
    HANGUP = "hangup"


_ALONE = frozenset({TargetKind.DIALPLAN, TargetKind.HANGUP})


@dataclass(frozen=True, slots=True)
class Target:
    """A place where a call can go on.

    Attributes:
        kind: What it is.
        value: Name of the queue, profile or sound; `number@context` of an extension; `user@host` of a SIP address.
            Empty for the kinds that need none.
    """

    kind: TargetKind
    value: str = ""

    def __str__(self) -> str:
        return self.kind.value if self.kind in _ALONE else f"{self.kind.value}:{self.value}"


def parse_target(text: str) -> Target:
    """Reads a target.

    Raises:
        ValueError: It is none; the message says what one looks like. Characters that mean something to the dialplan
            are refused, because bots may write targets.
    """
    word, separator, value = text.partition(":")
    if word == "sips":
        word = "sip"
    try:
        kind = TargetKind(word)
    except ValueError:
        kind = None
    if kind is None or (kind in _ALONE) == bool(separator):
        raise ValueError(
            f"{text[:60]!r} is no target: write dialplan, hangup, queue:NAME, extension:NUMBER@CONTEXT, "
            "sip:USER@HOST, profile:NAME or announce:SOUND"
        )
    if kind not in _ALONE and (not value or len(value) > _MAX_CHARACTERS):
        raise ValueError(f"{kind.value}: needs a value of 1 to {_MAX_CHARACTERS} characters after the colon")
    checked = value.replace(" ", "") if kind is TargetKind.QUEUE else value  # queues may have spaces in their names
    if found := _FORBIDDEN.search(checked):
        raise ValueError(f"{kind.value}: must not hold {found.group()!r}")
    if kind is TargetKind.EXTENSION and not re.fullmatch(r"[^@]+(@[A-Za-z0-9_.-]+)?", value):
        raise ValueError("extension: must be NUMBER or NUMBER@CONTEXT")
    if kind is TargetKind.SIP and not re.fullmatch(r"[^@]+@[^@/]+", value):
        raise ValueError("sip: must be USER@HOST")
    return Target(kind, value)


def checked_target(text: str) -> str:
    """Passes a target as text; raises ValueError for anything else."""
    return str(parse_target(text))


def is_allowed(target: Target, patterns: tuple[str, ...]) -> bool:
    """Whether a target fits one of the patterns, in which `*` stands for any characters."""
    return any(fnmatchcase(str(target), pattern) for pattern in patterns)
