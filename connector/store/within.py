"""What part of history somebody may read: rows of some queues and of some agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, or_


@dataclass(frozen=True, slots=True)
class Within:
    """A scope as a condition.

    Attributes:
        queues: By `queue` or `pbx/queue`.
        agents: By id.
    """

    queues: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()

    def condition(self, pbx: Any, *, queue: Any = None, agent: Any = None) -> ColumnElement[bool]:
        """For a statement: the row's queue or agent is in scope; none is in a scope of nothing.

        Args:
            pbx: Column.
            queue: Column, if the table has one.
            agent: Column, if the table has one.
        """
        parts: list[ColumnElement[bool]] = []
        if queue is not None:
            parts += [queue.in_(self.queues), pbx.concat("/").concat(queue).in_(self.queues)]
        if agent is not None:
            parts.append(agent.in_(self.agents))
        return or_(*parts)
