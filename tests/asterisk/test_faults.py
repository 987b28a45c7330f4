"""The classical faults of how call audio flows, each made on a real call, and named; of how it sounds, see
`test_faults_of_sound`."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from connector.asterisk.ari import Ari
from connector.audio import g711
from connector.config import MediaSettings
from connector.lab.asterisk import LabAsterisk
from connector.lab.process import ConnectorProcess
from connector.lab.recording_bot import RecordingBot
from connector.lab.rtp import silence
from connector.lab.useragent import HOST
from connector.media import diagnosis
from tests.asterisk.desk import Desk, Nat, beside, between_phone_and_pbx, open_desk, speak


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    asterisk: LabAsterisk, make_connector: Callable[..., ConnectorProcess], bot: RecordingBot
) -> AsyncIterator[Desk]:
    async with open_desk(asterisk, make_connector(bots={"talk": bot.url}).settings, bot) as opened:
        yield opened


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
    before = len(await desk.kept())
    await desk.end(call)
    kept = (await desk.kept(more_than=before))[0]
    assert kept["mos"] > 4
    assert kept["faults"] == []
    last_asked = 150 if desk.pbx.version.startswith("16.") else 5  # seconds of packets: it leaves nothing behind
    assert kept["phone"]["packets_from_phone"] == pytest.approx(call.rtp.packets_out, abs=last_asked)
    assert kept["phone"]["packets_to_phone"] == pytest.approx(call.rtp.packets_in, abs=last_asked)
    assert kept["phone"]["lost_from_phone"] == 0


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


async def test_a_nat_between_changes_the_port(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (worker,) = desk.connector.media.workers
    assert worker.rtp is not None
    async with Nat((worker.rtp.host, worker.rtp.port)) as nat:
        monkeypatch.setattr(MediaSettings, "external_host", lambda self, own: f"{HOST}:{nat.port}")
        call, stream = await desk.begin()
        async with beside(speak(stream)):
            await desk.until_named(diagnosis.Fault.NAT_CHANGED_PORT)
        await desk.end(call)


async def test_no_packet_comes_though_asterisk_has_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a firewall between, or a wrong media.advertise_host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind((HOST, 0))
        port = elsewhere.getsockname()[1]
        monkeypatch.setattr(MediaSettings, "external_host", lambda self, own: f"{HOST}:{port}")
        call, stream = await desk.begin()
        async with beside(speak(stream)):
            found = await desk.until_named(diagnosis.Fault.NO_RTP)
        assert "though Asterisk has" in found["faults"][0]["evidence"]
        await desk.end(call)


async def test_the_caller_sends_no_more_and_nobody_holds_the_call(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "MUTE_S", 2.0)
    call, stream = await desk.begin()
    async with beside(speak(stream)):
        await desk.until(lambda quality: quality["age_s"] > 1)
        call.rtp.remote = None
        await desk.until_named(diagnosis.Fault.RTP_STOPPED)
    await desk.end(call)


class Lossy(Nat):
    """One packet in ten is lost."""

    def __init__(self, to: tuple[str, int]) -> None:
        super().__init__(to)
        self._dice = random.Random(1)

    def passes(self, data: bytes) -> None:
        if self._dice.random() > 0.1:
            self.send(data)


class Clumpy(Nat):
    """Holds packets up and lets sixteen go at once, as a wireless link does whose air is taken."""

    def __init__(self, to: tuple[str, int]) -> None:
        super().__init__(to)
        self._held: list[bytes] = []

    def passes(self, data: bytes) -> None:
        self._held.append(data)
        if len(self._held) == 16:
            for each in self._held:
                self.send(each)
            self._held.clear()


async def test_packets_that_get_lost(desk: Desk) -> None:
    call, stream = await desk.begin()
    async with between_phone_and_pbx(call, Lossy), beside(speak(stream)):
        found = await desk.until_named(diagnosis.Fault.LOSS)
    assert 3 < found["loss_percent"] < 20
    assert found["mos"] < 3.9
    # Asterisk itself misses them: that is told while the call is up, and is kept when the caller has hung up.
    live = await desk.until(lambda quality: quality["phone"].get("lost_from_phone", 0) > 0)
    assert live["phone"]["packets_from_phone"] > 100
    streams = await desk.kept()
    await desk.end(call)
    (kept, *_) = await desk.kept(more_than=len(streams))
    assert 0.03 < kept["phone"]["lost_from_phone"] / kept["phone"]["packets_from_phone"] < 0.2
    assert kept["phone"]["packets_from_phone"] >= live["phone"]["packets_from_phone"]


async def test_packets_that_come_in_clumps(desk: Desk) -> None:
    call, stream = await desk.begin()
    async with between_phone_and_pbx(call, Clumpy), beside(speak(stream)):
        await desk.until_named(diagnosis.Fault.JITTER)
    streams = await desk.kept()
    await stream.close()  # the call goes on in the dialplan
    (kept, *_) = await desk.kept(more_than=len(streams))
    assert kept["phone"]["packets_from_phone"] > 100
    assert kept["phone"]["jitter_from_phone_ms"] > 10
    await desk.end(call)
