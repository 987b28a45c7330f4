"""The day is read back after a start: in order, once, and as late as the database lets us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from connector.records import AgentInterval, AgentState, CallRecord, Direction
from connector.store import recall as recall_module
from connector.store.database import Database
from connector.store.queries import History
from connector.store.recall import recall
from connector.store.writer import Writer

T0 = 1_795_200_300.0
MakeWriter = Callable[..., Writer]


def call(number: int, pbx: str = "main") -> CallRecord:
    return CallRecord(
        pbx=pbx, at=T0 + number, linkedid=f"l{number}", started_at=T0 + number - 5, direction=Direction.INBOUND,
        number="", name="", dialled="", answered_at=None, visits=(), timeline=(), legs=1,
    )  # fmt: skip


def interval(number: int) -> AgentInterval:
    at = T0 + number
    return AgentInterval(pbx="main", at=at, agent=f"a{number}", state=AgentState.PAUSED, reason="", started_at=at - 1)


async def write(make_writer: MakeWriter, url: str, records: list[Any]) -> None:
    writer = make_writer(url)
    for record in records:
        writer.put(record)
    task = asyncio.create_task(writer.run())
    await writer.up.wait()
    writer.stop()
    await task


async def test_the_day_comes_back_in_order_page_by_page(
    make_writer: MakeWriter, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall_module, "CALLS_AT_ONCE", 3)
    monkeypatch.setattr(recall_module, "INTERVALS_AT_ONCE", 3)
    records = [call(n) for n in (9, 3, 4, 1, 7, 8, 2)] + [call(5, "other")] + [interval(n) for n in (6, 2, 4, 3)]
    await write(make_writer, url, records)
    found: list[Any] = []
    database, up = Database(url), asyncio.Event()
    up.set()
    await recall(History(database), up, pbx="main", since=T0 + 2, until=T0 + 9, take=found.append)
    await database.close()
    assert found == [call(n) for n in (2, 3, 4, 7, 8)] + [interval(n) for n in (2, 3, 4, 6)]


async def test_a_database_that_is_away_is_waited_for_and_nothing_comes_twice(
    make_writer: MakeWriter, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall_module, "CALLS_AT_ONCE", 2)
    monkeypatch.setattr(recall_module, "RETRY_S", 0.01)
    await write(make_writer, url, [call(n) for n in range(5)])
    found: list[Any] = []
    database, up = Database(url), asyncio.Event()
    history = History(database)
    ended, faults = history.ended, iter((True, False, True, False, False, False))

    async def sometimes(*arguments: Any, **named: Any) -> list[CallRecord]:
        if next(faults):
            raise OSError("away")
        return await ended(*arguments, **named)

    monkeypatch.setattr(history, "ended", sometimes)
    reading = asyncio.create_task(recall(history, up, pbx="main", since=T0, until=T0 + 9, take=found.append))
    await asyncio.sleep(0)
    assert not found
    up.set()
    await asyncio.wait_for(reading, 10)
    await database.close()
    assert found == [call(n) for n in range(5)]
