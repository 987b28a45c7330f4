"""The tables come from nothing, say what the schema says, and whose fault an error is."""

from __future__ import annotations

import asyncio

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
