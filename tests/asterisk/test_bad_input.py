"""What is not RTP and what is no message of a bot: counted by its cause, and the call that runs is unharmed."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from connector.lab import echo_bot, sip
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard, until_nothing_left
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.useragent import HOST

CALLER_HZ, BOT_HZ = 1000, 600
RTP, BOT = "connector_media_rtp_rejected_total", "connector_media_bot_messages_rejected_total"
HEADER = struct.pack("!BBHII", 0x80, 0, 1, 160, 0xBAD)

NOT_RTP: dict[str, bytes] = {
    "too_short": b"\x80\x00\x00",
    "too_long": HEADER + bytes(4_000),
    "wrong_version": b"\x40" + HEADER[1:] + bytes(160),
    "rtcp": struct.pack("!BBHII", 0x80, 200, 1, 160, 0xBAD) + bytes(16),
    "wrong_payload_type": struct.pack("!BBHII", 0x80, 101, 1, 160, 0xBAD) + bytes(4),
    "truncated_csrc": b"\x8f" + HEADER[1:] + bytes(8),
    "truncated_extension": b"\x90" + HEADER[1:] + struct.pack("!HH", 0xBEDE, 1_000) + bytes(160),
    "bad_padding": b"\xa0" + HEADER[1:] + bytes(159) + b"\xff",
}
"""One datagram of each kind, by the cause it is counted under (RFC 3550 section 5.1)."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def deaf() -> AsyncIterator[RecordingBot]:
    """A bot that takes the call and then reads nothing."""
    async with RecordingBot(reads=False) as each:
        yield each


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(
    make_connector: Callable[..., ConnectorProcess], bot: RecordingBot, deaf: RecordingBot
) -> AsyncIterator[Any]:
    async with contextlib.AsyncExitStack() as stack:
        garbage = await stack.enter_async_context(echo_bot.bot(HOST, 0, "garbage"))
        bots = {"talk": bot.url, "garbage": f"ws://{HOST}:{garbage}/", "deaf": deaf.url}
        profile = {"garbage": {"max_message_bytes": 65_536}}
        yield await stack.enter_async_context(make_connector(bots=bots, profile=profile))


async def talk(phone: Phone, bot: RecordingBot) -> tuple[Call, BotStream]:
    """A call in which each side has heard the other."""
    after = len(bot.streams)
    call = await (await phone.call("bot_talk")).wait_answered()
    stream = await bot.next_stream(after=after)
    await stream.play(BOT_HZ, 60.0)
    await until_heard(call, BOT_HZ)
    await stream.until_heard(CALLER_HZ)
    return call, stream


async def media_port(pbx: LabAsterisk) -> int:
    """UDP port from which Asterisk sends the only ExternalMedia channel's audio."""
    lines = (await pbx.cli("core show channels concise")).splitlines()
    (name,) = [line.split("!")[0] for line in lines if line.startswith("UnicastRTP/")]
    found = re.search(r"UNICASTRTP_LOCAL_PORT=(\d+)", await pbx.cli(f"core show channel {name}"))
    assert found is not None
    return int(found[1])


