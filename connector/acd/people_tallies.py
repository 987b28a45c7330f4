"""What each person's calls came to: over all their queues, and in each of them, for those who may see only some."""

from __future__ import annotations

from collections.abc import Callable

from connector.acd.buckets import Day, Numbers, Tally
from connector.acd.tallies import AGENT_FIELDS, STATES

PEOPLE_MAX = 50_000
"""People kept, those who are gone too; beyond it the oldest goes."""
QUEUES_OF_ONE_MAX = 200
"""Queues kept of one person."""

AFTER_STATES = range(len(STATES), AGENT_FIELDS)
"""Fields of a person that are no seconds in a state."""


class PeopleTallies:
    """Tallies of people.

    Args:
        day: That of people.

    Attributes:
        by_id: Over all queues.
    """

    def __init__(self, day: Day) -> None:
        self._day = day
        self.by_id: dict[str, Tally] = {}
        self._in: dict[str, dict[str, Tally]] = {}

    def whole(self, agent: str) -> Tally:
        """The counts of a person over all queues."""
        tally = self.by_id.get(agent)
        if tally is None:
            if len(self.by_id) >= PEOPLE_MAX:
                oldest = next(iter(self.by_id))
                del self.by_id[oldest]
                self._in.pop(oldest, None)
            tally = self.by_id[agent] = self._new()
        return tally

    def both(self, agent: str, queue: str) -> tuple[Tally, Tally]:
        """The counts of a person over all queues, and in one."""
        whole = self.whole(agent)
        queues = self._in.setdefault(agent, {})
        tally = queues.get(queue)
        if tally is None:
            if len(queues) >= QUEUES_OF_ONE_MAX:
                del queues[next(iter(queues))]
            tally = queues[queue] = self._new()
        return whole, tally

    def windows(self, agent: str, now: float) -> dict[str, Numbers]:
        """A person's numbers by window."""
        return (self.by_id.get(agent) or self._new()).windows(now)

    def began(self, now: float) -> dict[str, float]:
        """When each of the windows began."""
        return self._new().began(now)

    def only(
        self, agent: str, whole: dict[str, Numbers], counts: Callable[[str], bool], now: float
    ) -> dict[str, Numbers]:
        """A person's numbers with what came of some queues alone; the seconds in each state stay as they are.

        Args:
            agent: Id.
            whole: The person's numbers by window.
            counts: Whether a queue counts, by its name.
            now: Seconds since the epoch.
        """
        own = [tally.windows(now) for queue, tally in self._in.get(agent, {}).items() if counts(queue)]
        return {
            window: [*numbers[: len(STATES)], *(sum(each[window][i] for each in own) for i in AFTER_STATES)]
            for window, numbers in whole.items()
        }

    def _new(self) -> Tally:
        return Tally(AGENT_FIELDS, frozenset(), self._day)
