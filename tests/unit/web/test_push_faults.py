"""Viewers that stop reading, whose connection breaks, or who come in the middle of a tick: the others do not notice."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from hypothesis import given, settings, strategies as st
from structlog.testing import capture_logs
from yarl import URL

from connector.events import DeviceState, Member, MemberChanged
from connector.web.push.hub import Feed
from connector.web.push.messages import Delta, Snapshot
from connector.web.push.viewer import Copy
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Pbxs, Site, recorded, until
from tests.unit.web.test_push import EVERYTHING, drain, fresh, hub_of

QUEUES = 200
SUBSCRIBE = b'{"type":"subscribe"}'


def a_turn(number: int) -> list[MemberChanged]:
    """Every member of every queue changes."""
    device = (DeviceState.IN_USE, DeviceState.NOT_IN_USE)[number % 2]
    return [
        MemberChanged(
            pbx="main",
            at=float(number),
            queue=f"queue {queue}",
            member=Member(interface=f"PJSIP/{queue}", name="N" * 100, calls_taken=number, device=device),
            kind="status",
        )
        for queue in range(QUEUES)
    ]


@dataclass
class Raw:
    """A WebSocket by hand, which reads when it is told to and not before."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def frame(self) -> bytes:
        """The next message of the server (RFC 6455 section 5.2), whole; its pings are passed over."""
        while True:
            first, length = await self.reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack(">H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", await self.reader.readexactly(8))
            body = await self.reader.readexactly(length)
            if first == 0x81:
                return body


