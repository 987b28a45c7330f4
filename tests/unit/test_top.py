"""`connector top`: shows what the connector pushes, and says when that is old."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp.test_utils import unused_port
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from connector.access.rights import Role, TokenScope
from connector.events import (
    Caller,
    CallerJoined,
    CallerLeft,
    DeviceState,
    LinkChanged,
    LinkState,
    Member,
    MemberChanged,
)
from connector.top.app import Top
from connector.top.feed import Feed
from connector.top.tables import clean, duration, view
from connector.web.push.messages import AgentItem, QueueItem, Subscribe
from connector.web.push.shelf import Shelf
from tests.unit.web.conftest import MakeSite, empty_database, make_site  # noqa: F401 - fixtures
from tests.unit.web.site import Pbxs, Site, until


def joined(uniqueid: str, at: float, queue: str = "support", name: str = "Zoë", position: int = 1) -> CallerJoined:
    caller = Caller(
        uniqueid=uniqueid, channel=f"PJSIP/{uniqueid}", position=position, joined_at=at, number="0401", name=name
    )
    return CallerJoined(pbx="main", at=at, queue=queue, caller=caller, linkedid=uniqueid)


def member(name: str, queue: str = "support", **fields: Any) -> MemberChanged:
    made = Member(interface=f"PJSIP/{name}", name=name, device=DeviceState.NOT_IN_USE, **fields)
    return MemberChanged(pbx="main", at=1.0, queue=queue, member=made, kind="added")


def up(at: float) -> tuple[LinkChanged, LinkChanged]:
    return (
        LinkChanged(pbx="main", at=at, link="ami", state=LinkState.UP, detail="hello"),
        LinkChanged(pbx="main", at=at, link="ari", state=LinkState.UP, detail="hello"),
    )


def current(pbxs: Pbxs) -> Pbxs:
    for state in pbxs.states().values():
        state.queues_current = True
    return pbxs


# -- rows -----------------------------------------------------------------------------------------------------------


def shown(pbxs: Pbxs, now: float, **how: Any) -> Any:
    shelf = Shelf(pbxs, lambda _pbx: ())
    for _ in shelf.refresh([]):
        pass
    return view(shelf.items.values(), now, **{"broken": "", "broken_s": 0.0, **how})


def test_rows_say_what_the_state_says() -> None:
    pbxs = Pbxs()
    pbxs.play(*up(50.0), member("Anna"), member("Ben", paused=True, pause_reason="lunch"), member("Cy", queue="other"))
    pbxs.play(joined("a", 100.0), joined("b", 130.0, name="", position=2))
    screen = shown(current(pbxs), 165.0)
    assert screen.stale == []
    assert screen.queues[0] == ("main/support", ("support", "2", "1:05", "1", "2", "1", "0", "0", "0"))
    assert screen.queues[1][1][:3] == ("other", "0", "")
    assert [cells for _, cells in screen.callers] == [
        ("support", "1", "0401 Zoë", "1:05"),
        ("support", "2", "0401", "0:35"),
    ]
    agents = {cells[0]: cells for _, cells in screen.agents}
    assert agents["Ben"][1] == "paused"
    assert agents["Ben"][3:] == ("lunch", "support")
    assert [cells[0] for _, cells in shown(current(pbxs), 165.0, search="AN").agents] == ["Anna"]
    assert shown(current(pbxs), 165.0, search="oth").callers == []


def test_what_makes_it_old_is_said() -> None:
    pbxs = current(Pbxs())
    pbxs.play(*up(50.0), member("Anna"))
    current(pbxs)
    assert shown(pbxs, 100.0).stale == []
    pbxs.play(LinkChanged(pbx="main", at=60.0, link="ami", state=LinkState.DOWN, detail="it\x1b[31m broke"))
    assert shown(pbxs, 100.0).stale == ["main: AMI is down for 0:40: it\N{REPLACEMENT CHARACTER}[31m broke"]
    assert shown(pbxs, 100.0, broken="gone", broken_s=5.0).stale == ["no connection for 0:05: gone"]
    pbxs.play(*up(101.0))
    assert shown(pbxs, 102.0).stale == ["main: the queues are being read anew"]


def test_two_pbxs_are_told_apart() -> None:
    pbxs = current(Pbxs("main", "other"))
    pbxs.states()["main"].queue("a")
    pbxs.states()["other"].queue("a")
    assert [cells[0] for _, cells in shown(pbxs, 1.0).queues] == ["main/a", "other/a"]


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0:00"), (7.9, "0:07"), (750, "12:30"), (11_100, "3:05:00")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_text_from_outside_steers_no_terminal() -> None:
    assert clean("Zoë\x1b]0;x\x07\n") == "Zoë\N{REPLACEMENT CHARACTER}]0;x" + 2 * "\N{REPLACEMENT CHARACTER}"
    assert QueueItem.__struct_config__.tag == "queue"
    assert AgentItem.__struct_config__.tag == "agent"


# -- the screen -----------------------------------------------------------------------------------------------------


def rows(app: Top, name: str) -> list[list[str]]:
    table: DataTable[Any] = app.query_one(f"#{name}", DataTable)
    return [[str(cell) for cell in table.get_row(key)] for key in table.rows]


def line(app: Top) -> str:
    return str(app.query_one("#freshness", Static).render())


async def seen(app: Top, pilot: Pilot[None], condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await pilot.pause(0.01)
            app.refresh_view()


async def test_the_screen_follows_and_greys_out(make_site: MakeSite) -> None:  # noqa: F811
    pbxs = current(Pbxs())
    site: Site = await make_site(pbxs)
    site.now = time.time()
    pbxs.play(*up(site.now - 50), member("Anna"), joined("a", site.now - 65))
    current(pbxs)
    app = Top(Feed(site.url, "", Subscribe(), random=Random(1), clock=time.time))
    async with app.run_test(size=(120, 40)) as pilot:
        await seen(app, pilot, lambda: line(app).startswith("live"))
        assert rows(app, "queues")[0][:3] == ["support", "1", "1:05"]
        assert rows(app, "callers")[0][:3] == ["support", "1", "0401 Zoë"]
        assert rows(app, "agents")[0][:2] == ["Anna", "available"]
        pbxs.play(joined("b", site.now, position=2))
        await seen(app, pilot, lambda: len(rows(app, "callers")) == 2)
        pbxs.play(CallerLeft(pbx="main", at=site.now, queue="support", uniqueid="a"))
        await seen(app, pilot, lambda: rows(app, "queues")[0][1] == "1")
        assert rows(app, "callers")[0][1] == "1", "the next one moved up"
        await pilot.press("slash", *"nobody")
        await seen(app, pilot, lambda: rows(app, "queues") == [])
        await pilot.press("escape")
        await seen(app, pilot, lambda: len(rows(app, "queues")) == 1)
        pbxs.play(LinkChanged(pbx="main", at=site.now, link="ami", state=LinkState.DOWN, detail="it broke"))
        await seen(app, pilot, lambda: "AMI is down" in line(app))
        assert app.query_one("#queues").has_class("stale-table")
        await site.server.close()
        await seen(app, pilot, lambda: "no connection for" in line(app))
        assert rows(app, "queues"), "the last that was known is still shown"
        await pilot.press("q")


async def test_a_wrong_token_is_said(make_site: MakeSite) -> None:  # noqa: F811
    site = await make_site(anonymous="")
    token = (await site.token(Role.VIEWER, TokenScope.READ))["Authorization"].removeprefix("Bearer ")
    wrong = Top(Feed(site.url, "wrong", Subscribe(), random=Random(1), clock=time.time))
    async with wrong.run_test() as pilot:
        await seen(wrong, pilot, lambda: "answered 401: give a token" in line(wrong))
    right = Top(Feed(site.url, token, Subscribe(), random=Random(1), clock=time.time))
    async with right.run_test() as pilot:
        await seen(right, pilot, lambda: line(right).startswith("live"))


async def test_a_broken_connection_is_taken_up_where_it_was(make_site: MakeSite) -> None:  # noqa: F811
    pbxs = current(Pbxs())
    site = await make_site(pbxs)
    feed = Feed(site.url, "", Subscribe(), random=Random(1), clock=time.time)
    following = asyncio.create_task(feed.run(lambda: None))
    await until(lambda: not feed.broken)
    for socket in tuple(site.socket._sockets):
        await socket.close()
    pbxs.play(member("Anna"))
    await until(lambda: ("member", "main/support/PJSIP/Anna") in feed.copy.items)
    assert site.hub.resumed == 1
    following.cancel()
    await asyncio.wait({following})


async def test_it_runs_in_a_terminal(make_site: MakeSite, tmp_path: Path) -> None:  # noqa: F811
    """The command itself, with a pseudo-terminal for its screen."""
    pbxs = current(Pbxs())
    site = await make_site(pbxs)
    site.now = time.time()
    pbxs.play(*up(site.now), member("Anna"), joined("a", site.now))
    current(pbxs)
    screen, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "connector", "top", "--url", site.url),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
    )
    os.close(terminal)
    output = b""
    try:
        async with asyncio.timeout(30):
            while not all(word in output for word in (b"support", b"Anna", b"0401", b"live")):
                await asyncio.sleep(0.02)
                while select.select([screen], [], [], 0)[0]:
                    output += os.read(screen, 65_536)
            os.write(screen, b"q")
            while process.returncode is None:
                await asyncio.sleep(0.02)
                try:
                    while select.select([screen], [], [], 0)[0]:
                        os.read(screen, 65_536)
                except OSError:  # its terminal is closed
                    pass
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(screen)


async def test_without_a_connector_it_says_so() -> None:
    app = Top(Feed(f"http://127.0.0.1:{unused_port()}", "", Subscribe(), random=Random(1), clock=time.time))
    async with app.run_test() as pilot:
        await seen(app, pilot, lambda: "Cannot connect" in line(app))
        assert "last heard never" in line(app)
