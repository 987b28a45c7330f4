"""The writer: idempotent, never in the way, and nothing lost while the database is away."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Table, event, select
from sqlalchemy.ext.asyncio import AsyncConnection

from connector.events import Outcome
from connector.records import (
    AgentInterval,
    AgentState,
    AuditRecord,
    CallRecord,
    Direction,
    QueueVisit,
    Record,
    StreamRecord,
    TimelineEntry,
)
from connector.store import schema
from connector.store.database import Database
from connector.store.retention import RetentionDays
from connector.store.writer import Writer

T0 = 900_000.0
"""A quarter begins here."""
MakeWriter = Callable[..., Writer]


def visit(uniqueid: str, joined_at: float, outcome: Outcome, **more: Any) -> QueueVisit:
    values = {"queue": "support", "ended_at": joined_at + 10, "wait_s": 10.0, **more}
    return QueueVisit(uniqueid=uniqueid, joined_at=joined_at, outcome=outcome, **values)


def call(number: int, *, outcome: Outcome = Outcome.ANSWERED, at: float | None = None, **more: Any) -> CallRecord:
    joined_at = T0 + number if at is None else at
    answered = {"agent": "ann", "talk_s": 30.0, "hold_s": 5.0, "wrap_up_s": 2.0} if outcome is Outcome.ANSWERED else {}
    values: dict[str, Any] = {
        "visits": (visit(f"u{number}", joined_at, outcome, **answered),),
        "timeline": (TimelineEntry(at=joined_at, what="joined", detail="support"),),
        "name": "Zoë",
        "legs": 2,
        **more,
    }
    return CallRecord(
        pbx="main",
        at=joined_at + 60,
        linkedid=f"u{number}",
        started_at=joined_at - 1,
        direction=Direction.INBOUND,
        number="+4930123",
        dialled="100",
        answered_at=joined_at + 10 if answered else None,
        **values,
    )


def interval(start: float, end: float, state: AgentState, agent: str = "ann") -> AgentInterval:
    return AgentInterval(pbx="main", at=end, agent=agent, state=state, reason="", started_at=start)


def some_of_all() -> list[Record]:
    rang = TimelineEntry(at=T0 + 905, what="rang_in_vain", detail="ann")
    return [
        call(1),
        call(2, outcome=Outcome.ABANDONED),
        call(3, outcome=Outcome.ABANDONED, at=T0 + 901, timeline=(rang,)),
        call(4, visits=()),
        interval(T0 - 100, T0 + 50, AgentState.AVAILABLE),
        interval(T0 + 50, T0 + 950, AgentState.ON_CALL),
        StreamRecord(
            pbx="main", at=T0, stream_id="s1", uniqueid="u1", profile="echo", cause="bot", detail="", started_at=T0 - 9,
            setup_s=None, stats={"packets_in": 5},
        ),
        AuditRecord(pbx="", at=T0, id="a1", actor="kim", action="agent.update", target="ann", result="ok"),
    ]  # fmt: skip


@asynccontextmanager
async def running(writer: Writer) -> AsyncIterator[Writer]:
    task = asyncio.create_task(writer.run())
    try:
        yield writer
        writer.stop()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the writer's figures are what is waited for
            await asyncio.sleep(0.01)


async def rows(connection: AsyncConnection, table: Table) -> list[tuple[Any, ...]]:
    found = await connection.execute(select(table).order_by(*table.primary_key.columns))
    return [tuple(row) for row in found]


async def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    database = Database(url)
    try:
        async with database.read() as connection:
            return {table.name: await rows(connection, table) for table in schema.metadata.sorted_tables}
    finally:
        await database.close()


async def write(make_writer: MakeWriter, url: str, records: list[Record], **options: Any) -> Writer:
    async with running(make_writer(url, **options)) as writer:
        for record in records:
            writer.on_event(record)
    return writer


async def test_the_same_records_again_change_nothing(make_writer: MakeWriter, url: str) -> None:
    first = await write(make_writer, url, some_of_all())
    kept = await contents(url)
    assert first.stats.written == {"calls": 4, "agent_intervals": 2, "streams": 1, "audit": 1}
    assert {name: len(found) for name, found in kept.items() if found} == {
        "calls": 4, "visits": 3, "timeline": 4, "agent_intervals": 2, "streams": 1, "audit": 1,
        "queue_aggregates": 2, "agent_aggregates": 3,
    }  # fmt: skip
    await write(make_writer, url, some_of_all())
    await write(make_writer, url, [*reversed(some_of_all()), *some_of_all()])
    assert await contents(url) == kept


async def test_quarters_are_the_sums_of_their_calls(make_writer: MakeWriter, url: str) -> None:
    await write(make_writer, url, some_of_all())
    found = await contents(url)
    names = [column.name for column in schema.queue_aggregates.columns]
    first, second = (dict(zip(names, row, strict=True)) for row in found["queue_aggregates"])
    expected = {
        "starts_at": T0, "offered": 2, "answered": 1, "abandoned": 1, "timed_out": 0, "answered_within_target": 1,
        "abandoned_within_target": 1, "target_s": 20.0, "wait_s_sum": 20.0, "wait_s_max": 10.0, "talk_s_sum": 30.0,
        "hold_s_max": 5.0, "wrap_up_s_sum": 2.0, "answered_wait_s_sum": 10.0,
    }  # fmt: skip
    assert {name: first[name] for name in expected} == expected
    assert (second["starts_at"], second["offered"], second["answered"]) == (T0 + 900, 1, 0)
    names = [column.name for column in schema.agent_aggregates.columns]
    quarters = [dict(zip(names, row, strict=True)) for row in found["agent_aggregates"]]
    assert [(q["starts_at"], q["available_s"], q["on_call_s"], q["handled"], q["rang_in_vain"]) for q in quarters] == [
        (T0 - 900, 100.0, 0.0, 0, 0),
        (T0, 50.0, 850.0, 1, 0),
        (T0 + 900, 0.0, 50.0, 0, 1),
    ]


async def test_a_changed_call_leaves_nothing_of_what_it_was(make_writer: MakeWriter, url: str) -> None:
    await write(make_writer, url, [call(1)])
    await write(make_writer, url, [call(1, visits=(visit("u1", T0 + 950, Outcome.FULL),), timeline=())])
    found = await contents(url)
    assert [row[:3] for row in found["queue_aggregates"]] == [("main", "support", T0 + 900)]
    assert not found["agent_aggregates"]
    assert not found["timeline"]


async def test_text_that_a_database_refuses_is_cleaned(make_writer: MakeWriter, url: str) -> None:
    writer = await write(make_writer, url, [call(1, name="a\0b\ud800")])
    assert writer.stats.written == {"calls": 1}
    assert "ab?" in (await contents(url))["calls"][0]


async def test_a_record_that_cannot_be_kept_costs_that_record_alone(make_writer: MakeWriter, url: str) -> None:
    broken = call(7, legs=2**70)
    writer = await write(make_writer, url, [call(1), broken, call(2), call(3)])
    assert writer.stats.dropped == {"rejected": 1}
    assert len((await contents(url))["calls"]) == 3
    assert writer.stats.failures == 0


async def test_postgresql_away_nothing_is_lost_and_all_comes_in_order(
    make_writer: MakeWriter, postgres: Any, tmp_path: Path
) -> None:
    url, many = postgres.new_url(), 12_000  # what a minute at 1,000 events a second brings
    async with running(make_writer(url, spool_bytes=32 << 20)) as writer:
        writer.put(call(1))
        await until(lambda: writer.stats.written["calls"] == 1)
        postgres.stop()
        try:
            # The second account of call 2 must win over the first, and call 4 comes while it catches up.
            for record in (call(2, name="old"), call(3), call(2, name="new")):
                writer.put(record)
            await until(lambda: writer.stats.spooled == 3)
            assert not writer.stats.up
            assert writer.stats.detail
            started_at = time.perf_counter()
            for number in range(100, 100 + many):
                writer.put(call(number))
            assert time.perf_counter() - started_at < 5.0, "putting waits for something"
            await until(lambda: writer.stats.spooled == many + 3)
        finally:
            postgres.start()
        writer.put(call(4))
        await until(writer.up.is_set, timeout_s=120.0)
        await until(lambda: writer.stats.waiting == 0)
    assert (writer.stats.spooled, writer.stats.dropped, writer.stats.failures) == (0, {}, 1)
    found = await contents(url)
    assert len(found["calls"]) == many + 4
    assert [row[7] for row in found["calls"] if row[0] == "main/u2"] == ["new"]
    assert not list((tmp_path / "spool").iterdir())


async def test_started_without_its_database_it_waits_for_it(make_writer: MakeWriter, tmp_path: Path) -> None:
    blocked = tmp_path / "place"
    blocked.write_text("no directory")
    url = f"sqlite:///{blocked}/history.sqlite"
    async with running(make_writer(url)) as writer:
        writer.put(call(1))
        await until(lambda: writer.stats.spooled == 1)
        blocked.unlink()
        await until(lambda: writer.stats.written["calls"] == 1)
    assert writer.stats.failures == 1


async def test_a_full_database_is_no_reason_to_lose_a_record(make_writer: MakeWriter, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/history.sqlite"
    writer = make_writer(url)
    pages = 1

    def bound(connection: Any, *_: object) -> None:  # SQLite then says what it says on a full disk
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA max_page_count={pages}")
        cursor.close()

    async with running(writer):
        await until(writer.up.is_set)
        event.listen(writer._database.engine.sync_engine, "checkout", bound)
        for number in range(2_000):
            writer.put(call(number))
        await until(lambda: writer.stats.spooled == 2_000)
        assert "full" in writer.stats.detail
        pages = 1 << 30
        await until(lambda: writer.stats.written["calls"] == 2_000)
    assert not writer.stats.dropped


async def test_with_neither_database_nor_disk_memory_is_bounded_and_says_what_went(
    make_writer: MakeWriter, tmp_path: Path
) -> None:
    (tmp_path / "spool").write_text("no directory")
    (tmp_path / "place").write_text("no directory")
    async with running(make_writer(f"sqlite:///{tmp_path}/place/h.sqlite", waiting_max=10)) as writer:
        await until(lambda: writer.stats.failures == 1)
        for number in range(15):
            writer.put(call(number))
        assert writer.stats.waiting == 10
        (tmp_path / "place").unlink()
        await until(lambda: writer.stats.written["calls"] == 10)
    assert writer.stats.dropped == {"memory_full": 5}
    found = await contents(f"sqlite:///{tmp_path}/place/h.sqlite")
    assert [row[2] for row in found["calls"]] == sorted(f"u{number}" for number in range(5, 15)), "the newest stay"


KILLED = """
import asyncio, sys, time
from pathlib import Path
import msgspec
from connector.records import Record
from connector.store.aggregates import Target
from connector.store.database import Database
from connector.store.retention import RetentionDays
from connector.store.spool import Spool
from connector.store.writer import Writer

