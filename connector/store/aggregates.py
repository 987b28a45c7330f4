"""Sums by quarter of an hour, computed from what is kept: a quarter touched by a new record is counted afresh.

A queue's quarter holds the callers who joined in it, with whatever became of them, so `offered` is always the sum of
the outcomes. An agent's quarter holds the seconds of each state within it, and the calls answered in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, and_, case, delete, func, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from connector.events import Outcome
from connector.records import AgentInterval, AgentState, CallRecord
from connector.store import schema
from connector.store.schema import BUCKET_S, bucket_of

LONGEST_INTERVAL_S: Final = 31 * 86_400.0
"""Of an agent's state, as far as it is counted: a phone forgotten for a year must not touch 35,000 rows."""
AT_ONCE: Final = 5_000
"""Quarters per statement: three parameters each, below SQLite's and PostgreSQL's bound."""
RANG_IN_VAIN: Final = "rang_in_vain"
"""The word of a call's timeline whose detail is the agent who did not answer."""


class Target(NamedTuple):
    """What a queue's callers are measured by, in seconds.

    Attributes:
        answer_s: Answered within it is answered in time.
        short_abandon_s: Who gives up within it is not held against the queue.
    """

    answer_s: float = 20.0
    short_abandon_s: float = 5.0


TargetOf = Callable[[str, str], Target]
"""Of a PBX and queue."""


class Aggregates:
    """Notes the quarters that a batch touches, then recomputes them.

    Args:
        target_of: What a queue is measured by.
        oldest: Quarters before it stay as they are: their calls may have been pruned.
    """

    def __init__(self, target_of: TargetOf, *, oldest: float = 0.0) -> None:
        self._target_of = target_of
        self._oldest = oldest
        self._queues: set[tuple[str, str, int]] = set()
        self._agents: set[tuple[str, str, int]] = set()

    def touch_call(self, call: CallRecord) -> None:
        """A call is new, changed or gone."""
        for visit in call.visits:
            self._queues.add((call.pbx, visit.queue, bucket_of(visit.joined_at)))
            if visit.agent:
                self._agents.add((call.pbx, visit.agent, bucket_of(visit.ended_at)))
        for entry in call.timeline:
            if entry.what == RANG_IN_VAIN:
                self._agents.add((call.pbx, entry.detail, bucket_of(entry.at)))

    def touch_interval(self, interval: AgentInterval) -> None:
        """A stretch of an agent's state is new or changed."""
        first = max(interval.started_at, interval.at - LONGEST_INTERVAL_S)
        for bucket in range(bucket_of(first), bucket_of(interval.at) + 1, BUCKET_S):
            self._agents.add((interval.pbx, interval.agent, bucket))

    async def recompute(self, connection: AsyncConnection) -> None:
        """Counts what was touched afresh, within the caller's transaction."""
        queues = sorted(each for each in self._queues if each[2] >= self._oldest)
        agents = sorted(each for each in self._agents if each[2] >= self._oldest)
        self._queues.clear()
        self._agents.clear()
        for start in range(0, len(queues), AT_ONCE):
            await self._queue_quarters(connection, queues[start : start + AT_ONCE])
        for start in range(0, len(agents), AT_ONCE):
            await self._agent_quarters(connection, agents[start : start + AT_ONCE])

    # -- queues ---------------------------------------------------------------------------------------------------

    async def _queue_quarters(self, connection: AsyncConnection, touched: list[tuple[str, str, int]]) -> None:
        visits, table = schema.visits.c, schema.queue_aggregates
        targets = {name: self._target_of(*name) for name in _names(touched)}

        def of_queue(seconds: Mapping[tuple[str, str], float]) -> ColumnElement[float]:
            rules = ((and_(visits.pbx == pbx, visits.queue == queue), each) for (pbx, queue), each in seconds.items())
            return case(*rules, else_=0.0)

        target = of_queue({name: each.answer_s for name, each in targets.items()})
        short = of_queue({name: each.short_abandon_s for name, each in targets.items()})
        answered, abandoned = visits.outcome == Outcome.ANSWERED.value, visits.outcome == Outcome.ABANDONED.value
        within = visits.wait_s <= target
        computed = (
            select(
                visits.pbx,
                visits.queue,
                visits.bucket,
                func.count().label("offered"),
                *(_count_if(visits.outcome == outcome.value).label(outcome.value) for outcome in Outcome),
                func.max(target).label("target_s"),
                _count_if(and_(answered, within)).label("answered_within_target"),
                _count_if(and_(abandoned, within)).label("abandoned_within_target"),
                func.max(short).label("short_abandon_s"),
                _count_if(and_(abandoned, visits.wait_s <= short)).label("abandoned_short"),
                *_sum_and_max("wait", visits.wait_s),
                *_sum_and_max("answered_wait", case((answered, visits.wait_s), else_=0.0)),
                *_sum_and_max("abandoned_wait", case((abandoned, visits.wait_s), else_=0.0)),
                *_sum_and_max("talk", visits.talk_s),
                *_sum_and_max("hold", visits.hold_s),
                *_sum_and_max("wrap_up", visits.wrap_up_s),
                func.sum(visits.rang_in_vain).label("rang_in_vain"),
                _count_if(visits.transferred).label("transferred"),
            )
            .where(tuple_(visits.pbx, visits.queue, visits.bucket).in_(touched))
            .group_by(visits.pbx, visits.queue, visits.bucket)
        )
        names = [column.name for column in computed.selected_columns]
        names[names.index("bucket")] = "starts_at"
        key = tuple_(table.c.pbx, table.c.queue, table.c.starts_at)
        await connection.execute(delete(table).where(key.in_(touched)))
        await connection.execute(table.insert().from_select(names, computed))

    # -- agents ---------------------------------------------------------------------------------------------------

    async def _agent_quarters(self, connection: AsyncConnection, touched: list[tuple[str, str, int]]) -> None:
        rows: dict[tuple[str, str, int], dict[str, Any]] = {}
        wanted = set(touched)
        names = _names(touched)
        first, end = min(each[2] for each in touched), max(each[2] for each in touched) + BUCKET_S

        def row(key: tuple[str, str, int]) -> dict[str, Any]:
            return rows.setdefault(key, _empty_agent_row(key))

        intervals = schema.agent_intervals.c
        told_until: dict[tuple[str, str], float] = {}
        for found in await connection.execute(
            select(intervals.pbx, intervals.agent, intervals.state, intervals.started_at, intervals.ended_at)
            .where(
                tuple_(intervals.pbx, intervals.agent).in_(names),
                intervals.ended_at > first,
                intervals.started_at < end,
            )
            .order_by(intervals.ended_at)
        ):
            pbx, agent, state, started_at, ended_at = found
            # A pause that was there before a restart is told again after it, from its beginning.
            started_at = max(started_at, told_until.get((pbx, agent), first))
            told_until[pbx, agent] = ended_at
            for bucket, seconds in split(max(started_at, ended_at - LONGEST_INTERVAL_S), min(ended_at, end)):
                if (pbx, agent, bucket) in wanted:
                    row((pbx, agent, bucket))[f"{state}_s"] += seconds
        visits = schema.visits.c
        for visit in (
            await connection.execute(
                select(schema.visits).where(
                    tuple_(visits.pbx, visits.agent).in_(names),
                    visits.outcome == Outcome.ANSWERED.value,
                    visits.ended_at >= first,
                    visits.ended_at < end,
                )
            )
        ).mappings():
            key = (visit["pbx"], visit["agent"], bucket_of(visit["ended_at"]))
            if key in wanted:
                _add_visit(row(key), visit)
        calls, entries = schema.calls.c, schema.timeline.c
        for pbx, agent, at in await connection.execute(
            select(calls.pbx, entries.detail, entries.at)
            .join_from(schema.timeline, schema.calls, calls.key == entries.call_key)
            .where(
                entries.what == literal_column(f"'{RANG_IN_VAIN}'"),  # as it stands in the partial index
                entries.at >= first,
                entries.at < end,
                tuple_(calls.pbx, entries.detail).in_(names),
            )
        ):
            if (pbx, agent, bucket_of(at)) in wanted:
                row((pbx, agent, bucket_of(at)))["rang_in_vain"] += 1
        table = schema.agent_aggregates
        key_columns = tuple_(table.c.pbx, table.c.agent, table.c.starts_at)
        await connection.execute(delete(table).where(key_columns.in_(touched)))
        if rows:
            await connection.execute(table.insert(), list(rows.values()))


