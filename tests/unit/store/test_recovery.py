"""Gaps are noticed and filled: after an outage, an overflow and a restart; once, with what was not over later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connector.events import EventsMissed, LinkChanged, LinkState, Outcome
from connector.records import CallRecord, Direction, QueueVisit
from connector.store.database import Database
from connector.store.queries import History
from connector.store.recovery import SLACK_S, Recovery, Source
from connector.store.writer import Writer

T0 = 1_795_200_300.0
MakeWriter = Callable[..., Writer]


def entered(uniqueid: str, at: float) -> str:
    return f"{at:.0f}|{uniqueid}|support|NONE|ENTERQUEUE||+4930|1\n"


def abandoned(uniqueid: str, at: float) -> str:
    return f"{at:.0f}|{uniqueid}|support|NONE|ABANDON|1|1|9\n"


def link(state: LinkState, at: float, **more: Any) -> LinkChanged:
    return LinkChanged(**{"pbx": "main", "at": at, "link": "ami", "state": state, "detail": "", **more})


class Scene:
    """A writer, a recovery and a queue_log."""

    def __init__(self, writer: Writer, database: Database, path: Path) -> None:
        self.writer, self.database, self.path = writer, database, path
        self.now = T0
        self.recalled: list[tuple[CallRecord, bool]] = []
        self.live: dict[str, str] = {}
        self.recovery = self.made(Source(place=str(path)))
        path.write_text("")

    def made(self, source: Source | None) -> Recovery:
        return Recovery(
            pbx="main",
            source=source,
            database=self.database,
            writable=self.writer.up,
            put=self.writer.put,
            recall=lambda call, over: self.recalled.append((call, over)),
            agent_of=lambda queue, name: name,
            linkedid_of=self.live.get,
            clock=lambda: self.now,
            settle_s=0.0,
            again_s=0.02,
        )

    def log(self, *lines: str) -> None:
        """Adds lines, all at once."""
        known = self.path.read_text() if self.path.exists() else ""
        new = self.path.with_name("new")
        new.write_text(known + "".join(lines))
        new.replace(self.path)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.writer.run()), asyncio.create_task(self.recovery.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results), results

    async def kept(self, count: int) -> list[CallRecord]:
        """Waits until so many calls are in the database and nothing is under way."""
        history = History(self.database)
        async with asyncio.timeout(10):
            while True:
                if self.writer.up.is_set() and not self.writer.stats.waiting:
                    found = await history.calls(since=0, until=T0 * 2)
                    if len(found) >= count:
                        return found
                await asyncio.sleep(0.01)


@pytest.fixture
async def scene(make_writer: MakeWriter, tmp_path: Path) -> AsyncIterator[Scene]:
    url = f"sqlite:///{tmp_path}/h.sqlite"
    database = Database(url)
    yield Scene(make_writer(url, clock=time.time), database, tmp_path / "queue_log")
    await database.close()


async def test_an_outage_is_filled_and_what_was_heard_stays_as_it_was(scene: Scene) -> None:
    visit = QueueVisit(queue="support", uniqueid="u1", joined_at=T0 + 50.4, ended_at=T0 + 60, outcome=Outcome.KEY_EXIT)
    heard = CallRecord(
        pbx="main", at=T0 + 60, linkedid="l1", started_at=T0 + 49, direction=Direction.INBOUND, number="+4930",
        name="Ann", dialled="1", answered_at=None, timeline=(), legs=1, visits=(visit,),
    )  # fmt: skip
    scene.log(entered("u0", T0 - 9_000), abandoned("u0", T0 - 8_991))
    async with scene.running():
        scene.recovery.on_event(link(LinkState.UP, T0))
        scene.writer.put(heard)
        await scene.kept(1)
        scene.log(entered("u1", T0 + 50), f"{T0 + 60:.0f}|u1|support|NONE|EXITWITHKEY|1|1|1|10\n")
        scene.recovery.on_event(link(LinkState.DOWN, T0 + 100))
        scene.log(entered("u2", T0 + 110), entered("u3", T0 + 112), abandoned("u2", T0 + 120))
        scene.now = T0 + 200
        scene.recovery.on_event(link(LinkState.UP, T0 + 200))
        kept = {call.linkedid: call for call in await scene.kept(2)}
        assert kept["u2"].recovered
        assert kept["u2"].visits[0].outcome is Outcome.ABANDONED
        assert kept["l1"] == heard, "the log knows its channel, not its call"
        assert kept.keys() == {"l1", "u2"}, "u0 was over long before, u3 still waits"
        scene.live["u3"] = "l3"
        scene.log(abandoned("u3", T0 + 210))
        kept = {call.linkedid: call for call in await scene.kept(3)}
        assert kept["l3"].visits[0].uniqueid == "u3"
        assert scene.recovery.calls_read_total == 3, "looking again does not read the same again"


async def test_a_call_that_left_the_live_state_and_is_not_in_the_database_yet_keeps_its_name(scene: Scene) -> None:
    visit = QueueVisit(queue="support", uniqueid="u1", joined_at=T0 + 50, ended_at=T0 + 59, outcome=Outcome.ABANDONED)
    heard = CallRecord(
        pbx="main", at=T0 + 60, linkedid="l1", started_at=T0 + 49, direction=Direction.INBOUND, number="+4930",
        name="Ann", dialled="1", answered_at=None, timeline=(), legs=1, visits=(visit,),
    )  # fmt: skip
    async with scene.running():
        scene.recovery.on_event(link(LinkState.UP, T0))
        scene.recovery.on_event(link(LinkState.DOWN, T0 + 40))
        scene.recovery.on_event(heard)  # the writer has not got round to it
        scene.log(entered("u1", T0 + 50), abandoned("u1", T0 + 59))
        scene.now = T0 + 200
        scene.recovery.on_event(link(LinkState.UP, T0 + 200))
        assert [call.linkedid for call in await scene.kept(1)] == ["l1"]
        scene.writer.put(heard)
        await scene.kept(1)
    assert [call.linkedid for call in await scene.kept(1)] == ["l1"]


async def test_an_overflow_is_a_gap(scene: Scene) -> None:
    async with scene.running():
        scene.recovery.on_event(link(LinkState.UP, T0))
        scene.log(entered("u2", T0 + 1), abandoned("u2", T0 + 9))
        scene.now = T0 + 20
        scene.recovery.on_event(EventsMissed(pbx="other", at=T0 + 10, dropped=5))
        scene.recovery.on_event(EventsMissed(pbx="main", at=T0 + 10, dropped=5))
        (call,) = await scene.kept(1)
        assert call.recovered


async def test_a_restart_is_a_gap_from_the_last_mark_on(scene: Scene) -> None:
    async with scene.running():
        scene.log(entered("old", T0 - 8), abandoned("old", T0 - 2))
        scene.recovery.on_event(link(LinkState.UP, T0))  # never heard before: nothing was missed
        await asyncio.wait_for(scene.writer.up.wait(), 10)
        while scene.recovery._gap is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await scene.recovery.keep_mark()
        scene.recovery.on_event(link(LinkState.DOWN, T0 + 1))
        scene.now = T0 + 5_000
        await scene.recovery.keep_mark()  # not while the link is down
    scene.log(entered("u2", T0 + 2_000), abandoned("u2", T0 + 2_009))
    again = Scene.__new__(Scene)
    again.__dict__.update(scene.__dict__)
    again.recovery = scene.made(Source(place=str(scene.path)))
    async with again.running():
        again.recovery.on_event(link(LinkState.DOWN, T0 + 4_999))
        again.recovery.on_event(link(LinkState.UP, T0 + 5_000))
        assert {call.linkedid for call in await again.kept(2)} == {"old", "u2"}, "with the slack before the mark"
    assert SLACK_S > 10


async def test_a_log_that_cannot_be_read_is_tried_again(scene: Scene) -> None:
    scene.path.unlink()
    scene.now = T0 + 20
    async with scene.running():
        scene.recovery.on_event(link(LinkState.UP, T0))
        scene.recovery.on_event(EventsMissed(pbx="main", at=T0 + 10, dropped=5))
        async with asyncio.timeout(10):
            while scene.recovery.failures < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        scene.log(entered("u2", T0 + 1), abandoned("u2", T0 + 9))
        assert len(await scene.kept(1)) == 1


async def test_a_call_that_has_only_just_ended_is_left_to_those_who_heard_it(scene: Scene) -> None:
    async with scene.running():
        scene.recovery.on_event(link(LinkState.UP, T0))
        scene.recovery.on_event(link(LinkState.DOWN, T0 + 100))
        scene.log(
            entered("u1", T0 + 110), abandoned("u1", T0 + 120), entered("u2", T0 + 190), abandoned("u2", T0 + 198)
        )
        scene.now = T0 + 200
        scene.recovery.on_event(link(LinkState.UP, T0 + 200))
        assert [call.linkedid for call in await scene.kept(1)] == ["u1"]
        scene.now = T0 + 204
        assert {call.linkedid for call in await scene.kept(2)} == {"u1", "u2"}
