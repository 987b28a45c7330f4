"""The database: one engine for both kinds, its migrations, and what an error of it means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import quote

import aiosqlite
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
_MIGRATIONS: Final = Path(__file__).with_name("migrations")
_MIGRATION_LOCK: Final = 0x61737465  # any number that is ours: two connectors of one PostgreSQL start at once
CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 30.0
"""A database that does not answer is a dead one; a batch takes milliseconds."""


class BadUrl(ValueError):
    """The URL names no database that can be used; the message says what can."""


class NewerTables(Exception):
    """The tables are of a newer version of the connector; nothing was touched."""

    def __init__(self) -> None:
        super().__init__(
            "the database belongs to a newer version of the connector, and tables are never altered backwards: start "
            "that version again, or put back the copy that was made before the upgrade (docs/install.md)"
        )


class Database:
    """Opens connections to one database.

    Args:
        url: `sqlite:////absolute/path.sqlite` or `postgresql://user@host/name`, with or without a driver.
        password: Goes into the URL; empty for none.
        foreign: It belongs to somebody else: it is read, and nothing about it is changed.
    """

    def __init__(self, url: str, *, password: str = "", foreign: bool = False) -> None:
        self._url = async_url(url, password)
        self._threads: list[Thread] = []
        """Of SQLite's driver, one a connection."""
        self.engine: AsyncEngine = _engine(self._url, foreign=foreign, opened=self._opened)

    @property
    def name(self) -> str:
        """The URL without its password, for people."""
        return self._url.render_as_string(hide_password=True)

    async def migrate(self) -> None:
        """Brings the tables to the state this version needs; nothing if they are.

        Raises:
            NewerTables: A newer version has altered them.
            Exception: As of any access, see `is_about_the_data`.
        """
        if self._url.get_backend_name() == "sqlite" and self._url.database:
            await asyncio.to_thread(Path(self._url.database).parent.mkdir, parents=True, exist_ok=True)
        async with self.engine.connect() as connection:
            await connection.run_sync(_upgrade)
            await connection.commit()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: everything in it is kept, or nothing."""
        async with self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with."""
        async with self.engine.connect() as connection:
            yield connection

    async def close(self) -> None:
        """Closes all connections. Nothing of them is left when it returns."""
        await self.engine.dispose()
        # A connection whose user was cancelled is let go at once, and its thread ends when SQLite has answered it: it
        # then tells the loop, which must still be there.
        while self._threads:
            thread = self._threads.pop()
            if thread.is_alive():
                await asyncio.to_thread(thread.join, COMMAND_TIMEOUT_S)

    def _opened(self, thread: Thread) -> None:
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]


def async_url(url: str, password: str = "") -> URL:
    """Parses a URL and names the driver that this package uses for its kind of database.

    Raises:
        BadUrl: It cannot be parsed.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise BadUrl("is no URL of a database, such as sqlite:////var/lib/connector/history.sqlite") from None
    parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
    return parsed.set(password=password) if password else parsed


def is_about_the_data(error: BaseException) -> bool:
    """Whether the data is to blame, so that trying again cannot help; else the database is, and trying again can."""
    if isinstance(error, (IntegrityError, DataError)):
        return True
    if isinstance(error, DBAPIError):
        # asyncpg's errors of class 22 and 23 (PostgreSQL, appendix A) do not all become DataError.
        return str(getattr(error.orig, "sqlstate", None) or "")[:2] in ("22", "23")
    if isinstance(error, StatementError):
        return True
    return isinstance(error, (ValueError, TypeError, OverflowError, LookupError, AttributeError))


def why(error: BaseException) -> str:
    """One line for the operator: the driver's own words, without the statement and its data."""
    cause = getattr(error, "orig", None) or error
    words = str(cause).strip().splitlines()
    return words[0].removeprefix("<class 'asyncpg.exceptions.") if words else type(cause).__name__


def _engine(url: URL, *, foreign: bool, opened: Callable[[Thread], None]) -> AsyncEngine:
    arguments: dict[str, Any] = {}
    is_sqlite = url.get_backend_name() == "sqlite"

    def connect_sqlite(*where: Any, **how: Any) -> aiosqlite.Connection:
        connection = aiosqlite.connect(*where, **how)
        connection._thread.daemon = True  # as SQLAlchemy has it
        opened(connection._thread)
        return connection

    if is_sqlite:
        arguments = {"connect_args": {"async_creator_fn": connect_sqlite}}
    if is_sqlite and foreign and url.database:
        path = quote(str(Path(url.database).absolute()))
        url = url.set(database=f"file:{path}").update_query_dict({"mode": "ro", "uri": "true"})
    if url.get_backend_name() == "postgresql":
        arguments = {
            "connect_args": {"timeout": CONNECT_TIMEOUT_S, "command_timeout": COMMAND_TIMEOUT_S},
            "pool_pre_ping": True,
            "pool_timeout": CONNECT_TIMEOUT_S,
        }
    try:
        engine = create_async_engine(url, **arguments)
    except (NoSuchModuleError, ModuleNotFoundError, ArgumentError) as error:
        raise BadUrl(
            f"{url.render_as_string()}: {error}; sqlite:// and postgresql:// work as they are, "
            "any other needs its asynchronous SQLAlchemy driver installed and named, for example mysql+aiomysql://"
        ) from None
    if is_sqlite and not foreign:
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    # WAL: readers never wait for the writer. NORMAL: a power cut can cost the last transactions, never the file.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
    config = alembic_config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if not known.issuperset(MigrationContext.configure(connection).get_current_heads()):
        raise NewerTables
    command.upgrade(config, "head")


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for an open connection; no file is read."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
