"""Writes a batch of records in one transaction. Idempotent: each has a key, and its row is replaced or merged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from connector.events import Outcome
from connector.records import (
    AgentInterval,
    AuditRecord,
    CallRecord,
    Direction,
    QueueVisit,
    Record,
    StreamRecord,
    TimelineEntry,
)
from connector.store import schema
from connector.store.aggregates import Aggregates
from connector.store.clean import clean_text
from connector.store.merge import merge

PARAMETERS_MAX = 30_000
"""Of one statement; SQLite's and PostgreSQL's bound is 32,766."""


async def keep(connection: AsyncConnection, records: Sequence[Record], aggregates: Aggregates) -> Counter[str]:
    """Keeps records and brings the aggregates they touch up to date.

    Args:
        connection: In a transaction.
        records: At most some hundreds; of the same key the last counts, of calls all are merged.
        aggregates: Notes what is touched and recomputes it.

    Returns:
        How many records were kept, by table.
    """
    calls: dict[str, CallRecord] = {}
    intervals: dict[str, AgentInterval] = {}
    streams: dict[str, StreamRecord] = {}
    deeds: dict[str, AuditRecord] = {}
    for record in records:
        match record:
            case CallRecord():
                known = calls.get(record.key)
                calls[record.key] = record if known is None else merge(known, record)
            case AgentInterval():
                intervals[record.key] = record
            case StreamRecord():
                streams[record.key] = record
            case AuditRecord():
                deeds[record.key] = record
    await _keep_calls(connection, calls, aggregates)
    for interval in intervals.values():
        aggregates.touch_interval(interval)
    await upsert(connection, schema.agent_intervals, [_interval_row(each) for each in intervals.values()])
    await upsert(connection, schema.streams, [_stream_row(each) for each in streams.values()])
    await upsert(connection, schema.audit, [_audit_row(each) for each in deeds.values()])
    await aggregates.recompute(connection)
    counts: dict[str, Mapping[str, Record]] = {
        "calls": calls,
        "agent_intervals": intervals,
        "streams": streams,
        "audit": deeds,
    }
    return Counter({table: len(kept) for table, kept in counts.items() if kept})


async def _keep_calls(connection: AsyncConnection, calls: Mapping[str, CallRecord], aggregates: Aggregates) -> None:
    if not calls:
        return
    for key, known in (await load_calls(connection, calls)).items():
        aggregates.touch_call(known)
        calls = {**calls, key: merge(known, calls[key])}
    for table in (schema.visits, schema.timeline):
        await connection.execute(delete(table).where(table.c.call_key.in_(calls)))
    await upsert(connection, schema.calls, [_call_row(call) for call in calls.values()])
    visits: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for key, call in calls.items():
        aggregates.touch_call(call)
        visits += (_visit_row(key, seq, call.pbx, visit) for seq, visit in enumerate(call.visits))
        entries += (
            {"call_key": key, "seq": seq, "at": entry.at, "what": entry.what, "detail": clean_text(entry.detail)}
            for seq, entry in enumerate(call.timeline)
        )
    if visits:
        await connection.execute(schema.visits.insert(), visits)
    if entries:
        await connection.execute(schema.timeline.insert(), entries)


async def load_calls(connection: AsyncConnection, keys: Iterable[str]) -> dict[str, CallRecord]:
    """The calls of these keys that are kept, whole."""
    wanted = list(keys)
    rows = (await connection.execute(select(schema.calls).where(schema.calls.c.key.in_(wanted)))).mappings().all()
    if not rows:
        return {}
    visits: defaultdict[str, list[QueueVisit]] = defaultdict(list)
    table = schema.visits
    for row in (
        await connection.execute(
            select(table).where(table.c.call_key.in_(wanted)).order_by(table.c.call_key, table.c.seq)
        )
    ).mappings():
        visits[row["call_key"]].append(visit_of(row))
    entries: defaultdict[str, list[TimelineEntry]] = defaultdict(list)
    table = schema.timeline
    for row in (
        await connection.execute(
            select(table).where(table.c.call_key.in_(wanted)).order_by(table.c.call_key, table.c.seq)
        )
    ).mappings():
        entries[row["call_key"]].append(TimelineEntry(at=row["at"], what=row["what"], detail=row["detail"]))
    return {row["key"]: call_of(row, tuple(visits[row["key"]]), tuple(entries[row["key"]])) for row in rows}


async def upsert(connection: AsyncConnection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Inserts rows, or replaces those whose primary key is there."""
    if not rows:
        return
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    keys = [column.name for column in table.primary_key]
    at_once = max(1, PARAMETERS_MAX // len(rows[0]))
    for start in range(0, len(rows), at_once):
        statement = insert(table).values(rows[start : start + at_once])
        others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=others))


