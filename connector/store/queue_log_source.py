"""Where queue_log is read from: Asterisk's file with those it was rotated to, or a table of a database."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import IO, Any, Final

from sqlalchemy import BigInteger, Column, Connection, DateTime, Integer, MetaData, Numeric, Table, select

from connector.store.database import Database
from connector.store.queue_log import LogLine, parse_line

_BISECT_DOWN_TO: Final = 65_536
"""Bytes that are read rather than searched any finer."""
_ROTATED: Final = r"([.-]\d+)*(\.gz)?"
"""By Asterisk's `logger rotate` (queue_log.0) and by logrotate (queue_log.1, queue_log-20260101.gz)."""
_NONE: Final = "NONE"
ROWS_AT_ONCE: Final = 5_000


def read_files(path: Path, since: float) -> Iterator[LogLine]:
    """Lines from `since` on, in order, of a queue_log and of what it was rotated to.

    Args:
        path: Of queue_log itself.
        since: Seconds since the epoch.

    Raises:
        OSError: There is none, or it cannot be read.
    """
    found = []
    for each in _siblings(path):
        first = _first_time(each)
        if first is not None and each.stat().st_mtime >= since:
            found.append((first, each))
    if not found and not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file; name Asterisk's queue_log")
    for _, each in sorted(found):
        with _open(each) as file:
            if each.suffix != ".gz":
                _seek(file, since)
            for raw in file:
                if not raw.endswith(b"\n"):
                    break  # Asterisk is still writing it
                line = parse_line(raw.decode("utf-8", "replace"))
                if line is not None and line.at >= since:
                    yield line


def _siblings(path: Path) -> Iterable[Path]:
    pattern = re.compile(re.escape(path.name) + _ROTATED)
    return [each for each in path.parent.iterdir() if pattern.fullmatch(each.name) and each.is_file()]


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _first_time(path: Path) -> float | None:
    with _open(path) as file:
        line = parse_line(file.readline().decode("utf-8", "replace"))
    return None if line is None else line.at


def _seek(file: IO[bytes], since: float) -> None:
    """Goes to a line at or a little before the first of `since`: a log of years is not read from its beginning."""
    low, high = 0, file.seek(0, 2)
    while high - low > _BISECT_DOWN_TO:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()
        line = parse_line(file.readline().decode("utf-8", "replace"))
        if line is not None and line.at < since:
            low = middle
        else:
            high = middle
    file.seek(low)
    if low:
        file.readline()


async def read_table(
    url: str,
    since: float,
    *,
    password: str,
    zone: tzinfo,
    take: Callable[[list[LogLine]], None],
    table: str = "queue_log",
) -> None:
    """Lines from `since` on, in order, of a table that Asterisk writes by realtime (extconfig.conf: queue_log).

    Its columns: time, callid, queuename, agent, event, and data or data1 to data5, as in Asterisk's documentation.

    Args:
        url: SQLAlchemy URL.
        since: Seconds since the epoch.
        password: Of the database, or empty.
        zone: Of the column `time` where it has no zone: logger.conf's queue_log_realtime_use_gmt makes it UTC.
        take: Gets the lines, some thousand at a time.
        table: Its name.

    Raises:
        Exception: What the database raises; KeyError for a column that is missing.
    """
    database = Database(url, password=password, foreign=True)
    try:
        async with database.read() as connection:
            found: Table = await connection.run_sync(_reflected, table)
            columns = found.c
            data = [columns["data"]] if "data" in columns else [columns[f"data{n}"] for n in range(1, 6)]
            fields = ("time", "callid", "queuename", "agent", "event")
            wanted = (
                select(*(columns[name] for name in fields), *data)
                .where(columns["time"] >= _as_column(columns["time"], since, zone))
                .order_by(columns["time"], *([columns["id"]] if "id" in columns else []))
            )
            answer = await connection.stream(wanted)
            async for rows in answer.partitions(ROWS_AT_ONCE):
                take([_line(tuple(row), zone) for row in rows])
    finally:
        await database.close()


def _reflected(connection: Connection, table: str) -> Table:
    return Table(table, MetaData(), autoload_with=connection)


def _as_column(column: Column[Any], at: float, zone: tzinfo) -> Any:
    """A time in the form that a column holds."""
    if isinstance(column.type, (Integer, BigInteger, Numeric)):
        return int(at)
    moment = datetime.fromtimestamp(int(at), zone)
    if isinstance(column.type, DateTime):
        return moment if column.type.timezone else moment.replace(tzinfo=None)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _line(row: tuple[Any, ...], zone: tzinfo) -> LogLine:
    time, callid, queue, agent, event, *data = row
    texts = [str(value) if value is not None else "" for value in data]
    if len(texts) == 1:
        texts = texts[0].split("|")
    while texts and not texts[-1]:
        texts.pop()
    return LogLine(
        at=_epoch(time, zone),
        callid=str(callid or _NONE),
        queue=str(queue or _NONE),
        agent=str(agent or _NONE),
        event=str(event or ""),
        data=tuple(texts),
    )


def _epoch(value: Any, zone: tzinfo) -> float:
    """Seconds since the epoch, whole ones as in the file."""
    if isinstance(value, str):
        if value.isdecimal():
            return float(value)
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return float(int((value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC).timestamp()))
    return float(int(value))
