"""Questions to history, as the API asks them. Answers are plain values; pages follow a key, never an offset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Select, Table, and_, exists, select, tuple_

from connector.events import Outcome
from connector.records import AgentInterval, AgentState, AuditRecord, CallRecord, StreamRecord
from connector.store import schema
from connector.store.database import Database
from connector.store.keep import load_calls
from connector.store.within import Within

Cursor = tuple[float, str]
"""(ended_at, key) of the last row of the page before; the next page lies behind it."""
QuarterCursor = tuple[int, str, str]
"""(starts_at, pbx, name) of the last row of the page before."""


class QueueQuarter(msgspec.Struct, frozen=True, kw_only=True):
    """A queue in a quarter of an hour: the callers who joined in it, with whatever became of them.

    Attributes:
        starts_at: Start of the quarter, seconds since the epoch.
        offered: All callers; the sum of `outcomes`.
        outcomes: How many ended how.
        target_s: Of the service level, as it was when this was counted.
        answered_within_target: Waited no longer than it.
        abandoned_within_target: The same of those who hung up.
        short_abandon_s: Below it a caller who hung up is not held against the queue.
        abandoned_short: Those.
    """

    pbx: str
    queue: str
    starts_at: int
    offered: int
    outcomes: dict[Outcome, int]
    target_s: float
    answered_within_target: int
    abandoned_within_target: int
    short_abandon_s: float
    abandoned_short: int
    wait_s_sum: float
    wait_s_max: float
    answered_wait_s_sum: float
    answered_wait_s_max: float
    abandoned_wait_s_sum: float
    abandoned_wait_s_max: float
    talk_s_sum: float
    talk_s_max: float
    hold_s_sum: float
    hold_s_max: float
    wrap_up_s_sum: float
    wrap_up_s_max: float
    rang_in_vain: int
    transferred: int


class AgentQuarter(msgspec.Struct, frozen=True, kw_only=True):
    """An agent in a quarter of an hour: seconds in each state within it, and the calls answered in it."""

    pbx: str
    agent: str
    starts_at: int
    state_s: dict[AgentState, float]
    handled: int
    transferred: int
    rang_in_vain: int
    handled_talk_s: float
    handled_hold_s: float
    handled_wrap_up_s: float


class History:
    """Reads what is kept. Every question raises what the database raises while it is away.

    Args:
        database: Shared with the writer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- calls ----------------------------------------------------------------------------------------------------

    async def calls(
        self,
        *,
        since: float,
        until: float,
        pbx: str = "",
        queue: str = "",
        agent: str = "",
        number: str = "",
        outcome: str = "",
        direction: str = "",
        before: Cursor | None = None,
        limit: int = 100,
        within: Within | None = None,
    ) -> list[CallRecord]:
        """Calls that ended in [since, until), the latest first; an empty text means any.

        Args:
            since: Seconds since the epoch.
            until: Seconds since the epoch.
            pbx: Name of the PBX.
            queue: That came to this queue.
            agent: That this agent answered.
            number: Of the other party, whole.
            outcome: That ended so in a queue; in `queue`, if that is given too.
            direction: inbound, outbound, internal or unknown.
            before: Of the page before.
            limit: At most so many.
            within: Only calls with a visit in scope; None for all.
        """
        table, visits = schema.calls.c, schema.visits.c
        wanted = select(table.key).where(table.ended_at >= since, table.ended_at < until)
        for column, value in ((table.pbx, pbx), (table.number, number), (table.direction, direction)):
            if value:
                wanted = wanted.where(column == value)
        of_visit = [
            column == value
            for column, value in ((visits.queue, queue), (visits.agent, agent), (visits.outcome, outcome))
            if value
        ]
        if of_visit:
            wanted = wanted.where(exists().where(and_(visits.call_key == table.key, *of_visit)))
        if within is not None:
            in_scope = within.condition(visits.pbx, queue=visits.queue, agent=visits.agent)
            # The same visit has to be in scope and as wanted: a filter must not tell of visits that are hidden.
            wanted = wanted.where(exists().where(and_(visits.call_key == table.key, in_scope, *of_visit)))
        if before is not None:
            wanted = wanted.where(tuple_(table.ended_at, table.key) < before)
        wanted = wanted.order_by(table.ended_at.desc(), table.key.desc()).limit(limit)
        async with self._database.read() as connection:
            keys = list((await connection.execute(wanted)).scalars())
            found = await load_calls(connection, keys)
        return [found[key] for key in keys if key in found]

    async def call(self, pbx: str, linkedid: str) -> CallRecord | None:
        """One call, whole."""
        key = f"{pbx}/{linkedid}"
        async with self._database.read() as connection:
            return (await load_calls(connection, [key])).get(key)

    async def ended(
        self, pbx: str, *, since: float, until: float, after: Cursor | None = None, limit: int = 500
    ) -> list[CallRecord]:
        """Calls of a PBX that ended in [since, until), the earliest first; `after` the last one of the page before."""
        wanted = _earliest(schema.calls, schema.calls.c.key, pbx, since, until, after, limit)
        async with self._database.read() as connection:
            keys = list((await connection.execute(wanted)).scalars())
            found = await load_calls(connection, keys)
        return [found[key] for key in keys if key in found]

    async def ended_intervals(
        self, pbx: str, *, since: float, until: float, after: Cursor | None = None, limit: int = 1_000
    ) -> list[AgentInterval]:
        """Stretches of agents' states, as `ended` gives calls."""
        table = schema.agent_intervals
        rows = await self._rows(_earliest(table, table, pbx, since, until, after, limit))
        return [_interval(row) for row in rows]

    # -- reports --------------------------------------------------------------------------------------------------

    async def queue_quarters(
        self,
        *,
        since: float,
        until: float,
        pbx: str = "",
        name: str = "",
        after: QuarterCursor | None = None,
        limit: int = 1_000,
        within: Within | None = None,
    ) -> list[QueueQuarter]:
        """Quarters of queues that begin in [since, until), by (starts_at, pbx, queue)."""
        wanted = _quarters(schema.queue_aggregates, "queue", since, until, pbx, name, after, limit)
        if within is not None:
            wanted = wanted.where(
                within.condition(schema.queue_aggregates.c.pbx, queue=schema.queue_aggregates.c.queue)
            )
        return [_queue_quarter(row) for row in await self._rows(wanted)]

    async def agent_quarters(
        self,
        *,
        since: float,
        until: float,
        pbx: str = "",
        name: str = "",
        after: QuarterCursor | None = None,
        limit: int = 1_000,
        within: Within | None = None,
    ) -> list[AgentQuarter]:
        """Quarters of agents that begin in [since, until), by (starts_at, pbx, agent)."""
        wanted = _quarters(schema.agent_aggregates, "agent", since, until, pbx, name, after, limit)
        if within is not None:
            wanted = wanted.where(
                within.condition(schema.agent_aggregates.c.pbx, agent=schema.agent_aggregates.c.agent)
            )
        return [_agent_quarter(row) for row in await self._rows(wanted)]

    # -- the rest -------------------------------------------------------------------------------------------------

    async def agent_intervals(
        self,
        *,
        since: float,
        until: float,
        pbx: str = "",
        agent: str = "",
        before: Cursor | None = None,
        limit: int = 1_000,
    ) -> list[AgentInterval]:
        """Stretches of agents' states that ended in [since, until), the latest first."""
        wanted = _latest(schema.agent_intervals, "ended_at", since, until, {"pbx": pbx, "agent": agent}, before, limit)
        return [_interval(row) for row in await self._rows(wanted)]

    async def streams(
        self,
        *,
        since: float,
        until: float,
        pbx: str = "",
        profile: str = "",
        queue: str = "",
        cause: str = "",
        before: Cursor | None = None,
        limit: int = 100,
        within: Within | None = None,
    ) -> list[StreamRecord]:
        """Streams that ended in [since, until), the latest first; an empty text means any."""
        equal = {"pbx": pbx, "profile": profile, "queue": queue, "cause": cause}
        wanted = _latest(schema.streams, "ended_at", since, until, equal, before, limit)
        if within is not None:
            wanted = wanted.where(within.condition(schema.streams.c.pbx, queue=schema.streams.c.queue))
        names = [each for each in StreamRecord.__struct_fields__ if each not in ("at", "quality")]
        return [
            StreamRecord(at=row["ended_at"], quality=row["quality"] or {}, **{name: row[name] for name in names})
            for row in await self._rows(wanted)
        ]

    async def audit(
        self,
        *,
        since: float,
        until: float,
        actor: str = "",
        action: str = "",
        before: Cursor | None = None,
        limit: int = 100,
    ) -> list[AuditRecord]:
        """Deeds done in [since, until), the latest first."""
        wanted = _latest(schema.audit, "at", since, until, {"actor": actor, "action": action}, before, limit)
        names = ("pbx", "at", "actor", "action", "target", "result", "detail", "remote")
        return [AuditRecord(id=row["key"], **{name: row[name] for name in names}) for row in await self._rows(wanted)]

    async def _rows(self, wanted: Select[Any]) -> list[Mapping[Any, Any]]:
        async with self._database.read() as connection:
            return list((await connection.execute(wanted)).mappings())