def split(start: float, end: float) -> Iterable[tuple[int, float]]:
    """The quarters that a stretch of time lies in, each with its seconds of it."""
    at = start
    while at < end:
        bucket = bucket_of(at)
        until = min(end, float(bucket + BUCKET_S))
        yield bucket, until - at
        at = until


def _names(touched: Iterable[tuple[str, str, int]]) -> list[tuple[str, str]]:
    return sorted({(pbx, name) for pbx, name, _ in touched})


def _empty_agent_row(key: tuple[str, str, int]) -> dict[str, Any]:
    pbx, agent, starts_at = key
    counts = dict.fromkeys(("handled", "transferred", "rang_in_vain"), 0)
    seconds = dict.fromkeys((f"handled_{what}_s" for what in ("talk", "hold", "wrap_up")), 0.0)
    states = {f"{state.value}_s": 0.0 for state in AgentState}
    return {"pbx": pbx, "agent": agent, "starts_at": starts_at, **counts, **seconds, **states}


def _add_visit(row: dict[str, Any], visit: Mapping[Any, Any]) -> None:
    row["handled"] += 1
    row["transferred"] += bool(visit["transferred"])
    for what in ("talk", "hold", "wrap_up"):
        row[f"handled_{what}_s"] += visit[f"{what}_s"]


def _count_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _sum_and_max(name: str, value: ColumnElement[float]) -> tuple[ColumnElement[float], ColumnElement[float]]:
    return func.sum(value).label(f"{name}_s_sum"), func.max(value).label(f"{name}_s_max")
