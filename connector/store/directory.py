"""The directory of people, as far as it is kept: those added by the API or learned. Each interface has one owner."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
from sqlalchemy import delete, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from connector.store import schema
from connector.store.clean import clean_text
from connector.store.database import Database
from connector.store.keep import upsert

Interface = tuple[str, str]
"""PBX and interface."""


class KeptPerson(msgspec.Struct, frozen=True, kw_only=True):
    """A person. `source` says where the entry came from: api or learned."""

    id: str
    name: str
    teams: tuple[str, ...] = ()
    skills: str = ""
    interfaces: tuple[Interface, ...] = ()
    source: str = "api"


class Taken(Exception):
    """Somebody has it already.

    Attributes:
        what: id or interface.
        name: The id, or the interface.
        owner: Id of who has it.
    """

    def __init__(self, what: str, name: str, owner: str) -> None:
        super().__init__(f"the {what} {name} belongs to {owner}: choose another, or take it from them first")
        self.what, self.name, self.owner = what, name, owner


class KeptDirectory:
    """Reads and changes the kept people.

    Args:
        database: Shared with the writer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def people(self) -> list[KeptPerson]:
        """All, by id."""
        async with self._database.read() as connection:
            return await _people(connection)

    async def add(self, person: KeptPerson, *, now: float) -> None:
        """Adds one.

        Raises:
            Taken: The id or an interface is somebody's.
        """
        try:
            async with self._database.write() as connection:
                await _refuse_taken_interfaces(connection, person)
                await connection.execute(schema.agents.insert(), [_row(person, now)])
                await _insert_interfaces(connection, person)
        except IntegrityError:  # by another who was faster, too
            raise Taken("id or an interface of", person.id, "somebody") from None

    async def replace(self, person: KeptPerson, *, now: float) -> None:
        """Changes one.

        Raises:
            Taken: An interface is somebody else's.
            KeyError: There is none of that id.
        """
        try:
            async with self._database.write() as connection:
                await _refuse_taken_interfaces(connection, person)
                found = await connection.execute(select(schema.agents.c.id).where(schema.agents.c.id == person.id))
                if found.first() is None:
                    raise KeyError(person.id)
                interfaces = schema.agent_interfaces
                await connection.execute(delete(interfaces).where(interfaces.c.agent_id == person.id))
                await upsert(connection, schema.agents, [_row(person, now)])
                await _insert_interfaces(connection, person)
        except IntegrityError:
            raise Taken("interface of", person.id, "somebody") from None

    async def remove(self, person_id: str) -> None:
        """Removes one.

        Raises:
            KeyError: There is none of that id.
        """
        async with self._database.write() as connection:
            gone = await connection.execute(delete(schema.agents).where(schema.agents.c.id == person_id))
            if not gone.rowcount:
                raise KeyError(person_id)
            interfaces = schema.agent_interfaces
            await connection.execute(delete(interfaces).where(interfaces.c.agent_id == person_id))


async def _people(connection: AsyncConnection) -> list[KeptPerson]:
    owned: defaultdict[str, list[Interface]] = defaultdict(list)
    table = schema.agent_interfaces
    for row in (await connection.execute(select(table).order_by(table.c.pbx, table.c.interface))).mappings():
        owned[row["agent_id"]].append((row["pbx"], row["interface"]))
    rows = (await connection.execute(select(schema.agents).order_by(schema.agents.c.id))).mappings()
    return [
        KeptPerson(
            id=row["id"],
            name=row["name"],
            teams=tuple(row["teams"]),
            skills=row["skills"],
            interfaces=tuple(owned[row["id"]]),
            source=row["source"],
        )
        for row in rows
    ]


async def _refuse_taken_interfaces(connection: AsyncConnection, person: KeptPerson) -> None:
    table = schema.agent_interfaces
    if not person.interfaces:
        return
    found = await connection.execute(
        select(table).where(
            tuple_(table.c.pbx, table.c.interface).in_(person.interfaces), table.c.agent_id != person.id
        )
    )
    for row in found.mappings():
        raise Taken("interface", row["interface"], row["agent_id"])


async def _insert_interfaces(connection: AsyncConnection, person: KeptPerson) -> None:
    rows = [{"pbx": pbx, "interface": interface, "agent_id": person.id} for pbx, interface in set(person.interfaces)]
    if rows:
        await connection.execute(schema.agent_interfaces.insert(), rows)


def _row(person: KeptPerson, now: float) -> dict[str, Any]:
    return {
        "id": person.id,
        "name": clean_text(person.name),
        "teams": list(person.teams),
        "skills": clean_text(person.skills),
        "source": person.source,
        "updated_at": now,
    }
