"""Who is who: people and the interfaces they use, each interface with one owner; pure.

A queue member or a channel belongs to the person who has its interface or its state interface, else to the one whose
name is the member's. Who is in no directory is a person of their own, known by interface: two members that share a
device are one person, two of the same name are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from connector.config_people import AgentSettings
from connector.events import Member, Person


class DirectoryError(ValueError):
    """A directory in which two people have the same id or interface; the text names them."""


@dataclass(frozen=True, slots=True)
class Interfaces:
    """Interfaces from the view of somebody who assigns them.

    Attributes:
        free: Nobody has them.
        allocated: Somebody has them.
        available: Free, and those of the person asked for.
    """

    free: tuple[str, ...]
    allocated: tuple[str, ...]
    available: tuple[str, ...]


class Directory:
    """People by id. Never changed: `put` and `without` give another.

    Args:
        people: Who there is.

    Raises:
        DirectoryError: An id or an interface is there twice.
    """

    def __init__(self, people: Iterable[Person] = ()) -> None:
        self.people: dict[str, Person] = {}
        self._owners: dict[str, Person] = {}
        names: dict[str, Person | None] = {}
        for person in people:
            if person.id in self.people:
                raise DirectoryError(f"there are two people with the id {person.id}")
            self.people[person.id] = person
            for interface in person.interfaces:
                owner = self._owners.setdefault(device_of(interface), person)
                if owner is not person:
                    raise DirectoryError(f"{interface} belongs to {owner.id} already; {person.id} cannot have it too")
            # A name that two people share tells nothing.
            names[person.name] = None if person.name in names else person
        self._names = {name: person for name, person in names.items() if person is not None}

    def put(self, person: Person) -> Directory:
        """With the person, in place of who had the id.

        Raises:
            DirectoryError: One of the interfaces is somebody else's.
        """
        return Directory({**self.people, person.id: person}.values())

    def without(self, person_id: str) -> Directory:
        """Without the person."""
        return Directory(person for person in self.people.values() if person.id != person_id)

    def owner(self, interface: str) -> Person | None:
        """Who has the interface."""
        return self._owners.get(device_of(interface))

    def person_of(self, member: Member) -> Person | None:
        """Whose member of a queue it is."""
        return (
            self._owners.get(device_of(member.state_interface))
            or self._owners.get(device_of(member.interface))
            or self._names.get(member.name)
        )

    def agent_id(self, member: Member) -> str:
        """Id under which a member's person is known, in the directory or not."""
        person = self.person_of(member)
        if person is not None:
            return person.id
        # A hint or a custom state is no interface that anybody would look for.
        return member.state_interface if "/" in member.state_interface else member.interface

    def interfaces(self, known: Iterable[str], person_id: str = "") -> Interfaces:
        """Which interfaces can be assigned.

        Args:
            known: All there are, such as the PBX's endpoints.
            person_id: For whom; empty for somebody new.
        """
        free: list[str] = []
        allocated: list[str] = []
        available: list[str] = []
        for interface in sorted(set(known)):
            owner = self.owner(interface)
            (free if owner is None else allocated).append(interface)
            if owner is None or owner.id == person_id:
                available.append(interface)
        return Interfaces(tuple(free), tuple(allocated), tuple(available))


def device_of(interface: str) -> str:
    """An interface without what only says how to dial it: the options of a Local channel."""
    return interface.rpartition("/")[0] if interface.count("/") > 1 and interface.startswith("Local/") else interface


def device_of_channel(channel: str) -> str:
    """The interface that a channel belongs to: PJSIP/alice of PJSIP/alice-0000002a."""
    return channel.rpartition("-")[0] or channel


def people_of(agents: dict[str, AgentSettings], pbx: str) -> tuple[Person, ...]:
    """The settings' people as far as they concern a PBX."""
    return tuple(
        Person(
            id=agent,
            name=settings.name or agent,
            teams=settings.teams,
            skills=settings.skills,
            interfaces=settings.interfaces,
        )
        for agent, settings in agents.items()
        if settings.pbx in ("", pbx)
    )
