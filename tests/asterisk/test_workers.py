"""Several media workers: what befalls one of them is no business of the others' calls."""

from __future__ import annotations

import functools
import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest_asyncio

from connector.audio import g711
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, until_heard, until_nothing_left
from connector.lab.recording_bot import BotStream, RecordingBot
from tests.asterisk.test_resilience import children

CALLER_HZ, BOT_HZ = 1000, 600
CALLS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(make_connector: Callable[..., ConnectorProcess], bot: RecordingBot) -> AsyncIterator[Any]:
    media = {"workers": 2, "max_streams_per_worker": CALLS // 2}
    async with make_connector(bots={"talk": bot.url}, media=media) as process:
        for worker in ("0", "1"):
            await process.until_metric("connector_media_worker_up", lambda up: up == 1, worker=worker)
        yield process


async def talk(phone: Phone, bot: RecordingBot) -> tuple[Call, BotStream]:
    """A call in which each side has heard the other, and the bot speaks on."""
    after = len(bot.streams)
    call = await phone.call("bot_talk")
    stream = await bot.next_stream(after=after)
    await call.wait_answered()
    await stream.play(BOT_HZ, 40.0)
    await until_heard(call, BOT_HZ)
    await stream.until_heard(CALLER_HZ)
    return call, stream


def loud_frames(stream: BotStream) -> int:
    """Frames in which the bot has heard the caller's tone."""
    frames = stream.audio().reshape(-1, 160)
    return int((np.abs(frames.astype(np.int32)).max(axis=1) > 1_000).sum())


def has_heard(stream: BotStream, wanted: int) -> bool:
    return loud_frames(stream) >= wanted


def heard_without_a_gap(call: Call, since: int) -> bool:
    """Whether each packet to the caller since then followed the one before, and had the bot's tone in it."""
    packets = [packet for packet in list(call.rtp.received)[since:] if packet.payload_type == 0]
    steps = {(b.sequence - a.sequence) % 2**16 for a, b in itertools.pairwise(packets)}
    quiet = sum(np.abs(g711.ulaw_decode(packet.payload).astype(np.int32)).max() < 1_000 for packet in packets)
    return steps == {1} and quiet == 0


async def test_a_worker_is_killed_and_only_its_calls_notice(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot
) -> None:
    calls = [await talk(caller, bot) for _ in range(CALLS)]
    assert [await connector.metric("connector_media_worker_streams", worker=worker) for worker in "01"] == [2, 2]

    # Both are full: the next call goes on in the dialplan, before anything was created for it.
    fifth = await (await caller.call("bot_talk")).wait_answered()
    await until_heard(fifth, MARK_HZ)
    await fifth.hang_up()
    await connector.until_metric(
        "connector_streams_refused_total", lambda n: n == 1, pbx="main", profile="talk", cause="worker_full"
    )

    known = len(bot.streams)
    begun = [(call.rtp.packets_out, loud_frames(stream), len(call.rtp.received)) for call, stream in calls]
    os.kill(children(connector.pid)[0], signal.SIGKILL)
    await connector.until_metric("connector_media_streams_reopened_total", lambda n: n == CALLS // 2, timeout_s=15)
    hit = [index for index, (_, stream) in enumerate(calls) if stream.closed.is_set()]
    assert len(hit) == CALLS // 2
    assert await connector.metric("connector_media_gap_seconds_total") > 0

    # The killed one's calls come back, each with a stream of its own.
    again = [await bot.next_stream(after=known + number) for number in range(len(hit))]
    for stream in again:
        await stream.play(BOT_HZ, 20.0)
        await stream.until_heard(CALLER_HZ)
    for index in hit:
        await until_heard(calls[index][0], BOT_HZ)

    # The others' calls lost nothing, in either direction.
    for index in set(range(CALLS)) - set(hit):
        call, stream = calls[index]
        spoken, loud, received = begun[index]
        # What was on its way when the counting began may count twice, what still is must come.
        wanted = loud + call.rtp.packets_out - spoken
        await stream.wait_until(functools.partial(has_heard, wanted=wanted))
        assert heard_without_a_gap(call, received)
    for call, _ in calls:
        await call.hang_up()
    await until_nothing_left(asterisk)
    assert [await connector.metric("connector_media_worker_streams", worker=worker) for worker in "01"] == [0, 0]
