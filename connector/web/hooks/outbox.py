"""What has to be delivered, in a file: it outlives the process, and each endpoint gets it in order.

Synchronous, used by one thread. Delivered ones are kept for a while without their body, so that the same happening
told twice is delivered once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

KEPT_MAX = 5_000
"""Delivered ones remembered, and dead ones kept, for each endpoint."""

_SCHEMA = """
create table if not exists deliveries (
  seq integer primary key autoincrement,
  endpoint text not null,
  id text not null,
  event text not null,
  body blob not null,
  made_at real not null,
  attempts integer not null default 0,
  next_at real not null default 0,
  state text not null default 'pending',
  error text not null default '',
  unique (endpoint, id)
);
create index if not exists deliveries_in_order on deliveries (endpoint, state, seq);
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One happening for one endpoint.

    Attributes:
        id: Of the happening.
        made_at: When it was put in, seconds since the epoch.
        attempts: That failed.
        next_at: Not to be tried before.
        error: Of the last attempt.
    """

    seq: int
    id: str
    event: str
    body: bytes
    made_at: float
    attempts: int
    next_at: float
    error: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much of an endpoint waits, since when, and how much was given up."""

    pending: int
    dead: int
    oldest_at: float | None


class Outbox:
    """The file.

    Args:
        path: Made if it is missing.

    Raises:
        sqlite3.Error: From every method, if the file cannot be used.
        OSError: Nor its directory.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)  # it holds callers' numbers
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = normal")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def add(self, rows: Iterable[tuple[str, str, str, bytes, float]], max_pending: Mapping[str, int]) -> dict[str, int]:
        """Puts deliveries in, as endpoint, id, event, body, made_at; those known already are passed over.

        Args:
            rows: The deliveries.
            max_pending: Bound by endpoint; beyond it the oldest go.

        Returns:
            How many had to go, by endpoint.
        """
        rows = list(rows)
        dropped: dict[str, int] = {}
        with _Transaction(self._connection) as run:
            run.executemany(
                "insert or ignore into deliveries (endpoint, id, event, body, made_at) values (?, ?, ?, ?, ?)", rows
            )
            for endpoint in {row[0] for row in rows}:
                gone = run.execute(
                    "delete from deliveries where seq in (select seq from deliveries where endpoint = ? and state = "
                    "'pending' order by seq desc limit -1 offset ?)",
                    (endpoint, max_pending[endpoint]),
                ).rowcount
                if gone:
                    dropped[endpoint] = gone
        return dropped

    def head(self, endpoint: str) -> Delivery | None:
        """The next one of an endpoint."""
        row = self._connection.execute(
            "select seq, id, event, body, made_at, attempts, next_at, error from deliveries "
            "where endpoint = ? and state = 'pending' order by seq limit 1",
            (endpoint,),
        ).fetchone()
        return None if row is None else Delivery(*row)

    def delivered(self, endpoint: str, seq: int) -> None:
        """It was taken."""
        self._end(
            endpoint, "update deliveries set state = 'done', body = x'', error = '' where seq = ?", (seq,), "done"
        )

    def failed(self, seq: int, next_at: float, error: str) -> None:
        """An attempt failed; it is tried again at `next_at`."""
        self._connection.execute(
            "update deliveries set attempts = attempts + 1, next_at = ?, error = ? where seq = ?", (next_at, error, seq)
        )

    def dead(self, endpoint: str, seq: int, error: str) -> None:
        """It is given up."""
        self._end(
            endpoint,
            "update deliveries set state = 'dead', attempts = attempts + 1, error = ? where seq = ?",
            (error, seq),
            "dead",
        )

    def _end(self, endpoint: str, statement: str, values: tuple[object, ...], state: str) -> None:
        with _Transaction(self._connection) as run:
            run.execute(statement, values)
            run.execute(
                "delete from deliveries where seq in (select seq from deliveries where endpoint = ? and state = ? "
                "order by seq desc limit -1 offset ?)",
                (endpoint, state, KEPT_MAX),
            )

    def dead_letters(self, endpoint: str, after: int, limit: int) -> list[Delivery]:
        """Those given up, in order, behind the one of number `after`."""
        rows = self._connection.execute(
            "select seq, id, event, body, made_at, attempts, next_at, error from deliveries "
            "where endpoint = ? and state = 'dead' and seq > ? order by seq limit ?",
            (endpoint, after, limit),
        ).fetchall()
        return [Delivery(*row) for row in rows]

    def revive(self, endpoint: str, now: float) -> int:
        """Has those given up tried once more; returns how many."""
        return self._connection.execute(
            "update deliveries set state = 'pending', attempts = 0, next_at = 0, made_at = ? "
            "where endpoint = ? and state = 'dead'",
            (now, endpoint),
        ).rowcount

    def backlog(self, endpoint: str) -> Backlog:
        """How an endpoint stands."""
        pending, oldest_at = self._connection.execute(
            "select count(*), min(made_at) from deliveries where endpoint = ? and state = 'pending'", (endpoint,)
        ).fetchone()
        (dead,) = self._connection.execute(
            "select count(*) from deliveries where endpoint = ? and state = 'dead'", (endpoint,)
        ).fetchone()
        return Backlog(pending, dead, oldest_at)


class _Transaction:
    """Commits at the end of a `with` block, rolls back if it raises."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("begin immediate")
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._connection.execute("commit" if kind is None else "rollback")