async def main():
    writer = Writer(
        database=Database("postgresql://x@127.0.0.1:1/none"), spool=Spool(Path(sys.argv[1]), 1 << 20),
        retention=RetentionDays(), target_of=lambda pbx, queue: Target(), clock=time.time, monotonic=time.monotonic,
    )
    task = asyncio.create_task(writer.run())
    for record in msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=list[Record]):
        writer.put(record)
    while not writer.stats.spooled:
        await asyncio.sleep(0.01)
    print("spooled", flush=True)
    await task

asyncio.run(main())
"""


async def test_killed_with_a_spool_the_next_process_writes_it(
    make_writer: MakeWriter, url: str, tmp_path: Path
) -> None:
    (tmp_path / "records.json").write_bytes(msgspec.json.encode(some_of_all()))
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "spool"), str(tmp_path / "records.json")]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
    assert process.stdout is not None
    while (line := await process.stdout.readline()) != b"spooled\n":
        assert line, "it ended"
    process.kill()
    await process.wait()
    async with running(make_writer(url)) as writer:
        await until(lambda: sum(writer.stats.written.values()) == len(some_of_all()))
    spooled = await contents(url)
    await write(make_writer, url, some_of_all())
    assert await contents(url) == spooled


FULL_DISK = """
import asyncio, sys, time
from pathlib import Path
import msgspec
from connector.records import Record
from connector.store.aggregates import Target
from connector.store.database import Database
from connector.store.retention import RetentionDays
from connector.store.spool import Spool
from connector.store.writer import Writer

