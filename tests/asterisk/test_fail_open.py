"""Whatever is wrong with the connector or the bot, the caller hears the dialplan go on within 2 s."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from connector.lab import echo_bot
from connector.lab.asterisk import LabAsterisk
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, first_sound_at, until_heard, until_let_go, until_nothing_left
from connector.lab.recording_bot import RecordingBot
from connector.lab.useragent import HOST

WITHIN_S = 2.0
REFUSED, ENDED = "connector_streams_refused_total", "connector_streams_total"


def closed_port() -> int:
    """A TCP port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bots(bot: RecordingBot) -> AsyncIterator[dict[str, str]]:
    """Addresses of a good bot and of each kind that does not take the call."""
    async with contextlib.AsyncExitStack() as stack:
        urls = {"talk": bot.url, "closed": f"ws://{HOST}:{closed_port()}/"}
        for mode in ("refuse", "hang", "hangup"):
            urls[mode] = f"ws://{HOST}:{await stack.enter_async_context(echo_bot.bot(HOST, 0, mode))}/"
        yield urls


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(make_connector: Callable[..., ConnectorProcess], bots: dict[str, str]) -> AsyncIterator[Any]:
    async with make_connector(bots=bots, media={"max_streams": 1}) as process:
        yield process


def last_result(pbx: LabAsterisk) -> str:
    """What the dialplan read last in CONNECTOR_RESULT."""
    return pbx.log_lines("connector result: ")[-1].rpartition(" ")[2]


async def goes_on(pbx: LabAsterisk, phone: Phone, exten: str) -> None:
    """Calls, hears the dialplan's tone in time, hangs up, and nothing is left."""
    called_at = time.time()
    call = await phone.call(exten)
    await until_heard(call, MARK_HZ)
    assert first_sound_at(call) - called_at < WITHIN_S
    await call.hang_up()
    await until_nothing_left(pbx)


@pytest.mark.parametrize(
    ("profile", "cause"),
    [
        ("closed", "bot_refused"),
        ("refuse", "bot_unavailable"),
        ("hang", "bot_timeout"),
        ("hangup", "bot_refused"),
    ],
)
async def test_a_bot_that_does_not_take_the_call(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, profile: str, cause: str
) -> None:
    ended = await causes(connector, ENDED, profile)
    await goes_on(asterisk, caller, f"result_{profile}")
    assert last_result(asterisk) == cause
    assert await causes(connector, ENDED, profile) == {**ended, cause: ended.get(cause, 0) + 1}
    # Nothing but the caller's own channel was ever made: the bot comes first.
    assert await connector.metric("connector_stream_setup_seconds_count", pbx="main", profile=profile) == 0


async def test_an_unknown_profile(asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone) -> None:
    refused = await causes(connector, REFUSED, "")
    await goes_on(asterisk, caller, "result_nosuchprofile")
    assert last_result(asterisk) == "unknown_profile"
    assert await causes(connector, REFUSED, "") == {"unknown_profile": refused.get("unknown_profile", 0) + 1}


async def test_no_room_for_one_more_call(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot
) -> None:
    after = len(bot.streams)
    first = await caller.call("bot_talk")
    stream = await bot.next_stream(after=after)
    called_at = time.time()
    second = await caller.call("result_talk")
    await until_heard(second, MARK_HZ)
    assert first_sound_at(second) - called_at < WITHIN_S
    assert last_result(asterisk) == "node_full"
    assert await causes(connector, REFUSED, "talk") == {"node_full": 1}
    # The first call has noticed nothing.
    await stream.until_heard(1000)
    assert len(bot.streams) == after + 1
    await second.hang_up()
    await first.hang_up()
    await until_nothing_left(asterisk)
    # Its place is free again.
    third = await caller.call("bot_talk")
    await bot.next_stream(after=after + 1)
    await third.hang_up()
    await until_nothing_left(asterisk)


async def test_a_range_of_rtp_ports_too_small_for_a_stream(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess], bot: RecordingBot
) -> None:
    streams = len(bot.streams)
    async with make_asterisk(rtp_ports=6, phones=1) as narrow:
        pid = narrow.pid
        async with (
            make_connector(beside=narrow, bots={"talk": bot.url}) as process,
            Phone(0, "bob", (HOST, narrow.sip_port)) as phone,
        ):
            for _ in range(3):
                await goes_on(narrow, phone, "bot_talk")
            assert await causes(process, REFUSED, "talk") == {"pbx_full": 3}
            assert await process.metric("connector_stream_limit", pbx="main") == 0
        assert narrow.pid == pid
    assert len(bot.streams) == streams, "the bot was dialled for a call that could not be streamed"


async def test_calls_of_others_that_fill_the_rtp_ports(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess], bot: RecordingBot
) -> None:
    async with make_asterisk(rtp_ports=20, phones=1) as narrow:  # ten channels: a stream or two, nine up at most
        async with (
            make_connector(beside=narrow, bots={"talk": bot.url}) as process,
            Phone(0, "bob", (HOST, narrow.sip_port)) as phone,
        ):
            others = [await (await phone.call("echo")).wait_answered() for _ in range(8)]
            await process.until(lambda pbx: pbx["calls"] == 8)
            call = await phone.call("bot_talk")
            await until_heard(call, MARK_HZ)
            assert await causes(process, REFUSED, "talk") == {"rtp_ports_low": 1}
            for other in (*others, call):
                await other.hang_up()
            await until_nothing_left(narrow)
        assert narrow.running


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_no_connector(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot, how: str
) -> None:
    if how == "stopped":
        assert await connector.stop() == 0
    else:
        await connector.kill()
        await until_let_go(asterisk)
    await goes_on(asterisk, caller, "bot_talk")
    await goes_on(asterisk, caller, "bot_talk")
    await connector.start()
    after = len(bot.streams)
    call = await caller.call("bot_talk")
    await bot.next_stream(after=after)
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_no_label_of_the_metrics_names_a_call(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot
) -> None:
    after = len(bot.streams)
    call = await caller.call("bot_talk")
    await bot.next_stream(after=after)
    channels = (await asterisk.cli("core show channels concise")).splitlines()
    ids = {field for line in channels for field in (line.split("!")[0], line.split("!")[-1])}
    (stream,) = (await connector.pbx())["streams"]
    ids |= {stream["call_id"], stream["stream_id"], "alice"}
    values = {value for _, labels in await connector.metrics() for _, value in labels}
    assert not ids & values
    assert not [value for value in values if re.search(r"[0-9a-f]{32}|\d{9,}", value)]
    await call.hang_up()
    await until_nothing_left(asterisk)


async def causes(connector: ConnectorProcess, name: str, profile: str) -> dict[str, float]:
    """Counts of one counter of a profile, by cause."""
    found = {}
    for (sample, labels), value in (await connector.metrics()).items():
        by_name = dict(labels)
        if sample == name and by_name["profile"] == profile:
            found[by_name["cause"]] = value
    return found
