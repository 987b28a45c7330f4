"""How far somebody sees and reaches: their queues and teams, and whether they are shown numbers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

EVERYTHING = "*"
"""As a queue of an account: all queues of all PBXs, and all agents."""

_DIGITS_MIN = 5
"""Shorter numbers are extensions and say who of the house, not which caller."""
_SHOWN = 3
_NUMBER = re.compile(rf"\+?\d(?:[ ./()-]?\d){{{_DIGITS_MIN - 1},}}")


@dataclass(frozen=True, slots=True)
class Sight:
    """The scope of an account. Queues are named by `queue`, or `pbx/queue` where two PBXs have one of that name.

    Attributes:
        queues: None for everything.
        teams: Of agents.
        numbers: The numbers of callers are shown.
    """

    queues: frozenset[str] | None
    teams: frozenset[str] = frozenset()
    numbers: bool = True

    @classmethod
    def of(cls, queues: Iterable[str], teams: Iterable[str], *, numbers: bool) -> Sight:
        """The scope that an account's lists say; none of both is a scope of nothing."""
        names = frozenset(queues)
        return cls(None if EVERYTHING in names else names, frozenset(teams), numbers)

    @property
    def whole(self) -> bool:
        """Every queue and agent."""
        return self.queues is None

    @property
    def clear(self) -> bool:
        """Everything, and nothing of it masked."""
        return self.queues is None and self.numbers

    def queue(self, pbx: str, queue: str) -> bool:
        """Whether a queue is in scope."""
        return self.queues is None or queue in self.queues or f"{pbx}/{queue}" in self.queues

    def agent(self, pbx: str, queues: Iterable[str], teams: Iterable[str]) -> bool:
        """Whether an agent is seen: one of the own teams, or a member of a queue in scope."""
        return self.queues is None or not self.teams.isdisjoint(teams) or any(self.queue(pbx, each) for each in queues)

    def owns_agent(self, pbx: str, queues: Iterable[str], teams: Iterable[str]) -> bool:
        """Whether an agent is in scope as a whole, with all they do: of an own team, or in no foreign queue."""
        if self.queues is None or not self.teams.isdisjoint(teams):
            return True
        names = tuple(queues)
        return bool(names) and all(self.queue(pbx, each) for each in names)

    def digest(self) -> str:
        """Short name of the scope, the same for equal ones."""
        parts = repr((None if self.queues is None else sorted(self.queues), sorted(self.teams), self.numbers))
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    def number(self, text: str) -> str:
        """A number, name or channel as it may be shown: of every longer number in it only the last digits."""
        return text if self.numbers else masked(text)


ALL = Sight(None)
"""Everything."""


def masked(text: str) -> str:
    """The text with all but the last three digits of each number in it hidden; numbers of four digits stay."""

    def hide(found: re.Match[str]) -> str:
        digits = [each for each in found[0] if each.isdigit()]
        return "\u2026" + "".join(digits[-_SHOWN:])

    return _NUMBER.sub(hide, text)
