"""A connector in the test's own process, so that a test may bend a thing in it; with a caller, a bot and bad lines."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from connector.app import Connector
from connector.audio import g711
from connector.audio.tone import sine
from connector.config import Settings
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.phone import Phone
from connector.lab.proof import until_nothing_left
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST
from connector.media.diagnosis import Fault

CALLER_HZ, BOT_HZ = 450, 620
"""No whole number of samples long, as a voice is not."""

Samples = NDArray[np.int16]


@dataclass
class Desk:
    """A caller, a bot, and a connector."""

    pbx: LabAsterisk
    connector: Connector
    bot: RecordingBot
    caller: Phone

    async def begin(self, profile: str = "talk", **options: Any) -> tuple[Call, BotStream]:
        """A call to the bot that keeps what it hears, answered; the only one, whatever a test before has left."""
        for left in self.caller.calls.values():
            await left.hang_up()
        await until_nothing_left(self.pbx)
        after = len(self.bot.streams)
        call = await self.caller.call(f"bot_{profile}", **options)
        stream = await self.bot.next_stream(after=after)
        await call.wait_answered()
        return call, stream

    def live(self) -> dict[str, Any]:
        """The quality of the one stream there is, as the API shows it."""
        quality: dict[str, Any] = self._stream()["quality"]
        return quality

    async def until_counted(self, holds: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        """Waits until its counters, a second old at most, are as wanted; returns them."""
        stats: dict[str, int] = {}
        try:
            async with asyncio.timeout(10):
                while not holds(stats := self._stream()["stats"]):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise TimeoutError(f"not so: {stats}") from None
        return stats

    def _stream(self) -> dict[str, Any]:
        (stream,) = self.connector.state()["pbx"]["main"]["streams"]
        found: dict[str, Any] = stream
        return found

    async def until(self, holds: Callable[[dict[str, Any]], bool], *, timeout_s: float = 30.0) -> dict[str, Any]:
        """Waits until the quality is as wanted; returns it."""
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout_s):
                while not found or not holds(found):
                    await asyncio.sleep(0.1)
                    found = self.live()
        except TimeoutError:
            raise TimeoutError(f"not so within {timeout_s:g} s: {found}") from None
        return found

    async def until_named(self, *faults: Fault) -> dict[str, Any]:
        """These are named, and no others; returns the quality."""
        found = await self.until(lambda quality: len(quality["faults"]) >= len(faults))
        assert {each["fault"] for each in found["faults"]} == {fault.value for fault in faults}, found
        return found

    async def kept(self, *, more_than: int = -1) -> list[dict[str, Any]]:
        """The qualities in history, the last stream's first, once there are more than so many."""
        async with asyncio.timeout(15):
            while len(kept := await self.connector.store.history.streams(since=0, until=4e9)) <= more_than:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return [each.quality for each in sorted(kept, key=lambda each: -each.at)]

    async def end(self, call: Call) -> None:
        """The caller hangs up, and nothing is left."""
        await call.hang_up()
        await until_nothing_left(self.pbx)


@contextlib.asynccontextmanager
async def open_desk(pbx: LabAsterisk, settings: Mapping[str, Any], bot: RecordingBot) -> AsyncIterator[Desk]:
    """Runs a connector with these settings, and a phone whose calls sound like `CALLER_HZ`."""
    connector = Connector(Settings.model_validate(settings))
    running = asyncio.create_task(connector.run())
    try:
        async with asyncio.timeout(60):
            while not connector.ready.is_set() or connector.not_ready():
                assert not running.done()
                await asyncio.sleep(0.02)
        async with Phone(0, "alice", (HOST, pbx.sip_port), source=tone_source(CALLER_HZ)) as caller:
            yield Desk(pbx, connector, bot, caller)
    finally:
        running.cancel()
        await asyncio.wait({running})


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs while the body does."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def speak(
    stream: BotStream,
    *,
    samples_a_message: int = 160,
    every_ms: float = 20,
    written: Callable[[Samples], bytes] = lambda samples: g711.ulaw_encode(samples).tobytes(),
    sound: Callable[[int, int], Samples] = lambda start, count: sine(BOT_HZ, count, rate_hz=8000, start=start),
) -> None:
    """The bot speaks message by message, as bots do that speak in real time."""
    loop = asyncio.get_running_loop()
    begun, number = loop.time(), 0
    while True:
        await stream.play_bytes(written(sound(number * samples_a_message, samples_a_message)))
        number += 1
        await asyncio.sleep(max(0.0, begun + number * every_ms / 1000 - loop.time()))


class Nat(asyncio.DatagramProtocol):
    """Passes what comes on to a port, from a port of its own; a test bends `passes`. `async with`.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, to: tuple[str, int]) -> None:
        self.to = to
        self.port = 0
        self._from = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._transport: asyncio.DatagramTransport | None = None

    def passes(self, data: bytes) -> None:
        """What becomes of a datagram."""
        self.send(data)

    def send(self, data: bytes) -> None:
        """Passes a datagram on."""
        self._from.sendto(data, self.to)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.passes(data)

    async def __aenter__(self) -> Self:
        self._from.bind((HOST, 0))
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(HOST, 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._transport is not None
        self._transport.close()
        self._from.close()


@contextlib.asynccontextmanager
async def between_phone_and_pbx(call: Call, nat: Callable[[tuple[str, int]], Nat]) -> AsyncIterator[Nat]:
    """Puts this between: what the caller says goes through it."""
    assert call.rtp.remote is not None
    straight = call.rtp.remote
    async with nat(straight) as through:
        call.rtp.remote = (HOST, through.port)
        try:
            yield through
        finally:
            call.rtp.remote = straight
