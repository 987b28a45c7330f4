"""A call with a bot on real Asterisk: audio both ways, and every message as a bot for Twilio expects it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, is_loud, until_heard, until_nothing_left
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

CALLER_HZ = 1000
BOT_HZ = 600


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(make_connector: Callable[..., ConnectorProcess], bot: RecordingBot) -> AsyncIterator[Any]:
    profile = {"talk": {"parameters": {"greeting": "hello"}}}
    process = make_connector(bots={"talk": bot.url}, profile=profile)
    async with process:
        yield process


async def begin(phone: Phone, bot: RecordingBot, exten: str = "bot_talk", **options: Any) -> tuple[Call, BotStream]:
    after = len(bot.streams)
    call = await phone.call(exten, **options)
    stream = await bot.next_stream(after=after)
    await call.wait_answered()
    return call, stream


async def ended(connector: ConnectorProcess, cause: str) -> float:
    return await connector.metric("connector_streams_total", pbx="main", profile="talk", cause=cause)


async def until_ended(connector: ConnectorProcess, cause: str, before: float) -> None:
    await connector.until_metric(
        "connector_streams_total", lambda value: value == before + 1, pbx="main", profile="talk", cause=cause
    )


async def test_each_side_hears_the_others_tone_at_its_level(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    call, stream = await begin(caller, bot)
    await stream.play(BOT_HZ, 3.0)
    at_bot = await stream.until_heard(CALLER_HZ, window_ms=1000, share=0.999)
    assert at_bot.hz == pytest.approx(CALLER_HZ, abs=5)
    assert at_bot.dbfs == pytest.approx(-10, abs=1)
    at_caller = await until_heard(call, BOT_HZ, window_ms=1000, share=0.999)
    assert at_caller.hz == pytest.approx(BOT_HZ, abs=5)
    assert at_caller.dbfs == pytest.approx(-10, abs=1)
    assert call.rtp.lost() == 0
    # The counters of a stream are up to a second old.
    state = await connector.until(lambda pbx: pbx["streams"][0]["stats"]["packets_in"] > 50)
    stats = state["streams"][0]["stats"]
    assert (stats["packets_lost"], stats["packets_late"], stats["underruns"], stats["send_dropped"]) == (0, 0, 0, 0)
    assert stats["packets_out"] > 50
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_a_bot_for_twilio_finds_every_message_in_its_shape(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    hung_up = await ended(connector, "caller_hung_up")
    call, stream = await begin(caller, bot)
    await stream.wait_for("media", count=30)
    await call.send_digits("5#")
    await stream.wait_for("dtmf", count=2)
    await call.hang_up()
    stop = await stream.wait_for("stop")
    async with asyncio.timeout(5):
        await stream.closed.wait()
    assert stream.close_code == 1000

    messages = [each.message for each in stream.said]
    assert messages[0] == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert messages[1]["event"] == "start"
    assert messages[-1] is stop.message
    start = messages[1]["start"]
    assert start["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    assert start["tracks"] == ["inbound"]
    assert start["customParameters"] == {"from": "alice", "fromName": "", "to": "bot_talk", "greeting": "hello"}
    assert {message["streamSid"] for message in messages[1:]} == {start["streamSid"]}
    assert [int(message["sequenceNumber"]) for message in messages[1:]] == list(range(1, len(messages)))
    media = [message["media"] for message in messages if message["event"] == "media"]
    assert [int(each["chunk"]) for each in media] == list(range(1, len(media) + 1))
    assert [int(each["timestamp"]) for each in media] == list(range(0, 20 * len(media), 20))
    assert {each["track"] for each in media} == {"inbound"}
    assert stream.audio().size == 160 * len(media)
    assert [message["dtmf"]["digit"] for message in messages if message["event"] == "dtmf"] == ["5", "#"]
    assert stop.message["stop"]["callSid"] == start["callSid"]
    await until_ended(connector, "caller_hung_up", hung_up)
    await until_nothing_left(asterisk)
    assert (await connector.pbx())["streams"] == []


async def test_a_mark_comes_back_when_it_was_played_and_not_before(
    connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    call, stream = await begin(caller, bot)
    await stream.play(BOT_HZ, 1.0)
    await stream.mark("end")
    returned = await stream.wait_for("mark")
    assert returned.message["mark"] == {"name": "end"}
    await call.rtp.wait_for_packets(10)
    loud = [packet.at for packet in call.rtp.received if is_loud(packet)]
    assert len(loud) == pytest.approx(50, abs=1)
    # It fires with the last frame; more than a frame before that it would be a lie.
    assert returned.at > loud[-1] - 0.020
    await stream.mark("nothing queued")
    assert (await stream.wait_for("mark", count=2)).message["mark"] == {"name": "nothing queued"}
    await call.hang_up()


async def test_clear_is_heard_as_silence_and_returns_the_marks(
    connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    call, stream = await begin(caller, bot)
    await stream.play(BOT_HZ, 20.0)
    await stream.mark("first")
    await stream.play(BOT_HZ, 20.0)
    await stream.mark("second")
    await until_heard(call, BOT_HZ)
    assert stream.all("mark") == []
    await stream.clear()
    await stream.wait_for("mark", count=2)
    assert [each.message["mark"]["name"] for each in stream.all("mark")] == ["first", "second"]
    await call.rtp.wait_for(lambda rtp: not any(is_loud(packet) for packet in list(rtp.received)[-10:]))
    # The line is not dead, it is silent, and what comes after is heard.
    await stream.play(800, 1.0)
    await until_heard(call, 800)
    await call.hang_up()
    await stream.wait_for("stop")
    assert len(stream.all("mark")) == 2


async def test_when_the_bot_closes_the_dialplan_goes_on_and_can_read_why(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    closed = await ended(connector, "bot_closed")
    call, stream = await begin(caller, bot)
    await stream.wait_for("media", count=5)
    await stream.close()
    await until_heard(call, MARK_HZ)
    await call.hang_up()
    await until_ended(connector, "bot_closed", closed)
    call, stream = await begin(caller, bot, "result_talk")
    await stream.close()
    await until_heard(call, 700)
    assert asterisk.log_lines("connector result: ")[-1].endswith(" bot_closed")
    # Only the caller is left: what was the connector's went with the stream.
    await asterisk.until("core show channels concise", lambda text: len(text.splitlines()) == 1)
    await asterisk.until("bridge show all", lambda text: len(text.strip().splitlines()) <= 1)
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_a_call_taken_out_of_stasis_ends_its_stream(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    moved = await ended(connector, "call_moved")
    call, stream = await begin(caller, bot)
    channels = (await asterisk.cli("core show channels concise")).splitlines()
    name = next(line.split("!")[0] for line in channels if line.startswith("PJSIP/"))
    await asterisk.cli(f"channel redirect {name} from-phones,mark,1")
    await until_heard(call, MARK_HZ)
    await stream.wait_for("stop")
    await until_ended(connector, "call_moved", moved)
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_calls_side_by_side_do_not_hear_each_other(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    count = 6
    calls: list[tuple[int, Call, BotStream]] = []
    for number in range(count):
        hz = 400 + 150 * number
        call, stream = await begin(caller, bot, source=tone_source(hz))
        calls.append((hz, call, stream))
    assert len((await connector.pbx())["streams"]) == count
    for hz, _, stream in calls:
        await stream.play(hz + 75, 10.0)
    for hz, call, stream in calls:
        await until_heard(call, hz + 75, window_ms=400, share=0.99)
        await stream.until_heard(hz, window_ms=400, share=0.99)
        assert call.rtp.lost() == 0
    await asyncio.gather(*(call.hang_up() for _, call, _ in calls))
    await until_nothing_left(asterisk)
    assert (await connector.until(lambda pbx: not pbx["streams"]))["streams"] == []


async def test_silence_of_the_caller_is_silence_at_the_bot_in_real_time(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    """A phone that sends nothing while muted: Asterisk then sends nothing either, and the bot's clock must go on."""
    call, stream = await begin(caller, bot)
    await stream.wait_for("media", count=20)
    peer, call.rtp.remote = call.rtp.remote, None
    before = stream.counts["media"]
    began = stream.all("media")[-1].at
    last = await stream.wait_for("media", count=before + 75)
    assert last.at - began == pytest.approx(1.5, abs=0.3)
    assert int(np.abs(stream.audio(last_ms=500).astype(np.int32)).max()) < 16
    call.rtp.remote = peer
    await stream.until_heard(CALLER_HZ)
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_who_called_whom_reaches_the_bot_as_it_is(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot
) -> None:
    async with Phone(0, "+4930123456", (HOST, asterisk.sip_port)) as phone:
        phone.display_name = "Zoë O'Brien <b>"
        call, stream = await begin(phone, bot)
        parameters = stream.start["customParameters"]
        assert (parameters["from"], parameters["fromName"]) == ("+4930123456", "Zoë O'Brien <b>")
        await call.hang_up()
