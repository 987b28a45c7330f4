"""History as one part of the connector: writer, recoveries and questions around one database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from connector.config import PbxSettings, Settings
from connector.config_people import queue_settings
from connector.events import EventsMissed, LinkChanged
from connector.records import AgentInterval, CallRecord
from connector.store.accounts import KeptAccounts
from connector.store.aggregates import Target
from connector.store.database import Database
from connector.store.directory import KeptDirectory
from connector.store.profiles import KeptProfiles
from connector.store.queries import History
from connector.store.recall import recall
from connector.store.recovery import Recovery, Source
from connector.store.retention import RetentionDays
from connector.store.spool import Spool
from connector.store.writer import RECORDS, Writer


@dataclass(frozen=True, slots=True)
class LiveView:
    """What history asks of the live state, and gives to it.

    Attributes:
        agent_of: The agent's id of a PBX's queue and member name.
        linkedid_of: The linkedid of a PBX's channel that is there now, or None.
        day_began: When the earliest day that is counted began, seconds since the epoch.
        recall: Takes what is known of the past, and whether it is over; twice is as good as once.
    """

    agent_of: Callable[[str, str, str], str]
    linkedid_of: Callable[[str, str], str | None]
    day_began: Callable[[], float]
    recall: Callable[[CallRecord | AgentInterval, bool], None]


class Store:
    """Owns the database. `run` is awaited by its owner, `stop` lets it end.

    Args:
        settings: All of them.
        live: The live state.
        clock: Seconds since the epoch.
        monotonic: Seconds, for waits.

    Attributes:
        takes: What of the bus matters to it.
        history: Questions.
        directory: The kept people.
        profiles: The kept profiles.
        accounts: Who may log in.
        writer: With its figures.
        recoveries: By name of the PBX.
    """

    takes = (*RECORDS, LinkChanged, EventsMissed)

    def __init__(
        self,
        settings: Settings,
        *,
        live: LiveView,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._live = live
        self._clock = clock
        self._began = clock()
        self._database = open_database(settings)
        self._stopping = asyncio.Event()
        self.history = History(self._database)
        self.directory = KeptDirectory(self._database)
        self.profiles = KeptProfiles(self._database)
        self.accounts = KeptAccounts(self._database)
        self.writer = Writer(
            database=self._database,
            spool=Spool(settings.store.directory / "spool", settings.store.spool_max_bytes),
            retention=RetentionDays(**settings.store.retention_days.model_dump()),
            target_of=self._target_of,
            clock=clock,
            monotonic=monotonic,
        )
        self.recoveries = {name: self._recovery(name, pbx) for name, pbx in settings.pbx.items()}

    def on_event(self, item: object) -> None:
        """For the bus: records are kept, gaps noted."""
        self.writer.on_event(item)
        for recovery in self.recoveries.values():
            recovery.on_event(item)

    async def run(self) -> None:
        """Runs until `stop`; then writes or spools what is left."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.writer.run(), name="history-writer")
            recoveries = [
                tasks.create_task(each.run(), name=f"{name}-recovery") for name, each in self.recoveries.items()
            ]
            recalls = [tasks.create_task(self._recall(name), name=f"{name}-recall") for name in self._settings.pbx]
            await self._stopping.wait()
            for task in (*recoveries, *recalls):
                task.cancel()
            await asyncio.wait((*recoveries, *recalls))
            for recovery in self.recoveries.values():
                await recovery.keep_mark()
            self.writer.stop()

    @property
    def database_name(self) -> str:
        """Its URL without a password."""
        return self._database.name

    def stop(self) -> None:
        """Lets `run` end."""
        self._stopping.set()

    def _target_of(self, pbx: str, queue: str) -> Target:
        found = queue_settings(self._settings.queue_default, self._settings.queue, queue)
        return Target(found.target_seconds, found.short_abandon_seconds)

    async def _recall(self, pbx: str) -> None:
        await recall(
            self.history,
            self.writer.up,
            pbx=pbx,
            since=self._live.day_began(),
            until=self._began,
            take=lambda record: self._live.recall(record, True),
        )

    def _recovery(self, name: str, pbx: PbxSettings) -> Recovery:
        return Recovery(
            pbx=name,
            source=queue_log_of(pbx),
            database=self._database,
            writable=self.writer.up,
            put=self.writer.put,
            recall=self._live.recall,
            agent_of=lambda queue, member: self._live.agent_of(name, queue, member),
            linkedid_of=lambda uniqueid: self._live.linkedid_of(name, uniqueid),
            clock=self._clock,
        )


def open_database(settings: Settings) -> Database:
    """The database as the settings say; nothing is connected yet.

    Raises:
        BadUrl: It names none that can be used.
    """
    store = settings.store
    return Database(store.database_url, password=store.password.get_secret_value())


def queue_log_of(pbx: PbxSettings) -> Source | None:
    """Where a PBX's queue_log is, if the settings say so."""
    if not pbx.queue_log:
        return None
    password = pbx.queue_log_password.get_secret_value()
    return Source(place=pbx.queue_log, password=password, zone=ZoneInfo(pbx.queue_log_time_zone))
