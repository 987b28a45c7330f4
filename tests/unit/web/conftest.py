"""Servers for the tests of the HTTP side."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from connector.config import HttpSettings, WebhookSettings
from connector.config_people import AgentSettings
from connector.store.database import Database
from tests.unit.web.site import Pbxs, Site

MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with tables and no rows, made once."""
    path = tmp_path_factory.mktemp("history") / "empty.sqlite"

    async def make() -> None:
        database = Database(f"sqlite:///{path}")
        await database.migrate()
        await database.close()

    asyncio.run(make())
    return path


@pytest.fixture
async def make_site(empty_database: Path, tmp_path: Path) -> AsyncIterator[MakeSite]:
    """Starts servers with settings of the test's own, that need no log-in unless these say so; ends them."""
    open_sites: list[Site] = []

    async def make(
        pbxs: Pbxs | None = None,
        *,
        agents: dict[str, AgentSettings] | None = None,
        hooks: dict[str, WebhookSettings] | None = None,
        **http: Any,
    ) -> Site:
        database = tmp_path / f"{len(open_sites)}.sqlite"
        shutil.copy(empty_database, database)
        site = Site(
            HttpSettings(**{"anonymous": "admin", **http}), pbxs or Pbxs(), database, agents=agents, hooks=hooks
        )
        await site.__aenter__()
        open_sites.append(site)
        return site

    yield make
    for site in open_sites:
        await site.__aexit__()
