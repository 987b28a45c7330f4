"""Gaps are filled from queue_log: what ended while nobody listened becomes records, marked as recovered.

A gap is read with some slack on both sides; calls that were heard live come out of the merge unchanged. Until when a
PBX was heard is kept in the database, so a restart, a crash too, is a gap like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final

import msgspec
import structlog
from sqlalchemy import select

from connector.events import EventsMissed, LinkChanged, LinkState
from connector.records import CallRecord
from connector.store import schema
from connector.store.database import Database, why
from connector.store.keep import upsert
from connector.store.queue_log import LogLine, Reader, Recovered
from connector.store.queue_log_source import read_files, read_table

log = structlog.get_logger()

LOOKBACK_S: Final = 4 * 3600.0
"""Before the gap: a call that fell into it joined its queue no earlier."""
SLACK_S: Final = 300.0
"""A dead link is noticed late, and a call whose wrap-up runs is not written yet when the process dies."""
SETTLE_S: Final = 3.0
"""After the link is up again: the lists are being read, and the log is written a moment after the events."""
AGAIN_S: Final = 30.0
"""Calls of the gap that were not over are looked for again after it."""
WRITTEN_S: Final = 5.0
"""A call that ended only now may be heard live, and be on its way into the database under a linkedid not yet known."""
ENDED_MAX: Final = 20_000
"""Callers whose calls ended lately and may be on their way into the database; the oldest are forgotten."""
GIVE_UP_S: Final = 12 * 3600.0
"""A call whose end never comes to the log."""
MARK_EVERY_S: Final = 30.0
MARK_RETRY_S: Final = 1.0
LOOKUP_AT_ONCE: Final = 1_000


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where queue_log is.

    Attributes:
        place: Path of the file, or URL of the database that has the table queue_log.
        password: Of the database.
        zone: Of the table's times.
    """

    place: str
    password: str = ""
    zone: tzinfo = UTC


AgentOf = Callable[[str, str], str]
"""The agent's id of a queue and member name."""


async def recover(
    source: Source,
    *,
    pbx: str,
    since: float,
    until: float,
    agent_of: AgentOf = lambda queue, member: member,
    linkedid_of: Callable[[str], str] = lambda uniqueid: uniqueid,
) -> Recovered:
    """Reads the calls of a gap.

    Args:
        source: Where queue_log is.
        pbx: Name of the PBX in the settings.
        since: Begin of the gap, seconds since the epoch.
        until: Its end.
        agent_of: The agent's id of a queue and member name.
        linkedid_of: The linkedid of a caller's uniqueid, where it is known.

    Raises:
        OSError: The file cannot be read.
        Exception: What the database raises.
    """
    reader = Reader(pbx, since=since, agent_of=agent_of, linkedid_of=linkedid_of)
    first = since - LOOKBACK_S
    if "://" in source.place:

        def take(lines: list[LogLine]) -> None:
            reader.read(lines)

        await read_table(source.place, first, password=source.password, zone=source.zone, take=take)
    else:
        await asyncio.to_thread(lambda: reader.read(read_files(Path(source.place), first)))
    return reader.result(until)


