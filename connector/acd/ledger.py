"""What was counted of each attempt at a queue, so that live events, history and queue_log may tell of it in any order.

The same attempt is told of by up to three: the events, the database after a restart, and queue_log after a gap, whose
seconds are whole. They are matched as `store.merge` matches them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from connector.events import Outcome
from connector.records import CallRecord, QueueVisit, TimelineEntry
from connector.store.merge import may_be, pairs

CALLERS_MAX = 20_000
"""Callers' attempts remembered; a gap is filled from a few minutes before it on, so older ones are never asked for."""
SAME_RING_S = 3.0
"""queue_log's seconds are whole."""


@dataclass(slots=True)
class Counted:
    """What was counted of one attempt.

    Attributes:
        joined_at: When it began.
        outcome: None where only the talk was heard.
        ended_at: When the waiting ended.
        talk_s: Of the conversation; None while it is not counted.
        talk_read: Its talk was counted from history, before live events told of it.
        wrapped: Its wrap-up was counted.
        wrap_up_read: From history, before live events told of it.
        heard: Live events told of it.
    """

    uniqueid: str
    queue: str
    joined_at: float
    outcome: Outcome | None = None
    ended_at: float = 0.0
    talk_s: float | None = None
    talk_read: bool = False
    wrapped: bool = False
    wrap_up_read: bool = False
    heard: bool = False


@dataclass(slots=True)
class _Account:
    attempts: list[Counted] = field(default_factory=list)
    rang: list[tuple[str, float]] = field(default_factory=list)


class Ledger:
    """Remembers what was counted, by caller and queue."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], _Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    # -- live -----------------------------------------------------------------------------------------------------

    def heard(self, uniqueid: str, queue: str, joined_at: float) -> Counted:
        """The attempt that a live outcome is about: one known from history only, or a new one."""
        account = self._account(uniqueid, queue)
        for known in account.attempts:
            if not known.heard and may_be(joined_at, known.joined_at):
                known.heard = True
                return known
        new = Counted(uniqueid, queue, joined_at, heard=True)
        account.attempts.append(new)
        return new

    def talked(self, uniqueid: str, queue: str, joined_at: float) -> Counted:
        """The attempt whose conversation ended: the latest, or a new one that began at `joined_at`."""
        account = self._account(uniqueid, queue)
        if not account.attempts:
            account.attempts.append(Counted(uniqueid, queue, joined_at, heard=True))
        return account.attempts[-1]

    def wrapped(self, uniqueid: str, queue: str) -> bool:
        """Live events tell of the wrap-up after the latest conversation; whether that is news."""
        account = self._accounts.get((uniqueid, queue))
        for known in reversed(account.attempts if account is not None else ()):
            if known.talk_s is not None:
                news, known.wrapped, known.wrap_up_read = not known.wrap_up_read, True, False
                return news
        return True

    def rang(self, uniqueid: str, queue: str, agent: str, at: float) -> None:
        """A phone rang in vain and that is counted."""
        self._account(uniqueid, queue).rang.append((agent, at))

    # -- from history ---------------------------------------------------------------------------------------------

    def attempts(self, record: CallRecord) -> Iterator[tuple[QueueVisit, Counted]]:
        """Each attempt of a finished call with what was counted of it, which is nothing for a new one."""
        for (uniqueid, queue), visits in _by_caller(record.visits).items():
            account = self._account(uniqueid, queue)
            known = tuple(account.attempts)
            for visit, index in pairs(known, tuple(visits)):
                if index is not None:
                    yield visit, known[index]
                    continue
                new = Counted(uniqueid, queue, visit.joined_at)
                account.attempts.append(new)
                yield visit, new

    def rings(self, record: CallRecord) -> Iterator[tuple[str, str, float, float]]:
        """Phones that rang in vain and are not counted yet: queue, agent, when it ended, for how long.

        They count as told with this.
        """
        free: dict[tuple[str, str], list[tuple[str, float]]] = {}
        began: dict[str, float] = {}
        for entry in record.timeline:
            if entry.what == "rang":
                began[entry.detail] = entry.at
            elif entry.what == "rang_in_vain" and (visit := _during(record.visits, entry)) is not None:
                key = visit.uniqueid, visit.queue
                account = self._account(*key)
                known = free.setdefault(key, list(account.rang))
                same = [one for one in known if one[0] == entry.detail and abs(one[1] - entry.at) <= SAME_RING_S]
                if same:
                    known.remove(min(same, key=lambda one: abs(one[1] - entry.at)))
                    continue
                account.rang.append((entry.detail, entry.at))
                yield visit.queue, entry.detail, entry.at, max(0.0, entry.at - began.get(entry.detail, entry.at))

    def _account(self, uniqueid: str, queue: str) -> _Account:
        account = self._accounts.get((uniqueid, queue))
        if account is None:
            if len(self._accounts) >= CALLERS_MAX:
                del self._accounts[next(iter(self._accounts))]
            account = self._accounts[uniqueid, queue] = _Account()
        return account


def _by_caller(visits: Iterable[QueueVisit]) -> dict[tuple[str, str], list[QueueVisit]]:
    found: dict[tuple[str, str], list[QueueVisit]] = {}
    for visit in visits:
        found.setdefault((visit.uniqueid, visit.queue), []).append(visit)
    return found


def _during(visits: tuple[QueueVisit, ...], entry: TimelineEntry) -> QueueVisit | None:
    """The attempt in which a phone rang: the last that had begun, or begins in the same second of queue_log."""
    begun = [visit for visit in visits if visit.joined_at <= entry.at]
    if begun:
        return begun[-1]
    return visits[0] if visits and may_be(visits[0].joined_at, entry.at) else None
