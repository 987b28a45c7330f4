"""A port that is flooded with garbage, and a bot that freezes: the other calls keep all of their audio."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio

from connector.lab.asterisk import LabAsterisk
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_nothing_left
from connector.lab.recording_bot import RecordingBot
from connector.lab.useragent import HOST
from tests.asterisk.test_workers import has_heard, heard_without_a_gap, loud_frames, talk

DATAGRAMS = 100_000
AT_ONCE, PAUSE_S = 200, 0.010
"""20,000 a second: two hundred times what both calls send together. Faster, the kernel's buffer would be what is
tested."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(make_connector: Callable[..., ConnectorProcess], bot: RecordingBot) -> AsyncIterator[Any]:
    async with make_connector(bots={"talk": bot.url}) as process:
        yield process


async def flood(port: int) -> None:
    """Garbage from a socket that nobody knows: too short, no RTP, RTP of a stranger."""
    kinds = [b"", os.urandom(7), os.urandom(172), b"\x80\x00" + os.urandom(170), os.urandom(1_400)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for at in range(0, DATAGRAMS, AT_ONCE):
            for number in range(at, at + AT_ONCE):
                sock.sendto(kinds[number % len(kinds)], (HOST, port))
            await asyncio.sleep(PAUSE_S)


async def test_a_flood_of_garbage_costs_no_call_a_frame(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot
) -> None:
    calls = [await talk(caller, bot) for _ in range(2)]
    begun = [(call.rtp.packets_out, loud_frames(stream), len(call.rtp.received)) for call, stream in calls]
    await flood(connector.settings["media"]["bind_port"])
    await connector.until_metric(
        "connector_media_rtp_rejected_total", lambda n: n >= 0.99 * DATAGRAMS, cause="unknown_source"
    )
    for (call, stream), (spoken, loud, received) in zip(calls, begun, strict=True):
        wanted = loud + call.rtp.packets_out - spoken
        await stream.wait_until(functools.partial(has_heard, wanted=wanted))
        assert heard_without_a_gap(call, received)
    for call, _ in calls:
        await call.hang_up()
    await until_nothing_left(asterisk)
