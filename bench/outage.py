"""History while its database is away: a real PostgreSQL is stopped for a minute while events come.

`docs/bench.md` says what each figure means, `bench/results` what was measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import func, select

from bench.events import Ours, feed_steadily
from connector.config_store import StoreSettings
from connector.lab.postgres import Postgres
from connector.records import AgentInterval, CallRecord, Record
from connector.store import schema
from connector.store.database import Database
from connector.store.writer import Writer, WriterStats

QUEUES = 50
BEFORE_S = 5.0
EXAMINED_EVERY_S = 0.02


class Examined:
    """What the writer was given, and what it looked like meanwhile.

    Attributes:
        given: Keys of the records, by kind; the same record may come more than once, as a call that goes on does.
        spool_max_bytes: The largest size of the spool.
        waiting_max: Most records in memory.
        loop_late_max_s: The longest time for which the event loop was kept from something else.
    """

    def __init__(self, writer: Writer) -> None:
        self.given: defaultdict[type, set[str]] = defaultdict(set)
        self.spool_max_bytes = self.waiting_max = 0
        self.loop_late_max_s = 0.0
        self._writer = writer
        self._put = writer.put
        writer.put = self._taken  # type: ignore[method-assign]

    @property
    def stats(self) -> WriterStats:
        """The writer's own figures."""
        return self._writer.stats

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(EXAMINED_EVERY_S)
            self.loop_late_max_s = max(self.loop_late_max_s, time.monotonic() - before - EXAMINED_EVERY_S)
            self.spool_max_bytes = max(self.spool_max_bytes, self.stats.spool_bytes)
            self.waiting_max = max(self.waiting_max, self.stats.waiting)

    def _taken(self, record: Record) -> None:
        self.given[type(record)].add(str(record.key))
        self._put(record)


async def outage(seconds: float, events_per_s: int) -> dict[str, Any]:
    """Events before, during and after; then every record that was given is looked for in the database."""
    with Postgres() as postgres:
        url = postgres.new_url()
        async with Ours(url=url) as ours:
            writer = ours.connector.store.writer
            examined = Examined(writer)
            looking = asyncio.create_task(examined.run())
            feeding = asyncio.create_task(feed_steadily(ours, BEFORE_S + seconds, events_per_s, QUEUES))
            await asyncio.sleep(BEFORE_S)
            await asyncio.to_thread(postgres.stop)
            stopped_at = time.monotonic()
            before = sum(map(len, examined.given.values()))
            await asyncio.sleep(seconds)
            during = sum(map(len, examined.given.values())) - before
            await asyncio.to_thread(postgres.start)
            away_s, started_at = time.monotonic() - stopped_at, time.monotonic()
            spooled = examined.stats.spooled
            await writer.up.wait()
            up_s = time.monotonic() - started_at
            events, _ = await feeding
            await ours.written()
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            stats = examined.stats
        return {
            "away_s": round(away_s, 1),
            "events": events,
            "events_per_second": events_per_s,
            "records_given_before": before,
            "records_given_while_away": during,
            "spooled_at_the_end": spooled,
            "spool_max_bytes": examined.spool_max_bytes,
            "spool_bound_bytes": StoreSettings().spool_max_bytes,
            "waiting_in_memory_max": examined.waiting_max,
            "loop_late_max_ms": round(examined.loop_late_max_s * 1000, 1),
            "catch_up_s": round(up_s, 2),
            "failures": stats.failures,
            "dropped": dict(stats.dropped),
            "spooled_after": stats.spooled,
            "missing": await missing(url, examined),
        }


async def missing(url: str, examined: Examined) -> dict[str, int]:
    """Records that were given and are not in the database, by table."""
    database = Database(url)
    found: dict[str, int] = {}
    async with database.read() as connection:
        for kind, table in ((CallRecord, schema.calls), (AgentInterval, schema.agent_intervals)):
            kept = (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            found[table.name] = len(examined.given[kind]) - kept
    await database.close()
    return found


def main() -> None:
    """`scripts/bench outage [--seconds N] [--events-per-s N] [--json FILE]`."""
    parser = argparse.ArgumentParser(prog="scripts/bench outage", description="History while its database is away.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--events-per-s", type=int, default=1_000)
    parser.add_argument("--json", type=Path, help="file for the result; standard output if absent")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the result's
    load = os.getloadavg()[0]
    result = {
        "bench": "outage",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_before": round(load, 2),
        **asyncio.run(outage(options.seconds, options.events_per_s)),
    }
    text = json.dumps(result, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)
    if any(result["missing"].values()) or result["dropped"]:
        raise SystemExit("failed: records were lost")


if __name__ == "__main__":
    main()