@asynccontextmanager
async def raw_viewer(site: Site) -> AsyncIterator[Raw]:
    """Connects and subscribes, with little room for what it does not read."""
    url = URL(site.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (url.host, url.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /api/v1/live HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    writer.write(bytes((0x81, 0x80 | len(SUBSCRIBE), 0, 0, 0, 0)) + SUBSCRIBE)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


async def read_into(copy: Copy, live: aiohttp.ClientWebSocketResponse, kinds: list[type]) -> None:
    async for message in live:
        kinds.append(type(copy.feed(message.data)))  # noqa: PERF401 - whoever reads looks on


def sequence(copy: Copy) -> int:
    """Where a viewer is; -1 before its first message."""
    return -1 if copy.resume is None else copy.resume.sequence


async def test_who_stops_reading_is_given_a_snapshot_and_the_others_everything(make_site: MakeSite) -> None:
    pbxs = Pbxs()
    site = await make_site(pbxs)
    site.hub._feed_bytes = 1_000_000
    site.socket._send_s = 60.0
    good = Copy()
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{site.url}/api/v1/live", max_msg_size=0) as live,
        raw_viewer(site) as stalled,
    ):
        await live.send_str(SUBSCRIBE.decode())
        good_kinds: list[type] = []
        reading = asyncio.create_task(read_into(good, live, good_kinds))
        await until(lambda: site.hub.viewers == 2)
        number = 0
        with capture_logs() as logs:
            async with asyncio.timeout(30):
                while not site.hub.snapshots_forced:
                    number += 1
                    pbxs.play(*a_turn(number))
                    before = site.hub.sequence
                    await until(lambda before=before: reading.done() or sequence(good) > before)  # type: ignore[misc]
                    assert not reading.done(), reading.exception()
        assert [entry["event"] for entry in logs].count("viewer_too_slow") == 1
        # The other one has it all, without a snapshot in between.
        await until(lambda: sequence(good) == site.hub.sequence)
        assert good.items == fresh(site.hub, EVERYTHING)
        assert good_kinds.count(Snapshot) == 1
        # What waits for the one that does not read is bounded.
        (group,) = site.hub._groups.values()
        assert max(feed._bytes for feed in group.feeds) <= site.hub._feed_bytes
        # It reads again: the rest of what was on its way, then a snapshot, and it is where everybody is.
        slow, kinds = Copy(), []
        async with asyncio.timeout(30):
            while sequence(slow) < site.hub.sequence:
                kinds.append(type(slow.feed(await stalled.frame())))
        assert kinds.count(Snapshot) == 2
        assert slow.items == good.items
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_who_takes_nothing_for_long_is_sent_away(make_site: MakeSite) -> None:
    pbxs = Pbxs()
    site = await make_site(pbxs)
    site.socket._send_s = 0.2
    async with raw_viewer(site):
        await until(lambda: site.hub.viewers == 1)
        number = 0
        async with asyncio.timeout(30):
            while site.hub.viewers:
                number += 1
                pbxs.play(*a_turn(number))
                await asyncio.sleep(0.01)


async def test_a_connection_that_breaks_goes_on_where_it_was(make_site: MakeSite) -> None:
    pbxs = Pbxs()
    site = await make_site(pbxs)
    copy = Copy()
    stream = list(recorded())
    for part in range(0, len(stream), 100):
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{site.url}/api/v1/live") as live:
            resume = copy.resume
            await live.send_json(
                {"type": "subscribe"}
                | ({"resume": {"epoch": resume.epoch, "sequence": resume.sequence}} if resume else {})
            )
            first = copy.feed(await live.receive_str(timeout=5))
            assert isinstance(first, Delta if part else Snapshot)
            pbxs.play(*stream[part : part + 50])
            behind = site.hub.sequence
            await until(lambda behind=behind: site.hub.sequence > behind)  # type: ignore[misc]
            copy.feed(await live.receive_str(timeout=5))
            transport = live.get_extra_info("socket")
            assert transport is not None
            live._response.connection.transport.abort()  # type: ignore[union-attr]
        await until(lambda: site.hub.viewers == 0)
        pbxs.play(*stream[part + 50 : part + 100])
        await until(lambda: not site.hub._dirty.is_set())
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{site.url}/api/v1/live") as live:
        assert copy.resume is not None
        resumed = {"epoch": copy.resume.epoch, "sequence": copy.resume.sequence}
        await live.send_json({"type": "subscribe", "resume": resumed})
        assert isinstance(copy.feed(await live.receive_str(timeout=5)), Delta)
        assert copy.items == fresh(site.hub, EVERYTHING)
    assert site.hub.resumed == -(-len(stream) // 100)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(5, 80))
def test_what_happens_in_the_middle_of_a_tick_is_not_lost(seed: int, size: int) -> None:
    """A tick is done in steps; between two of them events come, viewers come and go."""
    chance = random.Random(seed)
    pbxs = Pbxs()
    hub = hub_of(pbxs)
    copies: list[tuple[Feed, Copy]] = []
    stream = list(recorded("22-shift" if seed % 2 else "16-shift"))

    def meanwhile() -> None:
        if chance.random() < 0.5 and stream:
            pbxs.play(*stream[:size])
            del stream[:size]
        if chance.random() < 0.1:
            copies.append((hub.attach(EVERYTHING, None), Copy()))
        for feed, copy in copies:
            if chance.random() < 0.3:
                drain(feed, copy)
        if copies and chance.random() < 0.1:
            feed, copy = copies.pop(chance.randrange(len(copies)))
            drain(feed, copy)
            hub.detach(feed)
            copies.append((hub.attach(EVERYTHING, copy.resume), copy))

    while stream:
        hub.changed_elsewhere()
        for _ in hub.steps():
            meanwhile()
        meanwhile()
    hub.flush()
    for feed, copy in copies:
        drain(feed, copy)
        assert copy.items == fresh(hub, EVERYTHING)


@pytest.mark.parametrize("queues", [500])
def test_no_step_makes_more_than_a_handful_of_items(queues: int) -> None:
    """So a whole contact centre never keeps the loop: who drives the steps may stop between any two."""
    pbxs = Pbxs()
    hub = hub_of(pbxs)
    for queue in range(queues):
        pbxs.play(
            *(
                MemberChanged(
                    pbx="main",
                    at=1.0,
                    queue=f"q{queue}",
                    member=Member(interface=f"PJSIP/{queue}-{n}", name="x"),
                    kind="added",
                )
                for n in range(10)
            )
        )
    hub.changed_elsewhere()
    made = [0, *(len(hub.shelf.items) for _ in hub.steps()), len(hub.shelf.items)]
    assert made[-1] == queues * 21
    assert max(after - before for before, after in itertools.pairwise(made)) <= 50
