"""Dialects that no bot of somebody else's was found for, over a real call: tone both ways, and what each can do."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from connector.audio.g711 import ulaw_decode, ulaw_encode
from connector.audio.tone import Dominant, dominant_tone, sine
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard

CALLER_HZ, BOT_HZ = 1000, 600
DIALECTS: dict[str, tuple[Any, int]] = {
    "raw16": ({"name": "raw", "rate_hz": 16000}, 16_000),
    "raw48": ({"name": "raw", "rate_hz": 48000, "message_ms": 60}, 48_000),
    "rustpbx": ({"name": "rustpbx", "input_sample_rate": 16000, "output_sample_rate": 24000}, 24_000),
    "model": ({"name": "openai-realtime", "greeting": "Say hello."}, 8_000),
    "model24": ({"name": "openai-realtime", "encoding": "l16"}, 24_000),
}
"""By profile: the dialect, and the rate at which the server hears."""


class Talk:
    """One connection of the server: says a tone, keeps what it hears."""

    def __init__(self, socket: ServerConnection, profile: str) -> None:
        self.socket, self.profile = socket, profile
        self.texts: list[dict[str, Any]] = []
        self._audio = bytearray()
        self._model = profile.startswith("model")
        self._linear = profile != "model"

    async def run(self) -> None:
        async for message in self.socket:
            if isinstance(message, bytes):
                self._audio += message
                continue
            text = json.loads(message)
            if text["type"] == "input_audio_buffer.append":
                self._audio += base64.b64decode(text["audio"])
                continue
            self.texts.append(text)
            if text["type"] == "session.update":
                await self.say({"type": "session.created"})
                await self.say({"type": "session.updated", "session": text["session"]})

    async def say(self, message: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(message))

    async def play(self, seconds: float) -> None:
        """Says the tone."""
        rate_hz = 16_000 if self.profile == "rustpbx" else DIALECTS[self.profile][1]
        samples = sine(BOT_HZ, round(rate_hz * seconds), rate_hz=rate_hz)
        audio = samples.astype("<i2").tobytes() if self._linear else ulaw_encode(samples).tobytes()
        if self._model:
            delta = base64.b64encode(audio).decode()
            await self.say({"type": "response.output_audio.delta", "item_id": "item_1", "delta": delta})
            return
        for at in range(0, len(audio), 4_001):  # through the middle of samples, too
            await self.socket.send(audio[at : at + 4_001])

    @property
    def heard(self) -> Dominant:
        """The last half second of the caller."""
        rate_hz = DIALECTS[self.profile][1]
        audio = bytes(self._audio[-rate_hz * (1 if self._linear else 0) - (0 if self._linear else 4_000) :])
        samples = np.frombuffer(audio, "<i2") if self._linear else ulaw_decode(np.frombuffer(audio, np.uint8))
        return dominant_tone(samples, rate_hz)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def talks() -> AsyncIterator[tuple[int, list[Talk]]]:
    """A server for all; the path names the profile."""
    had: list[Talk] = []

    async def converse(socket: ServerConnection) -> None:
        assert socket.request is not None
        talk = Talk(socket, socket.request.path.lstrip("/").partition("?")[0])
        had.append(talk)
        with contextlib.suppress(ConnectionClosed):
            await talk.run()

    def choose(_: ServerConnection, offered: Any) -> Any:
        return offered[0] if offered else None

    async with serve(converse, "127.0.0.1", 0, compression=None, select_subprotocol=choose) as server:
        yield next(iter(server.sockets)).getsockname()[1], had


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(
    make_connector: Callable[..., ConnectorProcess], talks: tuple[int, list[Talk]]
) -> AsyncIterator[ConnectorProcess]:
    urls = {profile: f"ws://127.0.0.1:{talks[0]}/{profile}" for profile in DIALECTS}
    dialects = {profile: {"dialect": dialect} for profile, (dialect, _) in DIALECTS.items()}
    async with make_connector(bots=urls, profile=dialects) as process:
        yield process


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 (a tone in what has come so far)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("profile", DIALECTS)
async def test_a_tone_goes_both_ways(
    connector: ConnectorProcess, talks: tuple[int, list[Talk]], caller: Phone, profile: str
) -> None:
    had = talks[1]
    before = len(had)
    call = await caller.call(f"bot_{profile}")
    await call.wait_answered()
    talk = had[before]
    await talk.play(8.0)
    await until_heard(call, BOT_HZ, window_ms=500, share=0.95)

    def clear() -> bool:
        if len(talk._audio) < 2 * DIALECTS[profile][1]:
            return False
        heard = talk.heard
        return abs(heard.hz - CALLER_HZ) < 5 and heard.share > 0.95

    await until(clear)
    if profile.startswith("model"):
        await talk.say({"type": "input_audio_buffer.speech_started"})
        await until(lambda: [each for each in talk.texts if each["type"] == "conversation.item.truncate"])
        (cut,) = [each for each in talk.texts if each["type"] == "conversation.item.truncate"]
        assert 400 < cut["audio_end_ms"] < 7_900  # the caller heard a part of the eight seconds
    await call.hang_up()
    if profile.startswith("raw"):
        await until(lambda: [each for each in talk.texts if each["type"] == "stop"])
        assert talk.texts[-1]["reason"] == "caller_hung_up"
