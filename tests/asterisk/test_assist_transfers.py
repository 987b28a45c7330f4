"""Agent assist over transfers: whoever gets the call is a session of their own, beside a MixMonitor that goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest_asyncio
import soundfile

from connector.audio import g711
from connector.audio.tone import dominant_tone
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.conf import LabConf
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard, until_nothing_left
from connector.lab.raw_bot import RawBot, RawStream
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

CALLER_HZ, AGENT_HZ, SECOND_HZ = 1000, 450, 700
EXTENSIONS = """
[from-phones](+)
exten => agent2,1,Dial(PJSIP/agent2)
exten => recorded,1,Answer()
 same => n,MixMonitor(talk.wav)
 same => n,Queue(support)
"""


@dataclass
class Floor:
    pbx: LabAsterisk
    connector: ConnectorProcess
    caller: Phone
    agent: Phone
    second: Phone
    bot: RawBot

    async def session(self, after: int, hz: float, agent: str) -> RawStream:
        """The stream of an agent's session, once both sides have their tone."""
        stream = await self.bot.next_stream(after=after)
        start = await stream.wait_for("start")
        assert start["tracks"] == ["agent", "caller"]
        told = start["parameters"]
        assert (told["queue"], told["agent"], told["from"]) == ("support", agent, "alice")
        async with asyncio.timeout(15):
            while not (is_tone(stream, 0, hz) and is_tone(stream, 1, CALLER_HZ)):
                await stream.wait_for_audio(1_600)
        return stream

    async def recorded(self, *wanted_hz: float) -> None:
        """MixMonitor's file, once it is whole, has each of these voices.

        Not asked for: who got the call by the transfer. Debian's 22.10 loses them now and then (docs/taps.md).
        """
        (path,) = self.pbx.folder.rglob("talk.wav")
        async with asyncio.timeout(15):
            while not all(has_tone(path, hz) for hz in wanted_hz):  # noqa: ASYNC110 (Asterisk writes it)
                await asyncio.sleep(0.1)
        path.unlink()


def has_tone(path: Path, hz: float) -> bool:
    """Whether any fifth of a second of a file has a tone."""
    try:
        sound, rate_hz = soundfile.read(path, dtype="int16")
    except soundfile.LibsndfileError:
        return False  # it has no header yet
    step = rate_hz // 5
    return any(level_db(sound[at : at + step], hz, rate_hz) > -20 for at in range(0, sound.size - step, step))


def is_tone(stream: RawStream, track: int, hz: float) -> bool:
    """Whether the last 400 ms of a track are a tone and nothing else."""
    audio = b"".join(message[1:] for message in stream.heard if message[0] == track)[-3_200:]
    found = dominant_tone(g711.ulaw_decode(audio), g711.SAMPLE_RATE_HZ)
    return len(audio) == 3_200 and abs(found.hz - hz) < 5 and found.share > 0.99


def level_db(samples: np.ndarray, hz: float, rate_hz: int) -> float:
    window = np.hanning(samples.size)
    turn = np.exp(-2j * np.pi * hz * np.arange(samples.size) / rate_hz)
    return float(20 * np.log10(2 * abs(np.sum(samples * window * turn)) / np.sum(window) / 32768 + 1e-9))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def floor(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess]
) -> AsyncIterator[Floor]:
    conf = LabConf(queue_options="timeout = 20\nretry = 1\nwrapuptime = 0", agents=1, extensions=EXTENSIONS)
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(make_asterisk(phones=2, conf=conf))
        server = (HOST, pbx.sip_port)
        agent, second, caller = [
            await stack.enter_async_context(Phone(port, user, server, source=tone_source(hz)))
            for port, user, hz in (
                (pbx.ports.phones[0], "agent1", AGENT_HZ),
                (pbx.ports.phones[1], "agent2", SECOND_HZ),
                (0, "alice", CALLER_HZ),
            )
        ]
        bot = await stack.enter_async_context(RawBot())
        profile = {"mode": "assist", "dialect": {"name": "raw", "encoding": "pcmu"}, "match": {"queues": ["support"]}}
        described = make_connector(beside=pbx, bots={"ears": bot.url}, profile={"ears": profile})
        connector = await stack.enter_async_context(described)
        yield Floor(pbx, connector, caller, agent, second, bot)


async def begin(floor: Floor) -> tuple[Call, Call, RawStream]:
    """A caller with the agent of the queue, listened to and recorded by Asterisk."""
    after = len(floor.bot.streams)
    before = sum(call.incoming for call in floor.agent.calls.values())
    call = await floor.caller.call("recorded")
    at_agent = await floor.agent.next_call(after=before)
    await at_agent.wait_answered()
    return call, at_agent, await floor.session(after, AGENT_HZ, "Agent 1")


async def finish(floor: Floor, call: Call, stream: RawStream) -> None:
    await call.hang_up()
    await ended(stream)
    for phone in (floor.agent, floor.second):
        for each in list(phone.calls.values()):
            await phone.end_call(each)
    await until_nothing_left(floor.pbx)
    await floor.recorded(CALLER_HZ, AGENT_HZ)


async def ended(stream: RawStream) -> None:
    """It was told so, and closed."""
    await stream.wait_for("stop")
    async with asyncio.timeout(15):
        await stream.closed.wait()


async def test_blind(floor: Floor) -> None:
    call, at_agent, first = await begin(floor)
    await at_agent.hold()
    assert (await first.wait_for("hold"))["held"] is True
    await at_agent.unhold()
    assert (await first.wait_for("hold", count=2))["held"] is False
    assert not first.closed.is_set()
    after, before = len(floor.bot.streams), sum(each.incoming for each in floor.second.calls.values())
    await at_agent.transfer("agent2")
    at_second = await floor.second.next_call(after=before)
    await at_second.wait_answered()
    second = await floor.session(after, SECOND_HZ, "PJSIP/agent2")
    await ended(first)
    await until_heard(call, SECOND_HZ, window_ms=400, share=0.99)
    await call.rtp.wait_for_packets(50)
    assert len(floor.bot.streams) == after + 1
    await finish(floor, call, second)


async def test_announced(floor: Floor) -> None:
    call, at_agent, first = await begin(floor)
    await at_agent.hold()
    await first.wait_for("hold")
    after, before = len(floor.bot.streams), sum(each.incoming for each in floor.second.calls.values())
    consultation = await floor.agent.call("agent2")
    at_second = await floor.second.next_call(after=before)
    await at_second.wait_answered()
    await until_heard(at_second, AGENT_HZ, window_ms=200, share=0.99)
    assert len(floor.bot.streams) == after, "the consultation is no conversation with the caller"
    await at_agent.transfer("agent2", consulted=consultation)
    second = await floor.session(after, SECOND_HZ, "PJSIP/agent2")
    await ended(first)
    await until_heard(call, SECOND_HZ, window_ms=400, share=0.99)
    await call.rtp.wait_for_packets(50)
    assert len(floor.bot.streams) == after + 1
    await finish(floor, call, second)
