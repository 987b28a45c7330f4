"""The socket of those who listen, at its edge: who may, what it takes, and what ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connector.access.accounts import Principal
from connector.access.rights import Right, Role
from connector.access.sight import Sight
from connector.audio import g711
from connector.dialects.base import Track
from connector.streams.listening import Voice
from connector.web.audit import Audit
from connector.web.auth.identity import Who, set_who
from connector.web.listen import PATH, ListenSocket
from connector.web.rest.problems import as_problems
from connector.web.voice import FRAME_BYTES, FRAMES_AHEAD, BadVoice, Mouth
from tests.unit.web.site import until

FRAME = np.full(160, 1_000, "<i2").tobytes()


class Listened:
    """What `Taps.listen` gives, without an Asterisk."""

    def __init__(self) -> None:
        self.order = self
        self.channel_id = "1.1"
        self.started = asyncio.Event()
        self.started.set()
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.said: list[bytes] = []
        self.say = self.said.append

    def stop(self) -> None:
        if not self.over.done():
            self.over.set_result("stopped")


class Desk:
    """Taps and acts of a PBX in which agent "anna" talks, and a server before them."""

    def __init__(self) -> None:
        self.rights = {Right.LISTEN, Right.WHISPER, Right.BARGE}
        self.mine, self.still = True, True
        self.ordered: list[tuple[str, Track, Voice]] = []
        self.listened = Listened()
        self.deeds: list[Any] = []
        self.hear: Callable[[Track, bytes], None] = lambda _track, _audio: None
        socket = ListenSocket(
            self,  # type: ignore[arg-type]
            {"main": self},  # type: ignore[dict-item]
            Audit(self.deeds.append, clock=time.time),
            lambda _: self.still,
        )
        application = web.Application(middlewares=[as_problems, self._known])
        socket.add_to(application)
        self.server = TestServer(application)

    @web.middleware
    async def _known(self, request: web.Request, handler: Any) -> web.StreamResponse:
        principal = Principal(name="a", role=Role.SUPERVISOR, rights=frozenset(self.rights), sight=Sight(None))
        set_who(request, Who("a", "127.0.0.1", principal))
        return await handler(request)  # type: ignore[no-any-return]

    def conversation(self, _sight: Sight, _pbx: str, _agent: str) -> tuple[None, str, None]:
        return None, "1.1", None

    def caller(self, _sight: Sight, _pbx: str, _linkedid: str) -> str:
        return "1.0"

    def reaches(self, _sight: Sight, _pbx: str, _uniqueid: str) -> bool:
        return self.mine

    def listen(
        self, channel_id: str, hear: Callable[[Track, bytes], None], *, speaker: Track, voice: Voice
    ) -> Listened:
        self.ordered.append((channel_id, speaker, voice))
        self.hear = hear
        return self.listened

    def url(self, query: str) -> str:
        return str(self.server.make_url(PATH)) + query


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    async with desk.server:
        yield desk


async def refused(desk: Desk, query: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(desk.url(query)) as answer:
        return answer.status


@pytest.mark.parametrize(
    "query",
    ["", "?pbx=main", "?agent=anna", "?pbx=main&agent=anna&call=1", "?pbx=main&agent=anna&agent=anna",
     "?pbx=main&agent=anna&mode=take", "?pbx=main&call=1&mode=whisper", "?pbx=main&agent=anna&more=1"],
)  # fmt: skip
async def test_a_question_that_is_none_is_refused(desk: Desk, query: str) -> None:
    assert await refused(desk, query) == 400
    assert not desk.ordered


@pytest.mark.parametrize("mode", ["listen", "whisper", "barge"])
async def test_each_mode_needs_its_right(desk: Desk, mode: str) -> None:
    desk.rights.discard(Right(mode))
    assert await refused(desk, f"?pbx=main&agent=anna&mode={mode}") == 403
    assert not desk.ordered
    assert [(deed.action, deed.result) for deed in desk.deeds] == [(f"act.{mode}-live", "forbidden")]


async def test_what_is_spoken_reaches_the_tap_and_no_more_than_can_be_spoken(desk: Desk) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(desk.url("?pbx=main&agent=anna&mode=whisper")) as socket,
    ):
        started = await socket.receive_json(timeout=5)
        assert started["microphone"] == {"encoding": "pcm16", "rate_hz": 8000, "frame_ms": 20}
        for _ in range(200):
            await socket.send_bytes(FRAME)
        await socket.send_bytes(b"?")
        assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
    assert desk.ordered == [("1.1", Track.AGENT, Voice.TAPPED)]
    assert FRAMES_AHEAD <= len(desk.listened.said) < 100
    assert set(desk.listened.said) == {g711.ulaw_encode(np.full(160, 1_000, np.int16)).tobytes()}
    await until(lambda: [deed.action for deed in desk.deeds] == ["act.whisper-live", "act.whisper-live-end"])


async def test_who_only_listens_says_nothing(desk: Desk) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(desk.url("?pbx=main&agent=anna")) as socket:
        assert (await socket.receive_json(timeout=5))["microphone"] is None
        await socket.send_bytes(FRAME)
        closed = await socket.receive(timeout=5)
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1003)
    assert not desk.listened.said


async def test_a_call_that_goes_to_a_foreign_queue_is_heard_no_more(desk: Desk) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(desk.url("?pbx=main&call=1.0")) as socket:
        await socket.receive_json(timeout=5)
        desk.hear(Track.AGENT, b"\xff" * 160)
        assert await socket.receive_bytes(timeout=5) == b"\x01" + b"\xff" * 160
        desk.mine = False
        assert (await socket.receive(timeout=10)).data == aiohttp.WSCloseCode.POLICY_VIOLATION
    assert desk.ordered == [("1.0", Track.CALLER, Voice.NOBODY)]


async def test_a_tap_that_asterisk_does_not_give_says_why(desk: Desk) -> None:
    desk.listened.started.clear()
    desk.listened.over.set_result("no StasisStart within 2 s")
    async with aiohttp.ClientSession() as session, session.ws_connect(desk.url("?pbx=main&agent=anna")) as socket:
        closed = await socket.receive(timeout=5)
        assert (closed.data, closed.extra) == (1011, "no StasisStart within 2 s")


def test_a_stall_is_made_up_for_by_a_tenth_of_a_second_at_most() -> None:
    said: list[bytes] = []
    now = 100.0
    mouth = Mouth(said.append, monotonic=lambda: now)
    for _ in range(50):
        mouth.take(FRAME)
    assert (len(said), mouth.dropped) == (FRAMES_AHEAD, 50 - FRAMES_AHEAD)
    now += 10
    for _ in range(50):
        mouth.take(FRAME)
    assert len(said) == 2 * FRAMES_AHEAD
    for _ in range(50):
        now += 0.020001
        mouth.take(FRAME)
    assert len(said) == 2 * FRAMES_AHEAD + 50


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES - 1, FRAME_BYTES + 1, 4_096])
def test_a_message_of_another_size_is_no_voice(size: int) -> None:
    mouth = Mouth(lambda _: None, monotonic=time.monotonic)
    with pytest.raises(BadVoice, match="320"):
        mouth.take(bytes(size))
