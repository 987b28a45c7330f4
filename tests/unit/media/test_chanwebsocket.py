"""The WebSocket to Asterisk against a server that says what chan_websocket of 22.10 says, in both its forms."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from connector.audio.formats import AudioFormat, Encoding
from connector.media.chanwebsocket import ASK_EVERY_FRAMES, MAX_FRAMES, TARGET_FRAMES, AsteriskSocket
from connector.media.dial import DialFailed

ULAW, WIDE = AudioFormat(), AudioFormat(Encoding.L16, 16_000)
FRAME = b"\x11" * 160
START = {
    # As captured, ids shortened.
    "plain": "MEDIA_START connection_id:8f1b channel:WebSocket/8f1b/0x7f2c channel_id:em-1 format:ulaw "
    "optimal_frame_size:160 ptime:20",
    "json": '{"event":"MEDIA_START","connection_id":"8f1b","channel":"WebSocket/8f1b/0x7f2c","channel_id":"em-1",'
    '"format":"ulaw","optimal_frame_size":160,"ptime":20,"channel_variables":{"A":"1"}}',
}
STATUS = {
    "plain": "STATUS channel_id:em-1 queue_length:{} xon_level:800 xoff_level:900 queue_full:false bulk_media:false "
    "media_paused:false",
    "json": '{{"event":"STATUS","channel_id":"em-1","queue_length":{},"xon_level":800,"xoff_level":900,'
    '"queue_full":false,"bulk_media":false,"media_paused":false}}',
}
PROCESSED = {
    "plain": "MEDIA_MARK_PROCESSED {}",
    "json": '{{"event":"MEDIA_MARK_PROCESSED","channel_id":"em-1","correlation_id":"{}"}}',
}
XOFF = {"plain": "MEDIA_XOFF", "json": '{"event":"MEDIA_XOFF","channel_id":"em-1"}'}
XON = {"plain": "MEDIA_XON", "json": '{"event":"MEDIA_XON","channel_id":"em-1"}'}
forms = pytest.mark.parametrize("form", ["plain", "json"])


class Asterisk:
    """The other end."""

    def __init__(self) -> None:
        self.audio: list[bytes] = []
        self.commands: list[str] = []
        self.paths: list[str] = []
        self.connection: ServerConnection

    async def converse(self, connection: ServerConnection) -> None:
        self.connection = connection
        assert connection.request is not None
        self.paths.append(connection.request.path)
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                if isinstance(message, bytes):
                    self.audio.append(message)
                elif message.startswith("{"):
                    said = msgspec.json.decode(message)
                    self.commands.append(f"{said['command']} {said.get('correlation_id', '')}".strip() + " (json)")
                else:
                    self.commands.append(message)

    async def say(self, message: str | bytes) -> None:
        await self.connection.send(message)


class Ours:
    def __init__(self, url: str, audio: AudioFormat = ULAW) -> None:
        self.url = url
        self.heard: list[bytes] = []
        self.played: list[str] = []
        self.carrier = AsteriskSocket(audio, self.heard.append, self.played.append)

    async def begin(self, asterisk: Asterisk, form: str, until: Any) -> None:
        await self.carrier.open(self.url, ssl.create_default_context())
        await until(lambda: asterisk.paths)
        await asterisk.say(START[form])
        await asterisk.say(b"\x01" * 160)  # what comes after it has been read, it has been read as well
        await until(lambda: self.heard)

    def speak(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.carrier.send(FRAME, silent=False)


@pytest.fixture
async def asterisk() -> Asterisk:
    return Asterisk()


@pytest.fixture
async def ours(asterisk: Asterisk) -> AsyncIterator[Ours]:
    async with serve(asterisk.converse, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        one = Ours(f"ws://127.0.0.1:{port}/media/8f1b")
        yield one
        one.carrier.close()


def json_if(form: str) -> str:
    return " (json)" if form == "json" else ""


@forms
async def test_audio_goes_both_ways_and_a_little_silence_before_the_first(
    asterisk: Asterisk, ours: Ours, until: Any, form: str
) -> None:
    await ours.begin(asterisk, form, until)
    assert asterisk.paths == ["/media/8f1b"]
    ours.speak(3)
    await until(lambda: len(asterisk.audio) == TARGET_FRAMES + 3)
    assert asterisk.audio == [b"\xff" * 160] * TARGET_FRAMES + [FRAME] * 3


@forms
async def test_a_mark_is_played_when_asterisk_says_so(asterisk: Asterisk, ours: Ours, until: Any, form: str) -> None:
    await ours.begin(asterisk, form, until)
    ours.speak()
    assert ours.carrier.mark("hello")
    ours.speak()
    assert ours.carrier.mark("world")
    await until(lambda: len(asterisk.commands) == 2)
    assert asterisk.commands == [f"MARK_MEDIA m1{json_if(form)}", f"MARK_MEDIA m2{json_if(form)}"]
    assert ours.played == []
    await asterisk.say(PROCESSED[form].format("m1"))
    await until(lambda: ours.played == ["hello"])
    await asterisk.say(PROCESSED[form].format("m2"))
    await until(lambda: ours.played == ["hello", "world"])


@forms
async def test_clear_flushes_and_gives_back_each_mark_once(
    asterisk: Asterisk, ours: Ours, until: Any, form: str
) -> None:
    await ours.begin(asterisk, form, until)
    ours.speak()
    ours.carrier.mark("a")
    ours.carrier.mark("b")
    assert ours.carrier.clear() == ["a", "b"]
    await until(lambda: len(asterisk.commands) == 3)
    assert asterisk.commands[-1] == f"FLUSH_MEDIA{json_if(form)}"
    assert ours.carrier.clear() == []
    await asterisk.say(PROCESSED[form].format("m1"))  # was on its way
    ours.carrier.mark("c")
    await asterisk.say(PROCESSED[form].format("m3"))
    await until(lambda: ours.played)
    assert ours.played == ["c"]


@forms
async def test_it_is_not_ready_while_asterisks_queue_is_full(
    asterisk: Asterisk, ours: Ours, until: Any, form: str
) -> None:
    await ours.begin(asterisk, form, until)
    await asterisk.say(XOFF[form])
    await until(lambda: not ours.carrier.ready)
    await asterisk.say(XON[form])
    await until(lambda: ours.carrier.ready)


@forms
async def test_the_queue_is_asked_for_and_brought_back_while_the_bot_is_silent(
    asterisk: Asterisk, ours: Ours, until: Any, form: str
) -> None:
    await ours.begin(asterisk, form, until)
    ours.speak(ASK_EVERY_FRAMES)
    await until(lambda: asterisk.commands == [f"GET_STATUS{json_if(form)}"])
    await until(lambda: len(asterisk.audio) == TARGET_FRAMES + ASK_EVERY_FRAMES)
    await asterisk.say(STATUS[form].format(MAX_FRAMES + 2))
    await until(lambda: ours.carrier._waiting == MAX_FRAMES + 2)
    asterisk.audio.clear()
    ours.speak(2)  # nothing of what the bot says is left out
    for _ in range(4):
        assert ours.carrier.send(b"\xff" * 160, silent=True)
    await until(lambda: len(asterisk.audio) == 4)
    assert asterisk.audio == [FRAME] * 2 + [b"\xff" * 160] * 2
    await asterisk.say(STATUS[form].format(0))
    await until(lambda: ours.carrier._waiting == 0)
    asterisk.audio.clear()
    for _ in range(4):
        assert ours.carrier.send(b"\xff" * 160, silent=True)
    await until(lambda: len(asterisk.audio) == 4 + TARGET_FRAMES)


@pytest.mark.parametrize("rubbish", ["", "{", '{"event":5}', '{"event":"STATUS","queue_length":"x"}', "HELLO", "\x00"])
async def test_what_is_no_event_is_passed_over(asterisk: Asterisk, ours: Ours, until: Any, rubbish: str) -> None:
    await ours.begin(asterisk, "plain", until)
    await asterisk.say(rubbish)
    await asterisk.say(b"\x02" * 160)
    await until(lambda: len(ours.heard) == 2)


async def test_the_end_is_told(asterisk: Asterisk, ours: Ours, until: Any) -> None:
    await ours.begin(asterisk, "plain", until)
    await asterisk.connection.close(1000)
    assert "1000" in await asyncio.wait_for(ours.carrier.ended(), 5)
    assert not ours.carrier.send(FRAME, silent=False)
    assert not ours.carrier.mark("late")
    assert ours.carrier.clear() == []


async def test_an_asterisk_that_is_not_there(unused_tcp_port: int) -> None:
    carrier = AsteriskSocket(WIDE, print, print)
    with pytest.raises(DialFailed):
        await carrier.open(f"ws://127.0.0.1:{unused_tcp_port}/media/x", ssl.create_default_context())
    carrier.close()
