"""Each classical fault of call audio, made on a real call, and named."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from connector.app import Connector
from connector.asterisk.ari import Ari
from connector.audio import g711
from connector.audio.tone import sine
from connector.config import MediaSettings, Settings
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_nothing_left
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.rtp import silence, tone_source
from connector.lab.useragent import HOST
from connector.media import diagnosis

CALLER_HZ, BOT_HZ = 450, 620
"""No whole number of samples long, as a voice is not."""


@dataclass
class Desk:
    """A caller, a bot, and a connector in the test's own process."""

    pbx: LabAsterisk
    connector: Connector
    bot: RecordingBot
    caller: Phone

    async def begin(self, **options: Any) -> tuple[Call, BotStream]:
        after = len(self.bot.streams)
        call = await self.caller.call("bot_talk", **options)
        stream = await self.bot.next_stream(after=after)
        await call.wait_answered()
        return call, stream

    def live(self) -> dict[str, Any]:
        (stream,) = self.connector.state()["pbx"]["main"]["streams"]
        quality: dict[str, Any] = stream["quality"]
        return quality

    async def until(self, holds: Callable[[dict[str, Any]], bool], *, timeout_s: float = 30.0) -> dict[str, Any]:
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout_s):
                while not found or not holds(found):
                    await asyncio.sleep(0.1)
                    found = self.live()
        except TimeoutError:
            raise TimeoutError(f"not so within {timeout_s:g} s: {found}") from None
        return found

    async def until_named(self, fault: diagnosis.Fault) -> None:
        """The fault is named, and no other."""
        found = await self.until(lambda quality: bool(quality["faults"]))
        assert [each["fault"] for each in found["faults"]] == [fault.value], found

    async def end(self, call: Call) -> None:
        await call.hang_up()
        await until_nothing_left(self.pbx)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    asterisk: LabAsterisk, make_connector: Callable[..., ConnectorProcess], bot: RecordingBot
) -> AsyncIterator[Desk]:
    described = make_connector(bots={"talk": bot.url})
    connector = Connector(Settings.model_validate(described.settings))
    running = asyncio.create_task(connector.run())
    try:
        async with asyncio.timeout(60):
            while not connector.ready.is_set() or connector.not_ready():
                assert not running.done()
                await asyncio.sleep(0.02)
        async with Phone(0, "alice", (HOST, asterisk.sip_port), source=tone_source(CALLER_HZ)) as caller:
            yield Desk(asterisk, connector, bot, caller)
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
    written: Callable[[NDArray[np.int16]], bytes] = lambda samples: g711.ulaw_encode(samples).tobytes(),
) -> None:
    """The bot speaks message by message, as bots do that speak in real time."""
    loop = asyncio.get_running_loop()
    begun, number = loop.time(), 0
    while True:
        samples = sine(BOT_HZ, samples_a_message, rate_hz=8000, start=number * samples_a_message)
        await stream.play_bytes(written(samples))
        number += 1
        await asyncio.sleep(max(0.0, begun + number * every_ms / 1000 - loop.time()))