def send_as(source_port: int, port: int, payloads: list[bytes]) -> None:
    """Sends UDP datagrams under somebody else's port."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        for payload in payloads:
            header = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0)  # no checksum, RFC 768
            raw.sendto(header + payload, (HOST, port))


async def rejected(connector: ConnectorProcess, name: str) -> dict[str, float]:
    metrics = await connector.metrics()
    return {dict(labels)["cause"]: value for (sample, labels), value in metrics.items() if sample == name}


async def test_what_is_not_rtp_is_counted_by_cause_and_no_audio_is_lost(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot
) -> None:
    call, stream = await talk(caller, bot)
    before = await rejected(connector, RTP)
    rounds = 20
    port = connector.settings["media"]["bind_port"]
    source = await media_port(asterisk)
    seen = stream.counts["media"]
    for _ in range(rounds):
        send_as(source, port, list(NOT_RTP.values()))
        await stream.wait_for("media", count=stream.counts["media"] + 1)  # in the midst of the caller's audio
    for cause in NOT_RTP:
        wanted = before[cause] + rounds
        await connector.until_metric(RTP, wanted.__eq__, cause=cause)
    clean = await stream.until_heard(CALLER_HZ, window_ms=20 * (stream.counts["media"] - seen), share=0.999)
    assert clean.dbfs == pytest.approx(-10, abs=1)
    await until_heard(call, BOT_HZ)
    (running,) = (await connector.until(lambda pbx: pbx["streams"][0]["stats"]["packets_in"] > 20))["streams"]
    assert running["stats"]["packets_lost"] == 0
    # Every packet of Asterisk was passed on, and nothing of what came between.
    assert call.rtp.lost() == 0
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_rtp_from_an_unknown_address_reaches_nobody(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot
) -> None:
    call, stream = await talk(caller, bot)
    before = await rejected(connector, RTP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(200):
            stranger.sendto(HEADER + bytes(160), (HOST, connector.settings["media"]["bind_port"]))
    await connector.until_metric(RTP, lambda n: n == before["unknown_source"] + 200, cause="unknown_source")
    await stream.until_heard(CALLER_HZ, share=0.999)
    assert {**await rejected(connector, RTP), "unknown_source": 0} == {**before, "unknown_source": 0}
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_messages_of_a_bot_that_are_none_are_counted_by_cause(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone
) -> None:
    before = await rejected(connector, BOT)
    call = await (await caller.call("bot_garbage")).wait_answered()
    # It echoes after all that, so the caller hears himself.
    await until_heard(call, CALLER_HZ)
    await connector.until_metric(BOT, lambda n: n == before["too_large"] + 1, cause="too_large")
    counted = {cause: n - before[cause] for cause, n in (await rejected(connector, BOT)).items() if n > before[cause]}
    assert counted == {
        "not_json": 1,
        "bad_shape": 2,
        "unknown_event": 1,
        "bad_base64": 1,
        "wrong_stream": 1,
        "too_large": 1,
        "not_text": 1,
    }
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_a_bot_that_never_reads_costs_its_own_call_alone(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot, deaf: RecordingBot
) -> None:
    unheard = await (await caller.call("bot_deaf")).wait_answered()
    call, stream = await talk(caller, bot)
    dropped = await connector.until(lambda pbx: sent_to(pbx, "deaf")["send_dropped"] > 10, timeout_s=20)
    assert sent_to(dropped, "talk")["send_dropped"] == 0
    assert sent_to(dropped, "talk")["packets_lost"] == 0
    await stream.until_heard(CALLER_HZ, share=0.999)
    await until_heard(call, BOT_HZ)
    assert unheard.live
    await unheard.hang_up()
    await connector.until(lambda pbx: len(pbx["streams"]) == 1)
    await call.hang_up()
    await until_nothing_left(asterisk)


def sent_to(pbx: dict[str, Any], profile: str) -> dict[str, int]:
    """Counters of the one stream of a profile."""
    return next(stream["stats"] for stream in pbx["streams"] if stream["profile"] == profile)


@pytest.mark.parametrize(
    "name",
    [
        "Zoë O'Brien? 田中さん",
        'say "hello", \\t/ & %s',
        "<script>alert(1)</script>",
        "Event: Hangup",
        "x" * 200,
    ],
    ids=["utf-8", "quotes", "script", "ami", "long"],
)
async def test_a_callers_name_arrives_as_asterisk_has_it(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot, name: str
) -> None:
    caller.display_name = name
    waiting = await caller.call("support")
    state = await connector.until(lambda pbx: any(queue["callers"] for queue in pbx["queues"]))
    (shown,) = [each["name"] for queue in state["queues"] for each in queue["callers"]]
    after = len(bot.streams)
    call = await caller.call("bot_talk")
    told = (await bot.next_stream(after=after)).start["customParameters"]["fromName"]
    lines = (await asterisk.cli("core show channels concise")).splitlines()
    channel = next(line.split("!")[0] for line in lines if "!Queue!" in line)
    found = re.search(r"Caller ID Name: (.*)", await asterisk.cli(f"core show channel {channel}"))
    await waiting.hang_up()
    await call.hang_up()
    await until_nothing_left(asterisk)
    # PJSIP keeps the backslashes of a quoted string (RFC 3261 section 25.1), and cuts a long name.
    assert found is not None
    assert (sip.quoted(name)[1:-2] == found[1]) if len(name) < 80 else name.startswith(found[1])
    assert (shown, told) == (found[1], found[1])
    metrics = await connector.metrics()
    assert not [key for key, value in metrics.items() if key[0] == "connector_ami_malformed_total" and value]
