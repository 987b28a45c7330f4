"""What the bot hears of a caller over a network that loses packets, or brings them late and out of order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
import pytest_asyncio

from connector.audio.tone import Dominant, dominant_tone
from connector.lab.asterisk import LabAsterisk
from connector.lab.process import ConnectorProcess
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.rtp import FRAME_SAMPLES, RATE_HZ
from tests.asterisk.badnet import WARM_UP, BadNet, Weather, bad_net
from tests.asterisk.desk import CALLER_HZ, Desk, open_desk

LOSS = 0.08
SECOND = 50
"""Packets."""
PROFILES = {
    "talk": {},
    "window": {"reorder_max_ms": 100},
    "conceal": {"reorder_max_ms": 100, "conceal_loss": True},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    asterisk: LabAsterisk, make_connector: Callable[..., ConnectorProcess], bot: RecordingBot
) -> AsyncIterator[Desk]:
    described = make_connector(bots=dict.fromkeys(PROFILES, bot.url), profile=PROFILES)
    async with open_desk(asterisk, described.settings, bot) as opened:
        yield opened


def losing() -> Weather:
    dice = random.Random(4)
    return lambda number: None if dice.random() < LOSS else 0.0


def swapping() -> Weather:
    """Each tenth packet is overtaken by two others."""
    return lambda number: 0.050 if number % 10 == 0 else 0.0


def heard(stream: BotStream, seconds: float) -> tuple[Dominant, int]:
    """The caller's tone in the last so many seconds, and how many frames there were silent."""
    samples = stream.audio(last_ms=round(seconds * 1000))
    frames = samples[samples.size % FRAME_SAMPLES :].reshape(-1, FRAME_SAMPLES).astype(np.int32)
    return dominant_tone(samples, RATE_HZ), int((np.abs(frames).max(axis=1) < 1_000).sum())


async def clean(desk: Desk, stream: BotStream, net: BadNet, *, share: float) -> Dominant:
    """Waits for two seconds of the tone without a hole, over a network that still has its weather; what no rule may
    spoil, a machine that stands still for a moment may."""
    tone, holes = Dominant(0.0, -np.inf, 0.0), 0
    try:
        async with asyncio.timeout(25):
            while True:
                await asyncio.sleep(0.2)
                tone, holes = heard(stream, 2)
                if net.passed > WARM_UP + 2 * SECOND and tone.share > share and not holes:
                    return tone
    except TimeoutError:
        raise AssertionError(f"{tone}, {holes} holes in two seconds: {desk.live()}") from None


async def test_what_is_lost_is_silence_or_is_made_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bad_net(monkeypatch, losing()) as net:
        call, stream = await desk.begin("talk")
        await stream.wait_until(lambda stream: net.passed >= WARM_UP + 3 * SECOND, timeout_s=20)
        tone, holes = heard(stream, 2)
        assert holes >= 5
        assert tone.share < 0.96
        assert (await desk.until(lambda quality: quality["loss_percent"] > 3))["concealed_ms"] == 0
        await desk.end(call)
    async with bad_net(monkeypatch, losing()) as net:
        call, stream = await desk.begin("conceal")
        tone = await clean(desk, stream, net, share=0.99)
        assert tone.hz == pytest.approx(CALLER_HZ, abs=2)
        assert tone.dbfs == pytest.approx(-10, abs=1)
        assert net.lost > 5
        await desk.until(lambda quality: quality["concealed_ms"] >= 100)
        await desk.end(call)


async def test_what_comes_out_of_order_is_put_right_within_the_window(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bad_net(monkeypatch, swapping()) as net:
        call, stream = await desk.begin("talk")
        await stream.wait_until(lambda stream: net.passed >= WARM_UP + 3 * SECOND, timeout_s=20)
        tone, holes = heard(stream, 2)
        assert holes >= 8  # what came late came too late
        assert tone.share < 0.97
        await desk.end(call)
    async with bad_net(monkeypatch, swapping()) as net:
        call, stream = await desk.begin("window")
        tone = await clean(desk, stream, net, share=0.999)  # once the window has found its width
        assert tone.dbfs == pytest.approx(-10, abs=1)
        assert desk.live()["concealed_ms"] == 0
        await desk.end(call)