async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)

async def main():
    disk = Path(sys.argv[1])
    writer = Writer(
        database=Database(f"sqlite:///{disk}/history.sqlite"), spool=Spool(disk / "spool", 8 << 20),
        retry_s=(0.05, 0.2), retention=RetentionDays(), target_of=lambda pbx, queue: Target(),
        clock=time.time, monotonic=time.monotonic,
    )
    task = asyncio.create_task(writer.run())
    await until(writer.up.is_set)
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    records = msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=list[Record])
    for record in records:
        writer.put(record)
    await until(lambda: not writer.stats.up)
    detail, held = writer.stats.detail, writer.stats.waiting + writer.stats.spooled
    ballast.unlink()
    await until(lambda: writer.stats.written["calls"] == len(records))
    writer.stop()
    await task
    print("RESULT", held, writer.stats.failures, dict(writer.stats.dropped), detail)

asyncio.run(main())
"""


async def test_on_a_full_disk_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "records.json").write_bytes(msgspec.json.encode([call(number) for number in range(3_000)]))
    mount = 'mount -t tmpfs -o size=8m tmpfs "$1" && exec "$0" -c "$3" "$1" "$2"'
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--map-root-user", "--mount", "sh", "-c", mount, sys.executable),
        *(str(tmp_path / "disk"), str(tmp_path / "records.json"), FULL_DISK),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, errors = await process.communicate()
    result = out.decode().rpartition("RESULT ")[2]
    assert result.startswith("3000 1 {} "), (out.decode()[-500:], errors.decode()[-2_000:])
    assert "full" in result


async def test_cancelled_it_spools_what_it_holds(make_writer: MakeWriter, tmp_path: Path) -> None:
    writer = make_writer(f"sqlite:///{tmp_path}/h.sqlite")
    task = asyncio.create_task(writer.run())
    await until(writer.up.is_set)
    writer.put(call(1))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert writer.stats.spooled == 1
    again = await write(make_writer, f"sqlite:///{tmp_path}/h.sqlite", [])
    assert again.stats.written["calls"] == 1


async def test_what_is_old_goes_in_small_steps_and_its_quarters_stay(make_writer: MakeWriter, url: str) -> None:
    day = 86_400.0
    retention = RetentionDays(calls=30, agent_intervals=30, aggregates=60, streams=30, audit=30)
    await write(make_writer, url, some_of_all())
    await write(make_writer, url, [call(number, at=T0 + 100 * day) for number in range(5_000, 5_100)])
    now = T0 + 40 * day
    async with running(make_writer(url, retention=retention, clock=lambda: now)) as writer:
        await until(lambda: writer.stats.pruned["calls"] == 4)
        writer.put(call(9, at=T0 + 5))  # as late as a recovery may be: its quarter's other calls are gone
        await until(lambda: writer.stats.waiting == 0)
    found = await contents(url)
    assert not found["agent_intervals"]
    assert not found["streams"]
    assert not found["audit"]
    assert [row[3] for row in found["queue_aggregates"]] == [2, 1, 100]
    now = T0 + 70 * day
    async with running(make_writer(url, retention=retention, clock=lambda: now)) as writer:
        await until(lambda: writer.stats.pruned["queue_aggregates"] == 2)
    found = await contents(url)
    assert len(found["calls"]) == len(found["visits"]) == 100
    assert len(found["queue_aggregates"]) == 1


async def test_many_more_than_a_step_are_pruned(
    make_writer: MakeWriter, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.store.writer.PRUNE_PAUSE_S", 0.0)
    monkeypatch.setattr("connector.store.retention.STEP_ROWS", 10)
    await write(make_writer, url, [call(number) for number in range(35)])
    options = {"retention": RetentionDays(calls=1), "clock": lambda: T0 + 10 * 86_400.0}
    async with running(make_writer(url, **options)) as writer:
        await until(lambda: writer.stats.pruned["calls"] == 35)
    found = await contents(url)
    assert not any(found[name] for name in ("calls", "visits", "timeline"))