# -- records and rows ---------------------------------------------------------------------------------------------


def _call_row(call: CallRecord) -> dict[str, Any]:
    return {
        "key": clean_text(call.key),
        "pbx": call.pbx,
        "linkedid": clean_text(call.linkedid),
        "started_at": call.started_at,
        "ended_at": call.at,
        "direction": call.direction.value,
        "number": clean_text(call.number),
        "name": clean_text(call.name),
        "dialled": clean_text(call.dialled),
        "answered_at": call.answered_at,
        "legs": call.legs,
        "recovered": call.recovered,
    }


def call_of(row: Mapping[Any, Any], visits: tuple[QueueVisit, ...], entries: tuple[TimelineEntry, ...]) -> CallRecord:
    """A call from its rows."""
    return CallRecord(
        pbx=row["pbx"],
        at=row["ended_at"],
        linkedid=row["linkedid"],
        started_at=row["started_at"],
        direction=Direction(row["direction"]),
        number=row["number"],
        name=row["name"],
        dialled=row["dialled"],
        answered_at=row["answered_at"],
        visits=visits,
        timeline=entries,
        legs=row["legs"],
        recovered=row["recovered"],
    )


def _visit_row(key: str, seq: int, pbx: str, visit: QueueVisit) -> dict[str, Any]:
    row = {
        name: clean_text(value) if isinstance(value, str) else value
        for name, value in msgspec.structs.asdict(visit).items()
    }
    return row | {
        "call_key": key,
        "seq": seq,
        "pbx": pbx,
        "outcome": visit.outcome.value,
        "bucket": schema.bucket_of(visit.joined_at),
    }


def visit_of(row: Mapping[Any, Any]) -> QueueVisit:
    """A visit from its row."""
    values = {name: row[name] for name in QueueVisit.__struct_fields__}
    return QueueVisit(**{**values, "outcome": Outcome(row["outcome"])})


def _interval_row(interval: AgentInterval) -> dict[str, Any]:
    return {
        "key": clean_text(interval.key),
        "pbx": interval.pbx,
        "agent": clean_text(interval.agent),
        "state": interval.state.value,
        "reason": clean_text(interval.reason),
        "started_at": interval.started_at,
        "ended_at": interval.at,
        "linkedid": clean_text(interval.linkedid),
    }


def _stream_row(stream: StreamRecord) -> dict[str, Any]:
    return {
        "key": stream.key,
        "pbx": stream.pbx,
        "stream_id": stream.stream_id,
        "uniqueid": clean_text(stream.uniqueid),
        "profile": stream.profile,
        "dialect": stream.dialect,
        "mode": stream.mode,
        "peer": stream.peer,
        "queue": clean_text(stream.queue),
        "cause": stream.cause,
        "detail": clean_text(stream.detail),
        "started_at": stream.started_at,
        "ended_at": stream.at,
        "setup_s": stream.setup_s,
        "stats": stream.stats,
        "quality": stream.quality,
    }


def _audit_row(deed: AuditRecord) -> dict[str, Any]:
    values = {
        name: clean_text(getattr(deed, name)) for name in ("actor", "action", "target", "result", "detail", "remote")
    }
    return values | {"key": clean_text(deed.key), "at": deed.at, "pbx": deed.pbx}
