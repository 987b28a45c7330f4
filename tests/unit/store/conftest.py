"""Both databases: a SQLite file, and a PostgreSQL of our own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from connector.lab.postgres import Postgres
from connector.store.aggregates import Target
from connector.store.database import Database
from connector.store.retention import RetentionDays
from connector.store.spool import Spool
from connector.store.writer import Writer


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One for the session; a test that stops it starts it again."""
    with Postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database, of one kind after the other."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/history.sqlite"
    running: Postgres = request.getfixturevalue("postgres")
    return running.new_url()


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """Migrated."""
    opened = Database(url)
    await opened.migrate()
    yield opened
    await opened.close()


MakeWriter = Callable[..., Writer]


@pytest.fixture
def make_writer(tmp_path: Path) -> MakeWriter:
    """Makes a writer to a URL; its clock stands still unless given."""

    def make(
        url: str, *, spool_bytes: int = 1 << 20, retention: RetentionDays | None = None, **options: object
    ) -> Writer:
        return Writer(
            database=Database(url),
            spool=Spool(tmp_path / "spool", spool_bytes),
            retention=retention or RetentionDays(),
            target_of=lambda pbx, queue: Target(20.0, 5.0),
            **{"clock": lambda: 1_000_000.0, "monotonic": time.monotonic, "retry_s": (0.05, 0.2), **options},  # type: ignore[arg-type]
        )

    return make