def _quarters(
    table: Table,
    of: str,
    since: float,
    until: float,
    pbx: str,
    name: str,
    after: QuarterCursor | None,
    limit: int,
) -> Select[Any]:
    order = (table.c.starts_at, table.c.pbx, table.c[of])
    wanted = select(table).where(table.c.starts_at >= since, table.c.starts_at < until)
    if pbx:
        wanted = wanted.where(table.c.pbx == pbx)
    if name:
        wanted = wanted.where(table.c[of] == name)
    if after is not None:
        wanted = wanted.where(tuple_(*order) > after)
    return wanted.order_by(*order).limit(limit)


def _latest(
    table: Table,
    at: str,
    since: float,
    until: float,
    equal: Mapping[str, str],
    before: Cursor | None,
    limit: int,
) -> Select[Any]:
    column = table.c[at]
    wanted = select(table).where(column >= since, column < until)
    for name, value in equal.items():
        if value:
            wanted = wanted.where(table.c[name] == value)
    if before is not None:
        wanted = wanted.where(tuple_(column, table.c.key) < before)
    return wanted.order_by(column.desc(), table.c.key.desc()).limit(limit)


def _earliest(
    table: Table, what: Any, pbx: str, since: float, until: float, after: Cursor | None, limit: int
) -> Select[Any]:
    at, key = table.c.ended_at, table.c.key
    wanted = select(what).where(table.c.pbx == pbx, at >= since, at < until)
    if after is not None:
        wanted = wanted.where(tuple_(at, key) > after)
    return wanted.order_by(at, key).limit(limit)


def _interval(row: Mapping[Any, Any]) -> AgentInterval:
    return AgentInterval(
        pbx=row["pbx"],
        at=row["ended_at"],
        agent=row["agent"],
        state=AgentState(row["state"]),
        reason=row["reason"],
        started_at=row["started_at"],
        linkedid=row["linkedid"],
    )


def _queue_quarter(row: Mapping[Any, Any]) -> QueueQuarter:
    values = {name: row[name] for name in QueueQuarter.__struct_fields__ if name != "outcomes"}
    return QueueQuarter(outcomes={outcome: row[outcome.value] for outcome in Outcome}, **values)


def _agent_quarter(row: Mapping[Any, Any]) -> AgentQuarter:
    values = {name: row[name] for name in AgentQuarter.__struct_fields__ if name != "state_s"}
    return AgentQuarter(state_s={state: row[f"{state.value}_s"] for state in AgentState}, **values)
