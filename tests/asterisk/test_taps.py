"""Listening to calls that are not the connector's: each track by itself, in a queue, on hold, after a transfer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest_asyncio

from connector.app import Connector
from connector.audio import g711
from connector.audio.tone import Dominant, dominant_tone
from connector.config import Settings
from connector.dialects.base import Track
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.conf import LabConf
from connector.lab.phone import Answer, Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard, until_nothing_left
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST
from connector.streams.tapcall import TapCall, TapOrder

BOTH = (Track.CALLER, Track.AGENT)
CALLER_HZ, AGENT_HZ, SECOND_AGENT_HZ = 1000, 600, 800
EXTENSIONS = """
[from-phones](+)
exten => agent2,1,Dial(PJSIP/agent2)
exten => queue,1,Answer()
 same => n,Queue(support)
"""


@dataclass
class Floor:
    """One queue with one agent, a second agent beside it, a caller, and a connector in the test's own process."""

    pbx: LabAsterisk
    connector: Connector
    caller: Phone
    agent: Phone
    second: Phone
    bot: RecordingBot

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 (states of several objects, each told in its own way)
                await asyncio.sleep(0.01)

    async def caller_id(self) -> str:
        """Uniqueid of the caller's channel."""
        legs = self.connector.states()["main"].legs
        found: list[str] = []

        def look() -> bool:
            found[:] = [uniqueid for uniqueid, track in legs.items() if track.leg.channel.startswith("PJSIP/caller-")]
            return bool(found)

        await self.until(look)
        return found[0]

    async def tap(self, *tracks: Track) -> tuple[TapCall, list[BotStream]]:
        """Taps the caller; gives the bot's streams in the order of the tracks."""
        before = len(self.bot.streams)
        tap = self.connector.taps["main"].start(TapOrder(await self.caller_id(), "listen", tracks))
        streams = [await self.bot.next_stream(after=before + number) for number in range(len(tracks))]
        await self.until(tap.started.is_set)
        streams.sort(key=lambda stream: tracks.index(Track(stream.start["customParameters"]["track"])))
        return tap, streams

    async def until_over(self) -> None:
        await self.until(lambda: not self.connector.taps["main"].active)
        await until_nothing_left(self.pbx)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def floor(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess], bot: RecordingBot
) -> AsyncIterator[Floor]:
    conf = LabConf(queue_options="timeout = 20\nretry = 1\nwrapuptime = 0", agents=1, extensions=EXTENSIONS)
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(make_asterisk(phones=2, conf=conf))
        server = (HOST, pbx.sip_port)
        agent, second, caller = [
            await stack.enter_async_context(Phone(port, user, server, source=tone_source(hz)))
            for port, user, hz in (
                (pbx.ports.phones[0], "agent1", AGENT_HZ),
                (pbx.ports.phones[1], "agent2", SECOND_AGENT_HZ),
                (0, "alice", CALLER_HZ),
            )
        ]
        together = {"dialect": {"name": "twilio", "both_tracks": True}}
        bots = {"listen": bot.url, "together": bot.url}
        described = make_connector(beside=pbx, bots=bots, profile={"together": together})
        connector = Connector(Settings.model_validate(described.settings))
        running = asyncio.create_task(connector.run())
        made = Floor(pbx, connector, caller, agent, second, bot)
        try:
            await made.until(lambda: running.done() or (connector.ready.is_set() and not connector.not_ready()))
            yield made
        finally:
            running.cancel()
            await asyncio.wait({running})


def incoming(phone: Phone) -> int:
    return sum(call.incoming for call in phone.calls.values())


async def talking(floor: Floor) -> tuple[Call, Call]:
    """A caller and the agent of the queue, connected."""
    floor.agent.on_invite, before = Answer(), incoming(floor.agent)
    call = await floor.caller.call("queue")
    at_agent = await floor.agent.next_call(after=before)
    await at_agent.wait_answered()
    return call, at_agent


