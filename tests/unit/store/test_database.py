"""The tables come from nothing, say what the schema says, and whose fault an error is."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from connector.store.database import BadUrl, Database, async_url, is_about_the_data, why
from connector.store.schema import metadata


async def test_from_empty_the_migrations_make_what_the_schema_says(url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        return list(compare_metadata(context, metadata))

    database = Database(url)
    await database.migrate()
    await database.migrate()
    async with database.read() as connection:
        assert await connection.run_sync(differences) == []
        names = await connection.run_sync(lambda connection: inspect(connection).get_table_names())
    assert set(names) == {*metadata.tables, "alembic_version"}
    await database.close()


async def test_two_that_start_at_once_do_not_get_in_each_others_way(url: str) -> None:
    if url.startswith("sqlite"):
        return  # one connector owns the file
    databases = [Database(url) for _ in range(4)]
    await asyncio.gather(*(database.migrate() for database in databases))
    for database in databases:
        await database.close()


async def test_sqlite_readers_do_not_wait_for_the_writer(tmp_path: object) -> None:
    database = Database(f"sqlite:///{tmp_path}/deep/down/history.sqlite")
    await database.migrate()
    async with database.read() as connection:
        assert (await connection.execute(text("PRAGMA journal_mode"))).scalar() == "wal"
    await database.close()


async def test_of_a_connection_whose_user_was_cancelled_nothing_is_left_after_the_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's driver has a thread for each connection, which fails where the loop that it answers has ended."""
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect
    opening, go_on = threading.Event(), threading.Event()

    def slow(*where: Any, **how: Any) -> sqlite3.Connection:
        opening.set()
        go_on.wait(10)
        return connect(*where, **how)

    async def read() -> None:
        async with database.read():
            raise AssertionError("it was cancelled before")

    before = set(threading.enumerate())
    database = Database(f"sqlite:///{tmp_path}/h.sqlite")
    monkeypatch.setattr(sqlite3, "connect", slow)
    reading = asyncio.create_task(read())
    await asyncio.to_thread(opening.wait, 10)
    (driver,) = [thread for thread in set(threading.enumerate()) - before if "connection_worker" in thread.name]
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    go_on.set()
    await closing
    assert not driver.is_alive()


def test_urls_get_their_driver_and_keep_their_password_to_themselves() -> None:
    assert async_url("sqlite:////x/y.sqlite").drivername == "sqlite+aiosqlite"
    assert async_url("postgresql://u@h/d", "geheim").password == "geheim"
    assert async_url("postgresql+asyncpg://u@h/d").drivername == "postgresql+asyncpg"
    assert "geheim" not in Database("postgresql://u@h/d", password="geheim").name
    with pytest.raises(BadUrl, match="no URL of a database"):
        async_url("what")
    with pytest.raises(BadUrl, match="asynchronous SQLAlchemy driver"):
        Database("nosuch://h/d")


async def test_whose_fault_an_error_is(database: Database) -> None:
    async def fails(statement: str, **values: object) -> Exception:
        with pytest.raises(Exception) as failed:
            async with database.write() as connection:
                await connection.execute(text(statement), values)
        return failed.value

    about_data = await fails("INSERT INTO marks (pbx, heard_until) VALUES ('a', 1), ('a', 1)")
    assert is_about_the_data(about_data)
    gone = await fails("SELECT * FROM no_such_table")
    assert not is_about_the_data(gone)
    assert "no_such_table" in why(gone)
    assert "SELECT" not in why(gone)
    assert not is_about_the_data(ConnectionRefusedError(111, "refused"))
    assert not is_about_the_data(TimeoutError())
    assert why(TimeoutError()) == "TimeoutError"
