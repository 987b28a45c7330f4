"""How long history is kept, and its removal in small steps that no reader or writer notices."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Table, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from connector.store import schema

STEP_ROWS: Final = 500
"""Rows of a table removed in one transaction."""
DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class RetentionDays:
    """Days that each kind of record is kept after its end; 0 keeps it for ever."""

    calls: int = 0
    agent_intervals: int = 0
    aggregates: int = 0
    streams: int = 0
    audit: int = 0

    def cutoff(self, kind: str, now: float) -> float:
        """What ended before it may go, seconds since the epoch; 0 where nothing may."""
        days = int(getattr(self, kind))
        return now - days * DAY_S if days else 0.0


async def prune_step(connection: AsyncConnection, retention: RetentionDays, now: float) -> Counter[str]:
    """Removes at most STEP_ROWS rows of each table that are older than allowed.

    Returns:
        How many rows went, by table; empty once nothing is left to do.
    """
    removed: Counter[str] = Counter()
    keys = await _old_keys(connection, schema.calls, "ended_at", retention.cutoff("calls", now))
    if keys:
        for table in (schema.visits, schema.timeline):
            await connection.execute(delete(table).where(table.c.call_key.in_(keys)))
        await connection.execute(delete(schema.calls).where(schema.calls.c.key.in_(keys)))
        removed["calls"] = len(keys)
    for table, column, kind in (
        (schema.agent_intervals, "ended_at", "agent_intervals"),
        (schema.streams, "ended_at", "streams"),
        (schema.audit, "at", "audit"),
    ):
        keys = await _old_keys(connection, table, column, retention.cutoff(kind, now))
        if keys:
            await connection.execute(delete(table).where(table.c.key.in_(keys)))
            removed[table.name] = len(keys)
    for table in (schema.queue_aggregates, schema.agent_aggregates):
        cutoff = retention.cutoff("aggregates", now)
        key = tuple_(*table.primary_key.columns)
        rows = (
            await connection.execute(
                select(*table.primary_key.columns)
                .where(table.c.starts_at < cutoff)
                .order_by(table.c.starts_at)
                .limit(STEP_ROWS)
            )
        ).all()
        if rows:
            await connection.execute(delete(table).where(key.in_([tuple(row) for row in rows])))
            removed[table.name] = len(rows)
    return removed


async def _old_keys(connection: AsyncConnection, table: Table, column: str, cutoff: float) -> list[str]:
    if not cutoff:
        return []
    at = table.c[column]
    found = await connection.execute(select(table.c.key).where(at < cutoff).order_by(at).limit(STEP_ROWS))
    return list(found.scalars())