async def test_it_stays_with_a_caller_from_the_queue_over_hold_and_transfer(floor: Floor) -> None:
    floor.agent.on_invite, before = Answer(after_s=1.5), incoming(floor.agent)
    call = await floor.caller.call("queue")
    at_agent = await floor.agent.next_call(after=before)
    tap, (said, heard) = await floor.tap(*BOTH)
    await said.until_heard(CALLER_HZ, share=0.99)
    assert not at_agent.answered.is_set()  # the caller waits in Queue()

    await heard.until_heard(AGENT_HZ, window_ms=400, share=0.99)
    await said.until_heard(CALLER_HZ, window_ms=400, share=0.99)

    await at_agent.hold()
    await floor.until(lambda: tap.paused)
    await at_agent.unhold()
    await floor.until(lambda: not tap.paused)
    await heard.until_heard(AGENT_HZ, share=0.99)

    await at_agent.transfer("agent2")
    await floor.second.next_call()
    await heard.until_heard(SECOND_AGENT_HZ, window_ms=400, share=0.99)
    await said.until_heard(CALLER_HZ, window_ms=400, share=0.99)
    assert not said.closed.is_set()

    await call.hang_up()
    for stream in (said, heard):
        await stream.wait_for("stop")
    await floor.until_over()


async def test_it_goes_without_the_call_noticing(floor: Floor) -> None:
    call, at_agent = await talking(floor)
    tap, (heard,) = await floor.tap(Track.AGENT)
    await heard.wait_for("media", count=30)
    # Caller, agent, snoop, media.
    assert len((await floor.pbx.cli("core show channels concise")).splitlines()) == 4
    tap.stop()
    await heard.wait_for("stop")
    await floor.pbx.until("core show channels concise", lambda text: len(text.splitlines()) == 2)
    await until_heard(call, AGENT_HZ, window_ms=400, share=0.99)
    await until_heard(at_agent, CALLER_HZ, window_ms=400, share=0.99)
    await call.hang_up()
    await floor.until_over()


async def test_a_bot_that_goes_takes_the_tap_along_and_not_the_call(floor: Floor) -> None:
    call, _ = await talking(floor)
    _, (heard,) = await floor.tap(Track.AGENT)
    await heard.close()
    await floor.until(lambda: not floor.connector.taps["main"].active)
    await floor.pbx.until("core show channels concise", lambda text: len(text.splitlines()) == 2)
    await until_heard(call, AGENT_HZ)
    await call.hang_up()
    await floor.until_over()


async def test_a_caller_who_hangs_up_while_it_is_made_leaves_nothing(floor: Floor) -> None:
    for _ in range(5):
        call, _ = await talking(floor)
        tap = floor.connector.taps["main"].start(TapOrder(await floor.caller_id(), "listen", BOTH))
        await call.hang_up()
        await floor.until_over()
        assert not tap.paused


def sound_of(stream: BotStream, track: str) -> Dominant:
    """The last half second of one track of a stream."""
    media = [said.message["media"] for said in stream.said if said.message["event"] == "media"]
    audio = b"".join(base64.b64decode(each["payload"]) for each in media if each["track"] == track)
    return dominant_tone(g711.ulaw_decode(audio[-4_000:]), g711.SAMPLE_RATE_HZ)


async def test_both_sides_on_one_stream_are_told_apart(floor: Floor) -> None:
    call, _ = await talking(floor)
    before = len(floor.bot.streams)
    floor.connector.taps["main"].start(TapOrder(await floor.caller_id(), "together", BOTH))
    stream = await floor.bot.next_stream(after=before)
    assert stream.start["tracks"] == ["inbound", "outbound"]

    def clear() -> bool:
        if stream.counts["media"] < 80:
            return False
        caller, agent = sound_of(stream, "inbound"), sound_of(stream, "outbound")
        told = abs(caller.hz - CALLER_HZ) < 5 and abs(agent.hz - AGENT_HZ) < 5
        return told and min(caller.share, agent.share) > 0.95

    await floor.until(clear)
    numbers = [int(said.message["sequenceNumber"]) for said in stream.said if said.message["event"] == "media"]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    await call.hang_up()
    await stream.wait_for("stop")
    await floor.until_over()
    assert len(floor.bot.streams) == before + 1
