"""History as files: CSV, and Parquet where pyarrow is installed. Streamed: memory does not grow with the rows.

A file appears under its name when it is whole.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Integer, Select, Table, select

from connector.store import schema
from connector.store.database import Database

ROWS_AT_ONCE: Final = 2_000
FORMATS: Final = ("csv", "parquet")

_SOURCES: Final[dict[str, tuple[Table, str]]] = {
    "calls": (schema.calls, "ended_at"),
    "visits": (schema.visits, "ended_at"),
    "timeline": (schema.timeline, "at"),
    "agent_intervals": (schema.agent_intervals, "ended_at"),
    "queues": (schema.queue_aggregates, "starts_at"),
    "agents": (schema.agent_aggregates, "starts_at"),
    "streams": (schema.streams, "ended_at"),
    "audit": (schema.audit, "at"),
}
TABLES: Final = tuple(_SOURCES)
"""What can be exported. `visits` and `timeline` name their call by `call_key`, which is `key` of `calls`."""

_NUMBER: Final = re.compile(r"[+-]?[\d .()/-]*\d[\d .()/-]*")
_ACTIVE: Final = ("=", "+", "-", "@", "\t", "\r")


class NoParquet(Exception):
    """pyarrow is not installed; the message says how to get it."""


class _Sink(Protocol):
    def write(self, rows: Sequence[Sequence[Any]]) -> None: ...


async def export(
    database: Database, table: str, *, since: float, until: float, file: Path, form: str = "csv", pbx: str = ""
) -> int:
    """Writes the rows of a table whose time lies in [since, until), in order of time.

    Args:
        database: Where from.
        table: One of TABLES.
        since: Seconds since the epoch.
        until: Seconds since the epoch.
        file: Written beside itself first, then put in its place.
        form: csv or parquet.
        pbx: Only of this PBX; empty for all.

    Returns:
        How many rows.

    Raises:
        NoParquet: Parquet was asked for and pyarrow is not there.
        OSError: The file cannot be written.
        Exception: What the database raises.
    """
    source, at = _SOURCES[table]
    part = file.with_name(file.name + ".part")
    count = 0
    try:
        with ExitStack() as stack:
            sink = (_parquet if form == "parquet" else _csv)(part, source, stack)
            async with database.read() as connection:
                answer = await connection.stream(_wanted(source, at, since, until, pbx))
                async for rows in answer.partitions(ROWS_AT_ONCE):
                    sink.write([tuple(row) for row in rows])
                    count += len(rows)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return count


def _wanted(source: Table, at: str, since: float, until: float, pbx: str) -> Select[Any]:
    wanted = select(source).where(source.c[at] >= since, source.c[at] < until)
    if pbx and "pbx" in source.c:
        wanted = wanted.where(source.c.pbx == pbx)
    elif pbx:
        wanted = wanted.where(source.c.call_key.startswith(f"{pbx}/", autoescape=True))
    return wanted.order_by(source.c[at], *source.primary_key.columns)


# -- CSV ----------------------------------------------------------------------------------------------------------


class _CsvSink:
    def __init__(self, file: Any, columns: Iterable[Column[Any]]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._shapes = [_shape(column) for column in columns]

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        self._writer.writerows([shape(value) for shape, value in zip(self._shapes, row, strict=True)] for row in rows)


def _csv(path: Path, source: Table, stack: ExitStack) -> _Sink:
    file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
    csv.writer(file, lineterminator="\n").writerow(column.name for column in source.columns)
    return _CsvSink(file, source.columns)


def _shape(column: Column[Any]) -> Any:
    if _is_time(column):
        return iso_time
    if isinstance(column.type, JSON):
        return lambda value: msgspec.json.encode(value).decode()
    if isinstance(column.type, (Integer, BigInteger, Double, Boolean)):
        return lambda value: "" if value is None else value
    return plain_text


def _is_time(column: Column[Any]) -> bool:
    return column.name == "at" or column.name.endswith("_at") or column.name == "bucket"


def iso_time(value: float | None) -> str:
    """A time as ISO 8601 in UTC with milliseconds, or nothing."""
    return "" if value is None else datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds")


def plain_text(value: str) -> str:
    """Text that a spreadsheet shows and does not run, for a caller may be named =HYPERLINK(...). Numbers stay."""
    return f"'{value}" if value.startswith(_ACTIVE) and not _NUMBER.fullmatch(value) else value


# -- Parquet ------------------------------------------------------------------------------------------------------


class _ParquetSink:
    def __init__(self, writer: Any, shape: Any, columns: Sequence[Column[Any]]) -> None:
        self._writer, self._shape = writer, shape
        self._json = [index for index, column in enumerate(columns) if isinstance(column.type, JSON)]
        self._times = [index for index, column in enumerate(columns) if _is_time(column)]

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        import pyarrow as pa

        columns = [list(values) for values in zip(*rows, strict=True)]
        for index in self._json:
            columns[index] = [msgspec.json.encode(value).decode() for value in columns[index]]
        for index in self._times:
            columns[index] = [None if value is None else round(value * 1e6) for value in columns[index]]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, self._shape, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._shape))


def _parquet(path: Path, source: Table, stack: ExitStack) -> _Sink:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise NoParquet("Parquet needs pyarrow: pip install 'asterisk-connector[export]', or choose csv") from None
    columns = list(source.columns)
    shape = pa.schema([pa.field(column.name, _arrow_type(column, pa)) for column in columns])
    return _ParquetSink(stack.enter_context(pq.ParquetWriter(path, shape)), shape, columns)


def _arrow_type(column: Column[Any], pa: Any) -> Any:
    if _is_time(column):
        return pa.timestamp("us", tz="UTC")
    match column.type:
        case Boolean():
            return pa.bool_()
        case BigInteger() | Integer():
            return pa.int64()
        case Double():
            return pa.float64()
        case _:
            return pa.string()
