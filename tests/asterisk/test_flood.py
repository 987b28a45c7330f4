"""A port that is flooded with garbage, a bot cut off, a bot that freezes: the other calls keep all of their audio."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest_asyncio

from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, until_heard, until_nothing_left
from connector.lab.recording_bot import BotStream, RecordingBot
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


@dataclass
class Whole:
    """A call that is to lose nothing, in either direction, from now on."""

    call: Call
    stream: BotStream

    def __post_init__(self) -> None:
        self._spoken = self.call.rtp.packets_out
        self._loud = loud_frames(self.stream)
        self._received = len(self.call.rtp.received)

    async def until_proved(self) -> None:
        """All that the caller has said since has been heard by the bot; and the caller heard the bot without a gap."""
        wanted = self._loud + self.call.rtp.packets_out - self._spoken
        await self.stream.wait_until(functools.partial(has_heard, wanted=wanted))
        assert heard_without_a_gap(self.call, self._received)


async def test_a_flood_of_garbage_costs_no_call_a_frame(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot
) -> None:
    calls = [Whole(*await talk(caller, bot)) for _ in range(2)]
    await flood(connector.settings["media"]["bind_port"])
    await connector.until_metric(
        "connector_media_rtp_rejected_total", lambda n: n >= 0.99 * DATAGRAMS, cause="unknown_source"
    )
    for each in calls:
        await each.until_proved()
        await each.call.hang_up()
    await until_nothing_left(asterisk)


async def test_a_bot_that_is_cut_off_and_one_that_freezes_cost_their_own_calls_alone(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot
) -> None:
    (call, stream), (cut, cut_off), (held, frozen) = [await talk(caller, bot) for _ in range(3)]
    whole = Whole(call, stream)
    cut_off.cut()
    frozen.freeze()
    # Their callers go on in the dialplan: at once, and when a ping has had no answer for 10 s.
    for each in (cut, held):
        await until_heard(each, MARK_HZ, timeout_s=25)
    lost = {name: value for name, value in (await connector.metrics()).items() if ("cause", "bot_lost") in name[1]}
    assert sum(lost.values()) == 2, lost
    await whole.until_proved()
    for each in (call, cut, held):
        await each.hang_up()
    await until_nothing_left(asterisk)
