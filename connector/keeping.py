"""Between the database and the live side: what is kept is learned at the start, what runs is kept from time to time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from connector.acd.agents import running
from connector.asterisk.link import PbxLink
from connector.events import DirectoryChanged, Person
from connector.store.writer import Writer
from connector.streams.book import ProfileBook
from connector.web.directory import WholeDirectory
from connector.web.rest.people import Person as KnownPerson

log = structlog.get_logger()

RETRY_S = 5.0
"""Before the kept profiles and people are asked for again after a fault."""

RUNNING_EVERY_S = 300.0
"""Between writings of what agents do now."""


class Keeping:
    """Profiles and people from the database; what agents do now into it.

    Args:
        writer: Of the database.
        book: The profiles.
        links: The PBXs by name.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, *, writer: Writer, book: ProfileBook, links: Mapping[str, PbxLink], clock: Callable[[], float]
    ) -> None:
        self._writer = writer
        self._book = book
        self._links = links
        self._clock = clock

    async def learn(self, directory: WholeDirectory) -> None:
        """Reads profiles and people, once the database can be reached."""
        while True:
            await self._writer.up.wait()
            try:
                await self._book.load()
                self.people_changed(await directory.people())
            except (SQLAlchemyError, OSError) as error:
                log.warning("kept_unknown", error=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return

    def people_changed(self, people: Sequence[KnownPerson]) -> None:
        """Tells each PBX's live state who has which interface there."""
        for name, link in self._links.items():
            here = tuple(
                Person(
                    id=person.id,
                    name=person.name,
                    teams=person.teams,
                    skills=person.skills,
                    interfaces=tuple(own.interface for own in person.interfaces if own.pbx == name),
                )
                for person in people
            )
            link.tell(DirectoryChanged(pbx=name, at=self._clock(), people=here))

    async def run(self) -> None:
        """Writes what agents do now from time to time, so that a crash costs little of it."""
        while True:
            await asyncio.sleep(RUNNING_EVERY_S)
            self.put_running()

    def put_running(self) -> None:
        """Writes what agents do now."""
        for link in self._links.values():
            for interval in running(link.state, self._clock()):
                self._writer.put(interval)
