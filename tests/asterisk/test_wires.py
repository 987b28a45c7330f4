"""Every way audio can go between Asterisk and the connector, by real calls: a tone each way, at its level, clean."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from connector.audio.tone import Dominant, dominant_tone, seam_db, sine
from connector.audio.wire import WIRES, Transport
from connector.lab.asterisk import LabAsterisk
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, is_loud, until_heard, until_nothing_left
from connector.lab.rtp import RATE_HZ, tone_source
from connector.lab.useragent import HOST

CALLER_HZ, BOT_HZ = 1010, 610
BOT_RATE_HZ = {"slin48": 48_000, "slin16": 16_000, "g722": 24_000}
"""What the bot of a codec speaks and hears, 8000 where nothing else stands: so each resampling has its turn."""


class LinearBot:
    """A bot of the raw dialect: linear samples, at a rate of its own.

    Attributes:
        heard: All audio that came.
        told: All else.
    """

    def __init__(self, connection: ServerConnection, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.heard = bytearray()
        self.told: list[dict[str, Any]] = []
        self._more = asyncio.Event()
        self._connection = connection

    async def listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in self._connection:
                if isinstance(message, bytes):
                    self.heard += message
                else:
                    self.told.append(json.loads(message))
                    self._more.set()

    async def say(self, kind: str, **fields: Any) -> None:
        await self._connection.send(json.dumps({"type": kind, **fields}))

    async def wait_for(self, kind: str, **fields: Any) -> None:
        async with asyncio.timeout(10):
            while not any({"type": kind, **fields}.items() <= each.items() for each in self.told):
                self._more.clear()
                await self._more.wait()

    async def play(self, hz: float, seconds: float) -> None:
        await self.send(sine(hz, round(seconds * self.rate_hz), rate_hz=self.rate_hz).astype("<i2").tobytes())

    async def send(self, audio: bytes) -> None:
        for at in range(0, len(audio), 60_000):
            await self._connection.send(audio[at : at + 60_000])

    def last_second(self) -> NDArray[np.int16]:
        return np.frombuffer(bytes(self.heard[-2 * self.rate_hz :]), "<i2")


class LinearBots:
    """Where the bots of all profiles listen: the path says the rate."""

    def __init__(self) -> None:
        self._bots: asyncio.Queue[LinearBot] = asyncio.Queue()
        self._server: Server | None = None

    async def __aenter__(self) -> LinearBots:
        self._server = await serve(self._converse, HOST, 0, compression=None, max_size=None)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def url(self, rate_hz: int) -> str:
        assert self._server is not None
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://{HOST}:{port}/{rate_hz}"

    async def next(self) -> LinearBot:
        async with asyncio.timeout(10):
            return await self._bots.get()

    async def _converse(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        bot = LinearBot(connection, int(connection.request.path.strip("/")))
        self._bots.put_nowait(bot)
        await bot.listen()


def rate_of(name: str) -> int:
    return BOT_RATE_HZ.get(WIRES[name].codec, 8_000)


def profile_of(name: str) -> str:
    return name.replace("/", "_")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bots() -> AsyncIterator[LinearBots]:
    async with LinearBots() as listening:
        yield listening


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(make_connector: Callable[..., ConnectorProcess], bots: LinearBots) -> AsyncIterator[Any]:
    profiles = {
        profile_of(name): {"audio": name, "dialect": {"name": "raw", "rate_hz": rate_of(name)}} for name in WIRES
    }
    urls = {profile_of(name): bots.url(rate_of(name)) for name in WIRES}
    async with make_connector(bots=urls, profile=profiles) as process:
        yield process


async def clean_second(
    audio: Callable[[], NDArray[np.int16]], rate_hz: int, hz: float, *, share: float = 0.999
) -> Dominant:
    """Waits for a second of nothing but this tone, without a click: what no conversion may spoil, a machine that
    stands still for a moment may."""
    tone, seam = Dominant(0.0, -np.inf, 0.0), 0.0
    try:
        async with asyncio.timeout(12):
            while True:
                await asyncio.sleep(0.2)
                samples = audio()
                if samples.size < rate_hz:
                    continue
                tone = dominant_tone(samples, rate_hz)
                seam = seam_db(samples, hz, rate_hz)
                if abs(tone.hz - hz) < 2 and tone.share > share and seam < -45:
                    return tone
    except TimeoutError:
        raise AssertionError(f"no clean second of {hz:g} Hz: {tone}, seams {seam:.1f} dB") from None


@pytest.mark.parametrize("name", WIRES)
async def test_a_tone_each_way(
    asterisk: LabAsterisk, connector: ConnectorProcess, bots: LinearBots, caller: Phone, name: str
) -> None:
    call = await caller.call(f"bot_{profile_of(name)}", source=tone_source(CALLER_HZ))
    bot = await bots.next()
    if WIRES[name].transport is not Transport.RTP and asterisk.version.startswith("16."):
        # It has no such channels: the call goes on in the dialplan, as with any other failure.
        await until_heard(call, MARK_HZ)
        await call.hang_up()
        await until_nothing_left(asterisk)
        return
    await call.wait_answered()
    await bot.play(BOT_HZ, 14)
    at_bot, at_caller = await asyncio.gather(
        clean_second(bot.last_second, bot.rate_hz, CALLER_HZ),
        clean_second(lambda: call.rtp.audio(last_ms=1000), RATE_HZ, BOT_HZ),
    )
    assert at_bot.dbfs == pytest.approx(-10, abs=1)
    assert at_caller.dbfs == pytest.approx(-10, abs=1)
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_clear_empties_the_queue_of_asterisk_and_a_mark_is_one_of_what_was_played(
    asterisk: LabAsterisk, connector: ConnectorProcess, bots: LinearBots, caller: Phone
) -> None:
    """With chan_websocket Asterisk holds a part of the audio itself."""
    if asterisk.version.startswith("16."):
        return
    call = await caller.call(f"bot_{profile_of('websocket/slin')}")
    bot = await bots.next()
    await call.wait_answered()
    await bot.play(BOT_HZ, 1)
    await bot.say("mark", name="end")
    await bot.wait_for("mark", name="end")
    # Asterisk says so when it takes the frame behind the mark from its queue: the caller has had the second by then.
    await call.rtp.wait_for(lambda rtp: sum(is_loud(packet) for packet in rtp.received) >= 49)
    await bot.play(BOT_HZ, 20)
    await bot.say("mark", name="never played")
    await until_heard(call, BOT_HZ)
    await bot.say("clear")
    await bot.wait_for("mark", name="never played")
    await call.rtp.wait_for(lambda rtp: not any(is_loud(packet) for packet in list(rtp.received)[-10:]))
    await bot.play(CALLER_HZ, 3)
    await until_heard(call, CALLER_HZ)
    await call.hang_up()
    await until_nothing_left(asterisk)


@pytest.mark.parametrize("name", [name for name, wire in WIRES.items() if wire.said.rate_hz > 8_000])
async def test_wideband_goes_through_asterisk_from_bot_to_bot(
    asterisk: LabAsterisk, connector: ConnectorProcess, bots: LinearBots, name: str
) -> None:
    """Two bots at the ends of a Local channel: 5 kHz is nothing that 8,000 samples a second could carry."""
    if WIRES[name].transport is not Transport.RTP and asterisk.version.startswith("16."):
        return
    exten = f"bot_{profile_of(name)}"
    request = {"endpoint": f"Local/{exten}@from-phones", "context": "from-phones", "extension": exten}
    key = {"api_key": f"{asterisk.ari_user}:{asterisk.ari_password}"}
    async with aiohttp.ClientSession() as http:
        params = {**request, **key, "priority": "1", "formats": "slin16"}
        async with http.post(f"{asterisk.ari_url}/channels", params=params) as answer:
            assert answer.status == 200, await answer.text()
            channel = (await answer.json())["id"]
        try:
            one, other = await bots.next(), await bots.next()
            await asyncio.gather(one.play(5_010, 14), other.play(3_010, 14))
            heard = await asyncio.gather(  # G.722 has 2 bits for what is above 4 kHz, and noise accordingly
                clean_second(other.last_second, other.rate_hz, 5_010, share=0.97),
                clean_second(one.last_second, one.rate_hz, 3_010, share=0.97),
            )
            assert [tone.dbfs for tone in heard] == pytest.approx([-10, -10], abs=1)
        finally:
            async with http.delete(f"{asterisk.ari_url}/channels/{channel}", params=key) as answer:
                assert answer.status == 204
    await until_nothing_left(asterisk)
