"""Profiles that were added at run time: every version that there ever was, none overwritten."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import desc, func, select
from sqlalchemy.exc import IntegrityError

from connector.store import schema
from connector.store.clean import clean_text
from connector.store.database import Database


class KeptProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a profile.

    Attributes:
        name: Of the profile.
        version: Counts from 1.
        at: When it was made, seconds since the epoch.
        by: Who made it.
        settings: Whole, with its secrets; None if the profile was removed.
    """

    name: str
    version: int
    at: float
    by: str
    settings: dict[str, Any] | None


class Outdated(Exception):
    """The profile was changed by somebody else.

    Attributes:
        name: Of the profile.
        version: The one that there is now, 0 for none.
    """

    def __init__(self, name: str, version: int) -> None:
        super().__init__(f"{name} is at version {version} now: read it again, and change that.")
        self.name, self.version = name, version


class KeptProfiles:
    """Reads and adds versions.

    Args:
        database: Shared with the history.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def current(self) -> list[KeptProfile]:
        """The last version of each that is not removed, by name."""
        table = schema.profile_versions
        last = select(table.c.name, func.max(table.c.version).label("version")).group_by(table.c.name).subquery()
        newest = select(table).join(last, (table.c.name == last.c.name) & (table.c.version == last.c.version))
        async with self._database.read() as connection:
            rows = (await connection.execute(newest.order_by(table.c.name))).mappings()
            return [_profile(row) for row in rows if row["settings"] is not None]

    async def versions(self, name: str) -> list[KeptProfile]:
        """Every version of one, the latest first."""
        table = schema.profile_versions
        async with self._database.read() as connection:
            rows = await connection.execute(select(table).where(table.c.name == name).order_by(desc(table.c.version)))
            return [_profile(row) for row in rows.mappings()]

    async def put(self, profile: KeptProfile) -> None:
        """Adds a version.

        Raises:
            Outdated: There is such a one already: another connector on this database was faster.
        """
        row = {
            "name": profile.name,
            "version": profile.version,
            "at": profile.at,
            "by": clean_text(profile.by),
            "settings": None if profile.settings is None else msgspec.json.encode(profile.settings).decode(),
        }
        try:
            async with self._database.write() as connection:
                await connection.execute(schema.profile_versions.insert(), [row])
        except IntegrityError:
            raise Outdated(profile.name, profile.version) from None


def _profile(row: Any) -> KeptProfile:
    settings = row["settings"]
    return KeptProfile(
        name=row["name"],
        version=row["version"],
        at=row["at"],
        by=row["by"],
        settings=None if settings is None else msgspec.json.decode(settings),
    )
