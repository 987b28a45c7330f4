"""What becomes of the bot's voice before the caller hears it, as each profile says, on real calls."""

from __future__ import annotations

import asyncio
import functools
import time
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from connector.audio.tone import dominant_tone, sine
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.process import ConnectorProcess
from connector.lab.proof import is_loud, until_heard
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.rtp import FRAME_MS, RATE_HZ, RtpSession
from tests.asterisk.desk import Desk, open_desk

BED_HZ, BOT_HZ, LATER_HZ = 900, 600, 1_300
FADE_MS = 120
RING_MS = 1_000
IN_TIME_S = 0.040
"""Two frames: the one that is under way, and the one that Asterisk and the phone have."""
TRIES = 20
"""On a machine that has other work a moment may be late; what is wrong is late each time."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    asterisk: LabAsterisk,
    make_connector: Callable[..., ConnectorProcess],
    bot: RecordingBot,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Desk]:
    bed = tmp_path_factory.mktemp("sounds") / "bed.wav"
    write_wav(bed)
    playouts: dict[str, dict[str, Any]] = {
        "talk": {},
        "softer": {"gain_db": -10},
        "fading": {"fade_ms": FADE_MS},
        "office": {"ambiance_file": str(bed), "ambiance_db": -12, "duck_db": -12},
        "newest": {"max_ms": RING_MS},
        "oldest": {"max_ms": RING_MS, "when_full": "drop_oldest"},
        "hushed": {"idle": "nothing"},
    }
    profiles = {name: {"playout": playout} for name, playout in playouts.items()}
    described = make_connector(bots=dict.fromkeys(profiles, bot.url), profile=profiles)
    async with open_desk(asterisk, described.settings, bot) as opened:
        yield opened


def write_wav(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(sine(BED_HZ, 2 * RATE_HZ, rate_hz=RATE_HZ).astype("<i2").tobytes())


def level_at(rtp: RtpSession, hz: float, *, last_ms: int = 500) -> float:
    """Level of one tone among others in what the caller heard, in dBFS."""
    samples = rtp.audio(last_ms=last_ms).astype(np.float64)
    if not samples.size:
        return -np.inf
    window = np.hanning(samples.size)
    turn = np.exp(-2j * np.pi * hz / RATE_HZ * np.arange(samples.size))
    amplitude = 2 * abs(np.sum(samples * window * turn)) / window.sum()
    return float(20 * np.log10(max(amplitude, 1e-3) / 32_767))


async def until_level(call: Call, hz: float, dbfs: float) -> None:
    """Waits until the caller hears the tone at this level within 1 dB."""
    try:
        await call.rtp.wait_for(lambda rtp: abs(level_at(rtp, hz) - dbfs) < 1, timeout_s=15)
    except TimeoutError:
        raise AssertionError(f"{hz} Hz is at {level_at(call.rtp, hz):.1f} dBFS, not {dbfs}") from None


async def test_gain(desk: Desk) -> None:
    call, stream = await desk.begin("softer")
    await stream.play(BOT_HZ, 5)
    await until_level(call, BOT_HZ, -20)
    await desk.end(call)


async def test_a_background_that_ducks_while_the_bot_speaks(desk: Desk) -> None:
    call, stream = await desk.begin("office")
    await until_level(call, BED_HZ, -22)
    await stream.play(BOT_HZ, 5)
    await until_level(call, BED_HZ, -34)
    assert level_at(call.rtp, BOT_HZ) == pytest.approx(-10, abs=1)
    await stream.clear()
    await until_level(call, BED_HZ, -22)
    assert level_at(call.rtp, BOT_HZ) < -50
    await desk.end(call)


@pytest.mark.parametrize(("profile", "heard", "unheard"), [("newest", BOT_HZ, LATER_HZ), ("oldest", LATER_HZ, BOT_HZ)])
async def test_of_too_much_one_end_gives_way(desk: Desk, profile: str, heard: float, unheard: float) -> None:
    call, stream = await desk.begin(profile)
    begun = len(call.rtp.received)
    for hz in (BOT_HZ, LATER_HZ):
        await stream.play(hz, RING_MS / 1000)
    await until_heard(call, heard)
    await call.rtp.wait_for(lambda rtp: len(rtp.received) > begun + 80 and not any(map(is_loud, last(rtp, 10))))
    loud = [packet for packet in list(call.rtp.received)[begun:] if is_loud(packet)]
    # Some of the first may have been played before the rest came.
    assert RING_MS / FRAME_MS - 1 <= len(loud) <= RING_MS / FRAME_MS + 15
    if profile == "newest":
        assert level_at(call.rtp, unheard, last_ms=2_000) < -40
    stats = await desk.until_counted(lambda stats: stats["playout_dropped_bytes"] > 0)
    assert stats["playout_dropped_bytes"] <= RING_MS * RATE_HZ // 1000
    await desk.end(call)


def has_heard(rtp: RtpSession, *, begun: int, loud: int) -> bool:
    return sum(map(is_loud, list(rtp.received)[begun:])) >= loud


def last(rtp: RtpSession, count: int) -> list[Any]:
    return list(rtp.received)[-count:]


async def test_a_clear_fades_where_that_is_wanted(desk: Desk) -> None:
    call, stream = await desk.begin("fading")
    await stream.play(BOT_HZ, 20)
    await until_heard(call, BOT_HZ)
    await stream.clear()
    await call.rtp.wait_for(lambda rtp: not any(map(is_loud, last(rtp, 10))))
    audio = call.rtp.audio(last_ms=2_000).astype(np.float64)
    frames = np.abs(audio.reshape(-1, FRAME_MS * RATE_HZ // 1000)).max(axis=1)
    peaks = frames / frames.max()
    # Neither at full level nor silent: as many as the fade has, the first and the last of which are nearly so.
    fading = [float(peak) for peak in peaks if 0.02 < peak < 0.97]
    assert len(fading) == pytest.approx(FADE_MS / FRAME_MS, abs=1)
    assert fading == sorted(fading, reverse=True)
    await desk.end(call)


async def test_a_clear_is_heard_as_silence_within_40_ms(desk: Desk) -> None:
    call, stream = await desk.begin()
    late_s: list[float] = []
    while sum(each <= IN_TIME_S for each in late_s) < 3:
        assert len(late_s) < TRIES, late_s
        await stream.play(BOT_HZ, 20)
        await call.rtp.wait_for(lambda rtp: rtp.packets_in > 10 and all(map(is_loud, last(rtp, 10))))
        cleared = time.time()
        await stream.clear()
        await call.rtp.wait_for(lambda rtp: not any(map(is_loud, last(rtp, 5))))
        late_s.append(max(packet.at for packet in call.rtp.received if is_loud(packet)) - cleared)
    await desk.end(call)


async def test_marks_come_in_order_and_when_their_audio_has_been_heard(desk: Desk) -> None:
    call, stream = await desk.begin()
    await call.rtp.wait_for_packets(5)  # from then on nothing of the bot gets lost
    in_time = 0
    for number in range(TRIES):
        late_s = await marks_late_s(call, stream, f"round {number}")
        # With its last frame, no sooner; Asterisk and the machine may hold that up, never bring it forward.
        in_time += min(late_s) > -FRAME_MS / 1000 and max(late_s) <= IN_TIME_S
        if in_time == 2:
            break
    else:
        raise AssertionError(f"the last were late by {late_s}")
    await desk.end(call)


async def marks_late_s(call: Call, stream: BotStream, name: str) -> list[float]:
    """Says three times a third of a second, each with a mark behind; by how much the marks come after the sound."""
    pieces, frames = 3, 16
    before, marks = len(call.rtp.received), stream.counts["mark"]
    for piece in range(pieces):
        await stream.play(BOT_HZ, frames * FRAME_MS / 1000)
        await stream.mark(f"{name} {piece}")
    await stream.wait_for("mark", count=marks + pieces)
    returned = stream.all("mark")[marks:]
    assert [each.message["mark"]["name"] for each in returned] == [f"{name} {piece}" for piece in range(pieces)]
    await call.rtp.wait_for(lambda rtp: not any(map(is_loud, last(rtp, 3))))
    loud = [packet for packet in list(call.rtp.received)[before:] if is_loud(packet)]
    assert len(loud) == pieces * frames
    heard = [loud[(piece + 1) * frames - 1].at for piece in range(pieces)]
    return [each.at - at for each, at in zip(returned, heard, strict=True)]


async def test_nothing_is_sent_while_the_bot_says_nothing(desk: Desk) -> None:
    call, stream = await desk.begin("hushed")
    for hz in (BOT_HZ, LATER_HZ):
        begun = len(call.rtp.received)
        await stream.play(hz, 1)
        await call.rtp.wait_for(functools.partial(has_heard, begun=begun, loud=49))
        tone = dominant_tone(call.rtp.audio(last_ms=500), RATE_HZ)
        assert tone.hz == pytest.approx(hz, abs=2)
        assert tone.dbfs == pytest.approx(-10, abs=1)
        await asyncio.sleep(0.2)
        quiet_since = call.rtp.packets_in
        await asyncio.sleep(0.6)
        assert call.rtp.packets_in - quiet_since <= 2
    assert call.rtp.lost() == 0
    stats = await desk.until_counted(lambda stats: stats["packets_out"] >= 2 * 50)
    assert stats["packets_out"] <= 2 * 51
    await desk.end(call)
    # With silence, as by default, the phone hears from us all the time.
    call, stream = await desk.begin()
    await call.rtp.wait_for_packets(50)
    await desk.end(call)
