"""Bots with other formats than mu-law, through a real worker: a tone each way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from connector.audio.formats import AudioFormat, Encoding
from connector.audio.g711 import ulaw_decode, ulaw_encode
from connector.audio.opus import DECODED_HZ
from connector.audio.tone import dominant_tone, sine
from connector.audio.transcode import Transcoder

CALLER_HZ, BOT_HZ = 1010, 610
RAW = [("l16", 8_000), ("l16", 16_000), ("l16", 24_000), ("l16", 48_000), ("pcma", 8_000), ("opus", 24_000)]


class RawBot:
    """Takes binary messages."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.socket: ServerConnection

    async def converse(self, socket: ServerConnection) -> None:
        self.socket = socket
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                if isinstance(message, bytes):
                    self.heard.append(message)

    def sound(self, audio: AudioFormat) -> tuple[NDArray[np.int16], int]:
        rate_hz = DECODED_HZ if audio.encoding is Encoding.OPUS else audio.rate_hz
        to_linear = Transcoder(audio, AudioFormat(Encoding.L16, rate_hz))
        return np.frombuffer(b"".join(map(to_linear.convert_one, self.heard)), "<i2"), rate_hz


@pytest.fixture
async def raw_bot() -> AsyncIterator[tuple[RawBot, str]]:
    bot = RawBot()
    async with serve(bot.converse, "127.0.0.1", 0, compression=None) as server:
        yield bot, f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"


def frames(hz: float, audio: AudioFormat, ms: int) -> list[bytes]:
    linear = AudioFormat(Encoding.L16, audio.rate_hz)
    wave = sine(hz, audio.rate_hz * ms // 1000, rate_hz=audio.rate_hz).astype("<i2").tobytes()
    pack = Transcoder(linear, audio)
    return [pack.convert_one(wave[at : at + linear.frame_bytes]) for at in range(0, len(wave), linear.frame_bytes)]


@pytest.mark.parametrize(("encoding", "rate_hz"), RAW)
async def test_a_tone_each_way(
    open_stream: Any, raw_bot: tuple[RawBot, str], until: Any, encoding: str, rate_hz: int
) -> None:
    bot, url = raw_bot
    audio = AudioFormat(Encoding(encoding), rate_hz)
    options = {"encoding": encoding, "rate_hz": rate_hz}
    _, caller = await open_stream(url, dialect="raw", dialect_options={"name": "raw", **options})
    for packet in frames(BOT_HZ, audio, 800):
        await bot.socket.send(packet)
    said = ulaw_encode(sine(CALLER_HZ, 8_000, rate_hz=8_000)).tobytes()
    await caller.speak([said[at : at + 160] for at in range(0, len(said), 160)])
    await until(lambda: len(caller.heard) >= 40)
    await until(lambda: len(bot.heard) >= 50)
    await asyncio.sleep(0)
    at_caller = dominant_tone(ulaw_decode(b"".join(caller.heard[5:35])), 8_000)
    assert abs(at_caller.hz - BOT_HZ) < 3
    assert abs(at_caller.dbfs + 10) < 0.7
    sound, sound_hz = bot.sound(audio)
    loud = np.flatnonzero(np.abs(sound.astype(np.int32)) > 3000)
    at_bot = dominant_tone(sound[loud[0] + sound_hz // 10 : loud[-1] - sound_hz // 10], sound_hz)
    assert abs(at_bot.hz - CALLER_HZ) < 3
    assert abs(at_bot.dbfs + 10) < 0.7


async def test_what_is_no_opus_is_counted_and_the_stream_goes_on(
    open_stream: Any, raw_bot: tuple[RawBot, str], until: Any
) -> None:
    bot, url = raw_bot
    options = {"name": "raw", "encoding": "opus", "rate_hz": 16_000}
    handle, caller = await open_stream(url, dialect="raw", dialect_options=options)
    for rubbish in (b"\xff\xff\xff\xff", b"", b"\x00" * 4_000):
        await bot.socket.send(rubbish)
    for packet in frames(BOT_HZ, AudioFormat(Encoding.OPUS, 16_000), 400):
        await bot.socket.send(packet)
    await until(lambda: len(caller.heard) >= 20)
    await until(lambda: handle.stats.bot_rejected >= 1)
    assert not handle.ended.done()
