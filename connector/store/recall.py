"""After a start the day so far is read back from the database, so that figures of today survive a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

import structlog

from connector.records import AgentInterval, CallRecord
from connector.store.database import why
from connector.store.queries import Cursor, History

log = structlog.get_logger()

CALLS_AT_ONCE: Final = 100
INTERVALS_AT_ONCE: Final = 500
"""Counted in one go: a few milliseconds in which no event is taken."""
RETRY_S: Final = 1.0


class _Ended(Protocol):
    @property
    def at(self) -> float: ...

    @property
    def key(self) -> str: ...


async def recall(
    history: History,
    writable: asyncio.Event,
    *,
    pbx: str,
    since: float,
    until: float,
    take: Callable[[CallRecord | AgentInterval], None],
) -> None:
    """Reads what ended in [since, until), the earliest first, and once; waits for the database as long as it takes.

    Args:
        history: The database.
        writable: Set while it can be used, and all that is older is in it.
        pbx: Name in the settings.
        since: Seconds since the epoch.
        until: When this process began: what ended later it has heard itself.
        take: Gets each.
    """

    async def calls(after: Cursor | None) -> Sequence[CallRecord]:
        return await history.ended(pbx, since=since, until=until, after=after, limit=CALLS_AT_ONCE)

    async def intervals(after: Cursor | None) -> Sequence[AgentInterval]:
        return await history.ended_intervals(pbx, since=since, until=until, after=after, limit=INTERVALS_AT_ONCE)

    counted = await _all(calls, writable, take), await _all(intervals, writable, take)
    log.info("day_recalled", pbx=pbx, since=since, calls=counted[0], agent_intervals=counted[1])


Record = TypeVar("Record", bound=_Ended)


async def _all(
    page: Callable[[Cursor | None], Awaitable[Sequence[Record]]],
    writable: asyncio.Event,
    take: Callable[[Record], None],
) -> int:
    last: Cursor | None = None
    count = 0
    while True:
        await writable.wait()
        try:
            found = await page(last)
        except Exception as error:  # drivers raise errors of their own; the writer says that the database is away
            log.debug("recall_waits", error=why(error))
            await asyncio.sleep(RETRY_S)
            continue
        if not found:
            return count
        for record in found:
            take(record)
        count += len(found)
        last = found[-1].at, found[-1].key
