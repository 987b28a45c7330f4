"""The directory of people as one: those of the settings file, which stay as they are, and those kept by the store."""

from __future__ import annotations

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
        self._owners = {
            (own.pbx, device_of(own.interface)): person.id
            for person in self._fixed.values()
            for own in person.interfaces
        }
        self._kept = kept
        self._clock = clock
        self._changed = changed

    async def people(self) -> Sequence[Person]:
        """All, by id. Where the settings name somebody who was kept, the settings count."""
        kept = {each.id: _of_kept(each) for each in await self._kept.people()}
        return [person for _, person in sorted({**kept, **self._fixed}.items())]

    async def add(self, person: Person) -> None:
        """Adds one; raises `Conflict`."""
        self._check(person)
        if person.id in self._fixed or any(each.id == person.id for each in await self._kept.people()):
            raise Conflict(f"There is a person {person.id} already.")
        await self._keep(self._kept.add, person)

    async def replace(self, person: Person) -> None:
        """Changes one; raises `Conflict`, and KeyError if there is none of that id."""
        self._check_free(person.id)
        self._check(person)
        await self._keep(self._kept.replace, person)

    async def remove(self, person: str) -> None:
        """Removes one; raises `Conflict`, and KeyError if there is none of that id."""
        self._check_free(person)
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

    def _check(self, person: Person) -> None:
        for own in person.interfaces:
            owner = self._owners.get((own.pbx, device_of(own.interface)))
            if owner is not None and owner != person.id:
                raise Conflict(f"{own.interface} belongs to {owner}, by the settings file; {person.id} cannot have it.")


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