async def test_a_good_call_measures_well_and_has_no_fault(desk: Desk) -> None:
    call, stream = await desk.begin()

    def good(quality: dict[str, Any]) -> bool:
        # The first look may hold the moment before the audio, or one in which the machine stood still.
        return bool(
            quality["caller"]["looked_ms"] >= 500
            and quality["caller"]["silence_share"] < 0.5
            and quality["bot_pace"] == pytest.approx(1.0, abs=0.1)
            and quality["mos"] > 4
            and quality["loss_percent"] < 1
        )

    async with beside(speak(stream)):
        found = await desk.until(good)
    assert found["faults"] == []
    assert found["caller"]["level_dbfs"] == pytest.approx(-13, abs=1)  # a sine's power is 3 dB under its peak
    assert found["bot"]["level_dbfs"] == pytest.approx(-13, abs=1)
    await desk.end(call)
    # It is in the history, and in the metrics.
    async with asyncio.timeout(10):
        while not (kept := await desk.connector.store.history.streams(since=0, until=4e9)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert kept[0].quality["mos"] > 4
    assert kept[0].quality["faults"] == []


async def test_no_packet_comes_as_the_phone_sends_none(desk: Desk) -> None:
    desk.caller.muted = True
    try:
        call, _ = await desk.begin()
        found = await desk.until(lambda quality: bool(quality["faults"]))
    finally:
        desk.caller.muted = False
    assert [each["fault"] for each in found["faults"]] == ["no_rtp"]
    assert "Asterisk has none of the caller's phone" in found["faults"][0]["evidence"]
    await desk.end(call)


async def test_one_way_audio_both_ways(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "MUTE_S", 4.0)
    call, stream = await desk.begin(source=silence)
    async with beside(speak(stream)):
        await desk.until_named(diagnosis.Fault.CALLER_NOT_HEARD)
    await desk.end(call)
    call, stream = await desk.begin()
    await desk.until_named(diagnosis.Fault.BOT_NOT_HEARD)
    await desk.end(call)


@pytest.mark.parametrize(
    ("fault", "how"),
    [
        ("bot_wrong_codec", {"written": lambda samples: g711.alaw_encode(samples).tobytes()}),
        ("bot_wrong_codec", {"written": lambda samples: samples.astype("<i2").tobytes(), "samples_a_message": 80}),
        ("bot_wrong_rate", {"samples_a_message": 320}),
        ("bot_too_slow", {"every_ms": 25}),
        ("bot_too_fast", {"every_ms": 13}),
    ],
    ids=["a-law", "pcm", "rate", "slow", "fast"],
)
async def test_a_bot_that_sends_wrongly(desk: Desk, fault: str, how: dict[str, Any]) -> None:
    call, stream = await desk.begin()
    async with beside(speak(stream, **how)):
        await desk.until_named(diagnosis.Fault(fault))
    await desk.end(call)


async def test_another_payload_type_than_agreed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Ari.external_media

    async def alaw(self: Ari, channel_id: str, **options: Any) -> Any:
        return await made(self, channel_id, **{**options, "format": "alaw"})

    monkeypatch.setattr(Ari, "external_media", alaw)
    call, stream = await desk.begin()
    async with beside(speak(stream)):
        await desk.until_named(diagnosis.Fault.WRONG_PAYLOAD_TYPE)
    await desk.end(call)


class Nat(asyncio.DatagramProtocol):
    """Passes what comes on to a port, from a port of its own."""

    def __init__(self, to: tuple[str, int]) -> None:
        self.to = to
        self._from = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._from.bind((HOST, 0))

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._from.sendto(data, self.to)

    def connection_lost(self, exc: Exception | None) -> None:
        self._from.close()


async def test_a_nat_between_changes_the_port(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (worker,) = desk.connector.media.workers
    assert worker.rtp is not None
    target = (worker.rtp.host, worker.rtp.port)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Nat(target), local_addr=(HOST, 0))
    port = transport.get_extra_info("sockname")[1]
    monkeypatch.setattr(MediaSettings, "external_host", lambda self, own: f"{HOST}:{port}")
    try:
        call, stream = await desk.begin()
        async with beside(speak(stream)):
            await desk.until_named(diagnosis.Fault.NAT_CHANGED_PORT)
        await desk.end(call)
    finally:
        transport.close()


async def test_packets_that_get_lost(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lossy(Nat):
        dice = random.Random(1)

        def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
            if self.dice.random() > 0.1:
                super().datagram_received(data, addr)

    call, stream = await desk.begin()
    assert call.rtp.remote is not None
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Lossy(call.rtp.remote or ("", 0)), local_addr=(HOST, 0)
    )
    call.rtp.remote = (HOST, transport.get_extra_info("sockname")[1])
    try:
        async with beside(speak(stream)):
            found = await desk.until(lambda quality: bool(quality["faults"]))
        assert [each["fault"] for each in found["faults"]] == ["loss"]
        assert 3 < found["loss_percent"] < 20
        assert found["mos"] < 3.9
        await desk.end(call)
    finally:
        transport.close()
