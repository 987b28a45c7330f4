"""Keeps records behind the events: a bounded queue, batches, and a spool on disk while the database is away.

`put` costs an append and never waits. A task of its own writes; when the database fails it says so once, spools, tries
again, and catches up in order. Nothing is lost before a bound is reached, and what is lost is counted by cause.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from connector.records import AgentInterval, AuditRecord, CallRecord, Record, StreamRecord
from connector.store.aggregates import Aggregates, TargetOf
from connector.store.database import Database, is_about_the_data, why
from connector.store.keep import keep
from connector.store.retention import RetentionDays, prune_step
from connector.store.spool import Spool

log = structlog.get_logger()

RECORDS: Final = (CallRecord, AgentInterval, StreamRecord, AuditRecord)
WAITING_MAX: Final = 20_000
"""Records in memory; beyond it the oldest is dropped. Reached only if neither database nor disk takes any."""
BATCH_MAX: Final = 500
LINGER_S: Final = 0.2
"""How long the first record of a batch waits for company."""
SPOOL_EVERY_S: Final = 0.5
"""While the database is away: what a crash can cost."""
RETRY_S: Final = (1.0, 30.0)
"""First and longest wait before the database is tried again."""
PRUNE_EVERY_S: Final = 600.0
PRUNE_PAUSE_S: Final = 0.1


@dataclass(slots=True)
class WriterStats:
    """What the metrics read.

    Attributes:
        up: Whether the database takes records. False until the first migration is through.
        since: When that began, seconds since the epoch.
        detail: Why not, for the operator.
        written: Records kept, by table.
        dropped: Records lost, by cause: memory_full, spool_full, spool_corrupt, rejected.
        pruned: Rows removed by retention, by table.
        failures: How often the database became unusable.
        waiting: Records in memory.
        spooled: Records on disk.
        spool_bytes: Their size.
    """

    up: bool = False
    since: float = 0.0
    detail: str = "not opened yet"
    written: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    pruned: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    waiting: int = 0
    spooled: int = 0
    spool_bytes: int = 0


class Writer:
    """The one who writes history. `run` is awaited by its owner; `stop` lets it end.

    Args:
        database: Where to; opened and migrated here, whenever it lets us.
        spool: Where to meanwhile.
        retention: How long to keep what.
        target_of: What a queue is measured by.
        clock: Seconds since the epoch.
        monotonic: Seconds, for waits.
        waiting_max: Bound of the queue in memory.
        retry_s: First and longest wait before the database is tried again.
    """

    def __init__(
        self,
        *,
        database: Database,
        spool: Spool,
        retention: RetentionDays,
        target_of: TargetOf,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        waiting_max: int = WAITING_MAX,
        retry_s: tuple[float, float] = RETRY_S,
    ) -> None:
        self.up = asyncio.Event()
        """Set while the database takes records and everything older is kept."""
        self._database = database
        self._spool = spool
        self._retention = retention
        self._target_of = target_of
        self._clock = clock
        self._monotonic = monotonic
        self._waiting: deque[Record] = deque()
        self._waiting_max = waiting_max
        self._in_hand: list[Record] = []
        """Of the batch being written: back to the spool if the end comes first."""
        self._retry_s = retry_s
        self._retry_in_s = 0.0
        self._retry_at = 0.0
        self._prune_at = monotonic()
        self._wake = asyncio.Event()
        self._stopping = False
        self._spool_failed = False
        self._stats = WriterStats(since=clock())

    # -- from outside -----------------------------------------------------------------------------------------------

    def on_event(self, item: object) -> None:
        """For the bus: keeps records, ignores all else."""
        if isinstance(item, RECORDS):
            self.put(item)

    def put(self, record: Record) -> None:
        """Takes a record to keep. Never waits."""
        if len(self._waiting) >= self._waiting_max:
            self._waiting.popleft()
            self._drop("memory_full", 1)
        self._waiting.append(record)
        self._wake.set()

    def stop(self) -> None:
        """Lets `run` end: once everything is written, or spooled where the database is away."""
        self._stopping = True
        self._wake.set()

    @property
    def stats(self) -> WriterStats:
        """Figures as they are now."""
        self._stats.waiting = len(self._waiting) + len(self._in_hand)
        self._stats.spooled = self._spool.records
        self._stats.spool_bytes = self._spool.bytes
        for cause, lost in self._spool.lost.items():
            self._stats.dropped[cause] = lost
        return self._stats

    # -- the task -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Writes until `stop`; cancelled, it spools what it has."""
        try:
            await self._open_spool()
            while True:
                if self.up.is_set():
                    await self._up_round()
                else:
                    await self._down_round()
                if self._stopping and not self._waiting:
                    return
        finally:
            self._put_back()
            self._spool_the_rest()
            await self._database.close()

    async def _up_round(self) -> None:
        prune_in_s = self._prune_at - self._monotonic()
        if not self._waiting and not self._stopping and prune_in_s > 0:
            await self._sleep_until_woken(prune_in_s)
        if self._waiting and len(self._waiting) < BATCH_MAX and not self._stopping:
            await asyncio.sleep(LINGER_S)
        if self._waiting:
            await self._write_waiting()
        elif self._monotonic() >= self._prune_at:
            await self._prune()

    async def _down_round(self) -> None:
        """Spools what came, and tries the database when it is time; once more before the end."""
        await self._spool_waiting()
        if self._stopping or self._monotonic() >= self._retry_at:
            if await self._catch_up():
                return
            self._retry_in_s = min(self._retry_s[1], self._retry_in_s * 2 or self._retry_s[0])
            self._retry_at = self._monotonic() + self._retry_in_s
        if self._stopping:
            self._spool_the_rest()
        else:
            await asyncio.sleep(min(SPOOL_EVERY_S, max(0.0, self._retry_at - self._monotonic())))

    async def _catch_up(self) -> bool:
        """Opens the database and writes what is spooled, then what waits, oldest first; whether it is up now."""
        try:
            await self._database.migrate()
        except Exception as error:  # whatever the drivers raise: the database is what cannot be used
            self._went_down(error)
            return False
        try:
            while batch := await asyncio.to_thread(self._spool.peek, BATCH_MAX):
                if not await self._write(batch):
                    return False
                await asyncio.to_thread(self._spool.advance)
                if len(self._waiting) > self._waiting_max // 2:
                    await self._spool_waiting()
        except OSError as error:
            self._say_spool_failed(error)
        while self._waiting:
            if not await self._write_waiting():
                return False
        self._came_up()
        return True

    async def _write_waiting(self) -> bool:
        self._take()
        if await self._write(self._in_hand):
            self._in_hand = []
            return True
        self._put_back()
        return False

    async def _write(self, batch: list[Record]) -> bool:
        """Writes a batch; whether the database took it, or what it took of it."""
        try:
            await self._write_once(batch)
        except Exception as error:  # drivers raise errors of their own; what matters is whose fault it is
            if not is_about_the_data(error):
                self._went_down(error)
                return False
            if len(batch) == 1:
                self._drop("rejected", 1)
                log.error("record_rejected", kind=type(batch[0]).__name__, key=batch[0].key, error=why(error))
                return True
            middle = len(batch) // 2
            return await self._write(batch[:middle]) and await self._write(batch[middle:])
        return True

    async def _write_once(self, batch: list[Record]) -> None:
        aggregates = Aggregates(self._target_of, oldest=self._retention.cutoff("calls", self._clock()))
        async with self._database.write() as connection:
            counts = await keep(connection, batch, aggregates)
        self._stats.written.update(counts)

    # -- up and down ----------------------------------------------------------------------------------------------

    def _went_down(self, error: Exception) -> None:
        detail = why(error)
        first = self._stats.up or not self._stats.failures
        self._stats.up, self._stats.detail = False, detail
        if first:
            self._stats.since = self._clock()
            self._stats.failures += 1
            log.error(
                "history_database_down",
                database=self._database.name,
                error=detail,
                hint="the connector goes on and keeps records on disk until it is back",
            )
        if self.up.is_set():
            self.up.clear()
            self._retry_in_s = self._retry_s[0]
            self._retry_at = self._monotonic() + self._retry_in_s

    def _came_up(self) -> None:
        if not self._stats.up:
            down_s = round(self._clock() - self._stats.since, 3) if self._stats.failures else 0.0
            log.info("history_database_up", database=self._database.name, down_s=down_s)
            self._stats.up, self._stats.since, self._stats.detail = True, self._clock(), ""
        self._retry_in_s = self._retry_at = 0.0
        self.up.set()

    # -- the spool ------------------------------------------------------------------------------------------------

    async def _open_spool(self) -> None:
        try:
            await asyncio.to_thread(self._spool.open)
        except OSError as error:
            self._say_spool_failed(error)

    async def _spool_waiting(self) -> None:
        """Moves what waits to the disk, in batches; what the disk does not take stays."""
        while self._waiting:
            self._take()
            try:
                await asyncio.to_thread(self._spool.append, self._in_hand)
            except OSError as error:
                self._put_back()
                self._say_spool_failed(error)
                return
            self._in_hand = []
            if self._spool_failed:
                self._spool_failed = False
                log.info("history_spool_writable")

    def _spool_the_rest(self) -> None:
        """At the end: without awaiting, for we may have been cancelled."""
        if not self._waiting:
            return
        try:
            self._spool.append(list(self._waiting))
        except OSError as error:
            self._say_spool_failed(error)
            self._drop("memory_full", len(self._waiting))
        self._waiting.clear()

    def _take(self) -> None:
        self._in_hand = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]

    def _put_back(self) -> None:
        self._waiting.extendleft(reversed(self._in_hand))
        self._in_hand = []

    def _say_spool_failed(self, error: OSError) -> None:
        if not self._spool_failed:
            self._spool_failed = True
            log.error(
                "history_spool_failed",
                error=str(error),
                hint=f"the last {self._waiting_max} records are kept in memory alone; make room or mend the disk",
            )

    def _drop(self, cause: str, count: int) -> None:
        if not self._stats.dropped[cause]:
            log.error("history_records_dropped", cause=cause)
        self._stats.dropped[cause] += count

    # -- retention ------------------------------------------------------------------------------------------------

    async def _prune(self) -> None:
        """One small step of retention; further ones follow as long as there is something to remove."""
        try:
            async with self._database.write() as connection:
                removed = await prune_step(connection, self._retention, self._clock())
        except Exception as error:  # as in _write
            self._went_down(error)
            return
        self._stats.pruned.update(removed)
        self._prune_at = self._monotonic() + (PRUNE_PAUSE_S if removed else PRUNE_EVERY_S)

    async def _sleep_until_woken(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
