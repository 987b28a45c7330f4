"""The directory of people as one: those of the settings file, which stay as they are, and those kept by the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from connector.acd.directory import device_of
from connector.config_people import AgentSettings
from connector.store.directory import KeptPerson, Taken
from connector.web.ports import Conflict
from connector.web.rest.people import OwnInterface, Person, Source


class Kept(Protocol):
    """The kept people; `store.directory.KeptDirectory` is one."""

    async def people(self) -> list[KeptPerson]:
        """All, by id."""
        ...

    async def add(self, person: KeptPerson, *, now: float) -> None:
        """Adds one; raises `Taken`."""
        ...

    async def replace(self, person: KeptPerson, *, now: float) -> None:
        """Changes one; raises `Taken` and KeyError."""
        ...

    async def remove(self, person_id: str) -> None:
        """Removes one; raises KeyError."""
        ...


class WholeDirectory:
    """People by id; each interface has one owner.

    Args:
        settings: People of the settings file.
        pbxs: Names of the PBXs.
        kept: The kept people.
        clock: Seconds since the epoch.
        changed: Told all people after each change, so that the live state learns of it.
    """

    def __init__(
        self,
        settings: Mapping[str, AgentSettings],
        pbxs: Sequence[str],
        kept: Kept,
        *,
        clock: Callable[[], float],
        changed: Callable[[Sequence[Person]], None],
    ) -> None:
        self._fixed = {id_: _of_settings(id_, each, pbxs) for id_, each in settings.items()}
        self._one_by_one = asyncio.Lock()
        """Nobody else may take an interface between the look at who has it and the taking."""
        self._kept = kept
        self._clock = clock
        self._changed = changed

    async def people(self) -> Sequence[Person]:
        """All, by id. Where the settings name somebody who was kept, the settings count."""
        kept = {each.id: _of_kept(each) for each in await self._kept.people()}
        return [person for _, person in sorted({**kept, **self._fixed}.items())]

    async def add(self, person: Person) -> None:
        """Adds one; raises `Conflict`."""
        async with self._one_by_one:
            known = await self.people()
            if any(each.id == person.id for each in known):
                raise Conflict(f"There is a person {person.id} already.")
            _check(person, known)
            await self._keep(self._kept.add, person)

    async def replace(self, person: Person) -> None:
        """Changes one; raises `Conflict`, and KeyError if there is none of that id."""
        self._check_free(person.id)
        async with self._one_by_one:
            _check(person, await self.people())
            await self._keep(self._kept.replace, person)

    async def remove(self, person: str) -> None:
        """Removes one; raises `Conflict`, and KeyError if there is none of that id."""
        self._check_free(person)
        async with self._one_by_one:
            await self._kept.remove(person)
            self._changed(await self.people())

    async def _keep(self, how: Callable[..., Awaitable[None]], person: Person) -> None:
        kept = KeptPerson(
            id=person.id,
            name=person.name,
            teams=person.teams,
            skills=person.skills,
            interfaces=tuple((own.pbx, own.interface) for own in person.interfaces),
            source=person.source.value,
        )
        try:
            await how(kept, now=self._clock())
        except Taken as taken:
            raise Conflict(f"{taken.name} belongs to {taken.owner}; {person.id} cannot have it too.") from None
        self._changed(await self.people())

    def _check_free(self, person: str) -> None:
        if person in self._fixed:
            raise Conflict(f"{person} is in the settings file, as agent.{person}, and can be changed only there.")


def _check(person: Person, known: Sequence[Person]) -> None:
    """Refuses a device that somebody else has, however it is written: Local/7@agents is that of Local/7@agents/n."""
    owners = {
        (own.pbx, device_of(own.interface)): each for each in known if each.id != person.id for own in each.interfaces
    }
    for own in person.interfaces:
        owner = owners.get((own.pbx, device_of(own.interface)))
        if owner is not None:
            where = ", by the settings file" if owner.source is Source.CONFIG else ""
            raise Conflict(f"{own.interface} belongs to {owner.id}{where}; {person.id} cannot have it too.")


def _of_settings(id_: str, settings: AgentSettings, pbxs: Sequence[str]) -> Person:
    return Person(
        id=id_,
        name=settings.name or id_,
        teams=settings.teams,
        skills=settings.skills,
        interfaces=tuple(
            OwnInterface(pbx=pbx, interface=interface)
            for pbx in ([settings.pbx] if settings.pbx else pbxs)
            for interface in settings.interfaces
        ),
        source=Source.CONFIG,
    )


def _of_kept(kept: KeptPerson) -> Person:
    return Person(
        id=kept.id,
        name=kept.name,
        teams=kept.teams,
        skills=kept.skills,
        interfaces=tuple(OwnInterface(pbx=pbx, interface=interface) for pbx, interface in kept.interfaces),
        source=Source(kept.source),
    )
