"""The classical faults of how call audio sounds, each made on a real call, and named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
import pytest_asyncio

from connector.audio import g711
from connector.audio.resample import Resampler
from connector.audio.tone import sine
from connector.lab import sip
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.process import ConnectorProcess
from connector.lab.recording_bot import RecordingBot
from connector.lab.rtp import Source
from connector.media.diagnosis import Fault
from tests.asterisk.desk import BOT_HZ, CALLER_HZ, Desk, Nat, Samples, between_phone_and_pbx, open_desk
from tests.asterisk.test_wires import LinearBot, LinearBots

WIDE_HZ = 16_000
SECONDS = 20
"""Of a bot's speech: longer than it takes to name a fault."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bots() -> AsyncIterator[LinearBots]:
    async with LinearBots() as listening:
        yield listening


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    asterisk: LabAsterisk, make_connector: Callable[..., ConnectorProcess], bot: RecordingBot, bots: LinearBots
) -> AsyncIterator[Desk]:
    """`talk` has mu-law all the way; `wide` linear 16 kHz from Asterisk to a bot that wants that."""
    wide = {"dialect": {"name": "raw", "rate_hz": WIDE_HZ}, "audio": "rtp/slin16"}
    described = make_connector(bots={"talk": bot.url, "wide": bots.url(WIDE_HZ)}, profile={"wide": wide})
    async with open_desk(asterisk, described.settings, bot) as opened:
        yield opened


async def begin_wide(desk: Desk, bots: LinearBots, source: Source | None = None) -> tuple[Call, LinearBot]:
    call = await desk.caller.call("bot_wide", source=source)
    bot = await bots.next()
    await call.wait_answered()
    return call, bot


def hiss(rate_hz: int) -> Samples:
    """A second of noise up to half the rate, as every consonant has it."""
    return np.random.default_rng(1).normal(0, 2_500, rate_hz).astype(np.int16)


def overdriven(hz: float, start: int, count: int) -> Samples:
    """A voice that was made far too loud."""
    wave = np.clip(sine(hz, count, rate_hz=8000, start=start, dbfs=0) * 4.0, -32_768, 32_767)
    return np.asarray(wave, np.int16)


def a_law_that_passes_for_mu_law(start: int, count: int) -> Samples:
    """What a phone sends that was told mu-law and has A-law."""
    return g711.ulaw_decode(g711.alaw_encode(sine(CALLER_HZ, count, rate_hz=8000, start=start)).tobytes())


async def test_a_phone_with_another_codec_and_a_bot_that_clips(desk: Desk) -> None:
    call, stream = await desk.begin(source=a_law_that_passes_for_mu_law)
    await stream.play_bytes(g711.ulaw_encode(overdriven(BOT_HZ, 0, 8000 * SECONDS)).tobytes())
    await desk.until_named(Fault.CALLER_WRONG_CODEC, Fault.BOT_CLIPS)
    await desk.end(call)


async def test_a_phone_that_clips(desk: Desk) -> None:
    call, stream = await desk.begin(source=lambda start, count: overdriven(CALLER_HZ, start, count))
    await stream.play(BOT_HZ, SECONDS)
    await desk.until_named(Fault.CALLER_CLIPS)
    await desk.end(call)


class LittleEndianPhone(Nat):
    """Makes of mu-law what a phone sends that has linear 16 kHz with its bytes in the wrong order."""

    def __init__(self, to: tuple[str, int]) -> None:
        super().__init__(to)
        self._timestamp = 0

    def passes(self, data: bytes) -> None:
        narrow = g711.ulaw_decode(data[12:])
        self._timestamp += 2 * narrow.size
        header = bytes((0x80, SLIN16)) + data[2:4] + self._timestamp.to_bytes(4, "big") + data[8:12]
        self.send(header + np.repeat(narrow, 2).astype("<i2").tobytes())


SLIN16 = 118


def linear_sdp(host: str, port: int, version: int, direction: str = "sendrecv") -> str:
    """The offer of such a phone."""
    return (
        f"v=0\r\no=- 1 {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {SLIN16}\r\na=rtpmap:{SLIN16} L16/16000\r\na=ptime:20\r\na={direction}\r\n"
    )


async def test_bytes_in_the_wrong_order(desk: Desk, bots: LinearBots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip, "sdp", linear_sdp)
    call, bot = await begin_wide(desk, bots)
    async with between_phone_and_pbx(call, LittleEndianPhone):
        await bot.send(sine(BOT_HZ, SECONDS * WIDE_HZ, rate_hz=WIDE_HZ).astype(">i2").tobytes())
        await desk.until_named(Fault.CALLER_WRONG_BYTE_ORDER, Fault.BOT_WRONG_BYTE_ORDER)
    await desk.end(call)


async def test_sound_that_was_narrowband_before(desk: Desk, bots: LinearBots) -> None:
    """Asterisk makes 16 kHz of a phone's 8; and the bot does the same with speech of its own."""
    narrow = hiss(8_000)
    wide = Resampler(8_000, WIDE_HZ).convert(np.tile(narrow, SECONDS)[None], np.zeros(1, np.int64))[0]
    call, bot = await begin_wide(
        desk, bots, source=lambda start, count: np.take(narrow, range(start, start + count), mode="wrap")
    )
    await bot.send(wide.astype("<i2").tobytes())
    await desk.until_named(Fault.CALLER_RESAMPLED_TWICE, Fault.BOT_RESAMPLED_TWICE)
    await desk.end(call)