class Recovery:
    """Watches one PBX for gaps and fills them.

    Args:
        pbx: Its name in the settings.
        source: Where its queue_log is; None: gaps stay.
        database: For the mark and for linkedids.
        writable: Set while the database can be used.
        put: Takes a recovered call that is over.
        recall: Takes every recovered call, as far as it has come, again and again, and whether it is over.
        agent_of: The agent's id of a queue and member name.
        linkedid_of: The linkedid of a channel that is there now, or None.
        clock: Seconds since the epoch.
        settle_s: See SETTLE_S.
        again_s: See AGAIN_S.

    Attributes:
        calls_read_total: Calls that were read from queue_log; those heard live, too, are among them.
        failures: Attempts that failed.
    """

    def __init__(
        self,
        *,
        pbx: str,
        source: Source | None,
        database: Database,
        writable: asyncio.Event,
        put: Callable[[CallRecord], None],
        recall: Callable[[CallRecord, bool], None],
        agent_of: AgentOf,
        linkedid_of: Callable[[str], str | None],
        clock: Callable[[], float],
        settle_s: float = SETTLE_S,
        again_s: float = AGAIN_S,
    ) -> None:
        self.calls_read_total = 0
        self.failures = 0
        self._pbx = pbx
        self._source = source
        self._database = database
        self._writable = writable
        self._put = put
        self._recall = recall
        self._agent_of = agent_of
        self._linkedid_of = linkedid_of
        self._clock = clock
        self._settle_s = settle_s
        self._again_s = again_s
        self._gap: float | None = None
        """Begin of a gap that nobody has looked at yet; infinite where only the mark knows it."""
        self._since: float | None = None
        """Begin of the gap that is being filled."""
        self._given: dict[str, float] = {}
        """End of each call that was put, so that looking again puts only what is new."""
        self._ended: dict[str, str] = {}
        """Linkedid by uniqueid of callers heard live, oldest first: between the live state and the database."""
        self._gap_seen = asyncio.Event()
        self._up = False
        self._lost_at: float | None = None
        self._started = False
        self._failure = ""

    def on_event(self, event: object) -> None:
        """For the bus: notes where a gap begins and ends, and whose call has ended."""
        match event:
            case LinkChanged(pbx=self._pbx, link="ami", state=LinkState.UP):
                self._up = True
                if self._lost_at is not None:
                    self._add_gap(self._lost_at)
                    self._lost_at = None
                elif not self._started:
                    self._add_gap(float("inf"))  # from the mark on
                self._started = True
            case LinkChanged(pbx=self._pbx, link="ami"):
                if self._up:
                    self._lost_at = event.at
                self._up = False
            case EventsMissed(pbx=self._pbx):
                self._add_gap(event.at)
            case CallRecord(pbx=self._pbx):
                for visit in event.visits:
                    self._ended[visit.uniqueid] = event.linkedid
                while len(self._ended) > ENDED_MAX:
                    del self._ended[next(iter(self._ended))]
            case _:
                pass

    def _add_gap(self, since: float) -> None:
        if self._source is None:
            return
        self._gap = since if self._gap is None else min(since, self._gap)
        self._gap_seen.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self._source is not None:
                tasks.create_task(self._fill_gaps(self._source), name=f"{self._pbx}-recovery")
            tasks.create_task(self._keep_mark(), name=f"{self._pbx}-heard-until")

    # -- gaps -----------------------------------------------------------------------------------------------------

    async def _fill_gaps(self, source: Source) -> None:
        while True:
            try:
                async with asyncio.timeout(None if self._since is None else self._again_s):
                    await self._gap_seen.wait()
            except TimeoutError:
                pass
            self._gap_seen.clear()
            await self._writable.wait()
            if self._gap is not None:
                await asyncio.sleep(self._settle_s)
                since, self._gap = min(self._gap, await self._mark()), None
                if since < float("inf"):  # else nothing was ever heard: there is no gap
                    self._since = min(since - SLACK_S, self._since or float("inf"))
            if self._since is not None and not await self._fill(source, self._since):
                self._since = None
                self._given.clear()

    async def _fill(self, source: Source, since: float) -> bool:
        """Fills a gap; whether to look again, for calls that were not over or because it failed."""
        now = self._clock()
        try:
            found = await recover(source, pbx=self._pbx, since=since, until=now, agent_of=self._agent_of)
            new = [call for call in found.calls if self._given.get(call.linkedid) != call.at]
            fresh = [call for call in new if not 0 <= now - call.at < WRITTEN_S]
            linkedids = await self._linkedids([call.linkedid for call in fresh])
        except Exception as error:  # drivers raise errors of their own; the gap stays and is tried again
            self.failures += 1
            if self._failure != (failure := why(error)):
                self._failure = failure
                log.error("queue_log_unreadable", pbx=self._pbx, place=source.place, error=failure)
            return now - since < GIVE_UP_S
        self._failure = ""
        for call in fresh:
            self._given[call.linkedid] = call.at
            self._put(msgspec.structs.replace(call, linkedid=linkedids.get(call.linkedid, call.linkedid)))
            self._recall(call, True)
        for call in found.running:
            self._recall(call, False)
        self.calls_read_total += len(fresh)
        log.info(
            "gap_read_from_queue_log",
            pbx=self._pbx,
            since=since,
            calls=len(fresh),
            running=len(found.running),
            given_up=found.given_up,
        )
        return (bool(found.running) or len(fresh) < len(new)) and now - since < GIVE_UP_S

    async def _linkedids(self, uniqueids: list[str]) -> dict[str, str]:
        """The linkedids under which these callers' calls are known: live, ended a moment ago, or kept."""
        known: dict[str, str] = {}
        visits, calls = schema.visits.c, schema.calls.c
        async with self._database.read() as connection:
            for start in range(0, len(uniqueids), LOOKUP_AT_ONCE):
                some = uniqueids[start : start + LOOKUP_AT_ONCE]
                found = await connection.execute(
                    select(visits.uniqueid, calls.linkedid)
                    .join_from(schema.visits, schema.calls, visits.call_key == calls.key)
                    .where(visits.pbx == self._pbx, visits.uniqueid.in_(some))
                )
                known.update((row.uniqueid, row.linkedid) for row in found)
        live = ((uniqueid, self._linkedid_of(uniqueid)) for uniqueid in uniqueids)
        ended = {uniqueid: self._ended[uniqueid] for uniqueid in uniqueids if uniqueid in self._ended}
        return known | ended | {uniqueid: linkedid for uniqueid, linkedid in live if linkedid is not None}

    # -- the mark -------------------------------------------------------------------------------------------------

    async def _mark(self) -> float:
        """Until when events were heard before, as kept; infinite where nothing is."""
        marks = schema.marks.c
        try:
            async with self._database.read() as connection:
                found = await connection.execute(select(marks.heard_until).where(marks.pbx == self._pbx))
                heard = found.scalar()
        except Exception as error:  # as above
            log.warning("mark_unreadable", pbx=self._pbx, error=why(error))
            return float("inf")
        return float("inf") if heard is None else float(heard)

    async def _keep_mark(self) -> None:
        while True:
            kept = await self.keep_mark()
            await asyncio.sleep(MARK_EVERY_S if kept else MARK_RETRY_S)

    async def keep_mark(self) -> bool:
        """Notes that all was heard until now; whether it did. Not while a gap is open or the database away."""
        if not self._up or self._gap is not None or self._since is not None or not self._writable.is_set():
            return False
        row = {"pbx": self._pbx, "heard_until": self._clock()}
        try:
            async with self._database.write() as connection:
                await upsert(connection, schema.marks, [row])
        except Exception as error:  # the writer says that the database is away
            log.debug("mark_not_kept", pbx=self._pbx, error=why(error))
            return False
        return True
