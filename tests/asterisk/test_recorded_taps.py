"""Recordings of calls that are listened to: by profile, on demand over REST, paused, with a beep, and after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pytest
import pytest_asyncio
import soundfile
from numpy.typing import NDArray

from connector.app import Connector
from connector.audio.tone import dominant_tone
from connector.config import Settings
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.conf import LabConf
from connector.lab.phone import Answer, Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard, until_nothing_left
from connector.lab.recording_bot import RecordingBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST
from connector.streams.recordings import Note
from connector.streams.tapcall import TapOrder

CALLER_HZ, AGENT_HZ, BOT_HZ, BEEP_HZ = 1000, 600, 800, 1400
EXTENSIONS = """
[from-phones](+)
exten => queue,1,Answer()
 same => n,Queue(support)
"""


@dataclass
class Floor:
    pbx: LabAsterisk
    connector: Connector
    url: str
    caller: Phone
    agent: Phone
    bot: RecordingBot
    folder: Path

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(20):
            while not (found := condition()):  # noqa: ASYNC110 (states of several objects, each told in its own way)
                await asyncio.sleep(0.02)
        return found

    async def ask(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.url}/api/v1{path}", json=body or None) as answer,
        ):
            return answer.status, await answer.json() if "json" in answer.content_type else await answer.read()

    async def talking(self) -> tuple[Call, Call, str]:
        """A caller, the agent of the queue, and the name of their call."""
        self.agent.on_invite, before = Answer(), sum(call.incoming for call in self.agent.calls.values())
        call = await self.caller.call("queue")
        at_agent = await self.agent.next_call(after=before)
        await at_agent.wait_answered()
        state = self.connector.states()["main"]
        await self.until(lambda: state.talks)
        return call, at_agent, next(iter(state.talks))

    async def closed(self, count: int = 1) -> list[tuple[Path, Note]]:
        """The recordings, once all are closed; their files are then removed."""

        def notes() -> list[tuple[Path, Note]]:
            found = [
                (path.with_name(path.name.removesuffix(".json")), msgspec.json.decode(path.read_bytes(), type=Note))
                for path in sorted(self.folder.glob("*/*.json"))
            ]
            return found if len(found) == count and all(note.sha256 for _, note in found) else []

        found: list[tuple[Path, Note]] = await self.until(notes)
        return found

    async def over(self, call: Call) -> None:
        await call.hang_up()
        await self.until(lambda: not self.connector.taps["main"].active)
        await until_nothing_left(self.pbx)
        await self.until(lambda: not self.connector.states()["main"].calls)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def floor_of_module(
    make_asterisk: Callable[..., LabAsterisk],
    make_connector: Callable[..., ConnectorProcess],
    bot: RecordingBot,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Floor]:
    conf = LabConf(queue_options="timeout = 20\nretry = 1\nwrapuptime = 0", agents=1, extensions=EXTENSIONS)
    folder = tmp_path_factory.mktemp("recordings")
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(make_asterisk(phones=1, conf=conf))
        server = (HOST, pbx.sip_port)
        agent, caller = [
            await stack.enter_async_context(Phone(port, user, server, source=tone_source(hz)))
            for port, user, hz in ((pbx.ports.phones[0], "agent1", AGENT_HZ), (0, "alice", CALLER_HZ))
        ]
        described = make_connector(
            beside=pbx, bots={"listen": bot.url, "talk": bot.url}, profile={"listen": {"record": True}}
        )
        settings = Settings.model_validate(
            {**described.settings, "recording": {"directory": str(folder), "container": "wav", "beep_every_s": 3}}
        )
        connector = Connector(settings)
        running = asyncio.create_task(connector.run())
        made = Floor(pbx, connector, described.url, caller, agent, bot, folder)
        try:
            await made.until(lambda: running.done() or (connector.ready.is_set() and not connector.not_ready()))
            yield made
        finally:
            running.cancel()
            await asyncio.wait({running})


@pytest_asyncio.fixture(loop_scope="session")
async def floor(floor_of_module: Floor) -> AsyncIterator[Floor]:
    """With an empty folder and no call."""
    await floor_of_module.until(lambda: not floor_of_module.connector.states()["main"].calls)
    yield floor_of_module
    for phone in (floor_of_module.caller, floor_of_module.agent):
        for call in list(phone.calls.values()):
            await phone.end_call(call)
    for path in floor_of_module.folder.glob("*/*"):
        path.unlink()


def played(path: Path) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    sound, rate_hz = soundfile.read(path, dtype="int16")
    assert rate_hz == 8000
    return sound[:, 0], sound[:, 1]


def assert_tone(samples: NDArray[np.int16], hz: float) -> None:
    """Outside of beeps."""
    windows = [samples[at : at + 1600] for at in range(0, samples.size - 1599, 800)]
    found = max((dominant_tone(window, 8000) for window in windows), key=lambda each: each.share)
    assert found.hz == pytest.approx(hz, abs=5)
    assert found.dbfs == pytest.approx(-10, abs=1)
    assert found.share > 0.99


def beep_db(samples: NDArray[np.int16]) -> float:
    """Level of the beep's frequency, against full scale."""
    window = np.hanning(samples.size)
    turn = np.exp(-2j * np.pi * BEEP_HZ * np.arange(samples.size) / 8000)
    amplitude = 2 * abs(np.sum(samples * window * turn)) / np.sum(window)
    return float(20 * np.log10(amplitude / 32768 + 1e-9))


async def until_beep(call: Call) -> None:
    """Waits until a phone hears it under the voice of the other."""
    await call.rtp.wait_for(lambda rtp: rtp.packets_in >= 10 and beep_db(rtp.audio(last_ms=100)) > -24, timeout_s=15)


async def test_a_profile_records_what_it_listens_to_and_both_hear_the_beep(floor: Floor) -> None:
    call, at_agent, linkedid = await floor.talking()
    after = len(floor.bot.streams)
    floor.connector.taps["main"].start(TapOrder(linkedid, "listen"))  # two streams, one file
    streams = [await floor.bot.next_stream(after=after + number) for number in range(2)]
    await asyncio.gather(until_beep(call), until_beep(at_agent))
    for stream in streams:
        await stream.wait_for("media", count=150)
    await floor.over(call)
    ((path, note),) = await floor.closed()
    assert (note.linkedid, note.profile, note.right, note.error) == (linkedid, "listen", "agent", "")
    assert note.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    left, right = played(path)
    assert left.size == right.size == (note.duration_ms or 0) * 8
    assert_tone(left[-3000:-800], CALLER_HZ)
    assert_tone(right[-3000:-800], AGENT_HZ)


async def test_a_call_that_nobody_listens_to_is_recorded_paused_and_heard_over_rest(floor: Floor) -> None:
    call, at_agent, linkedid = await floor.talking()
    path = f"/calls/main/{linkedid}/recording"
    assert (await floor.ask("GET", path))[0] == 404
    status, live = await floor.ask("POST", path)
    assert (status, live["profile"], live["right"], live["paused"]) == (201, "", "agent", False), live
    assert (await floor.ask("POST", path))[0] == 409
    await call.rtp.wait_for_packets(75)
    assert (await floor.ask("PUT", path, paused=True))[1]["paused"] is True
    await call.rtp.wait_for_packets(75)
    assert (await floor.ask("PUT", path, paused=False))[1]["paused"] is False
    await call.rtp.wait_for_packets(75)
    assert (await floor.ask("DELETE", path))[0] == 200
    assert (await floor.ask("GET", path))[0] == 404
    await until_heard(call, AGENT_HZ, window_ms=200, share=0.99)
    await until_heard(at_agent, CALLER_HZ, window_ms=200, share=0.99)
    ((file, note),) = await floor.closed()
    _, page = await floor.ask("GET", f"/recordings?call={linkedid}")
    (shown,) = page["recordings"]
    assert (shown["file"], shown["state"], shown["day"]) == (live["file"], "closed", live["day"])
    _, content = await floor.ask("GET", shown["audio"].removeprefix("/api/v1"))
    assert hashlib.sha256(content).hexdigest() == note.sha256 == shown["sha256"]
    assert 1200 <= note.paused_ms <= 3000
    left, right = played(file)
    for samples, hz in ((left, CALLER_HZ), (right, AGENT_HZ)):
        silent = ~np.abs(samples.astype(np.int32)[: samples.size // 160 * 160]).reshape(-1, 160).any(axis=1)
        assert silent.sum() * 20 >= note.paused_ms
        assert_tone(samples[4000:8000], hz)
    await floor.over(call)
    _, text = await floor.ask("GET", "/../../metrics")
    assert b'connector_recordings_total{outcome="closed"}' in text
    assert b'connector_recording_seconds_total{part="paused"} 0' not in text


async def test_a_call_with_a_bot_is_recorded_from_any_moment_on(floor: Floor) -> None:
    after = len(floor.bot.streams)
    call = await floor.caller.call("bot_talk")
    stream = await floor.bot.next_stream(after=after)
    await stream.play(BOT_HZ, 20)
    await until_heard(call, BOT_HZ, share=0.99)
    linkedid = await floor.until(lambda: next(iter(floor.connector.states()["main"].calls), ""))
    status, live = await floor.ask("POST", f"/calls/main/{linkedid}/recording")
    assert (status, live["profile"], live["right"]) == (201, "talk", "bot")
    await call.rtp.wait_for_packets(150)
    await floor.over(call)
    ((path, note),) = await floor.closed()
    assert note.linkedid == linkedid
    left, right = played(path)
    assert_tone(left[-4000:-800], CALLER_HZ)
    assert_tone(right[-4000:-800], BOT_HZ)


async def test_a_worker_killed_in_a_recorded_tap_leaves_one_file_and_goes_on_in_a_second(floor: Floor) -> None:
    call, _, linkedid = await floor.talking()
    path = f"/calls/main/{linkedid}/recording"
    assert (await floor.ask("POST", path))[0] == 201
    await call.rtp.wait_for_packets(200)
    (worker,) = floor.connector.media.workers
    assert worker.pid is not None
    reopened = floor.connector.media.stats.reopened
    os.kill(worker.pid, signal.SIGKILL)
    (first,) = floor.folder.glob("*/*.wav")
    left, _ = played(first)
    assert left.size >= 8000
    assert_tone(left[4000:8000], CALLER_HZ)
    await floor.until(lambda: floor.connector.media.stats.reopened > reopened)
    await call.rtp.wait_for_packets(150)
    await floor.over(call)
    (one, dead), (two, whole) = sorted(await floor.closed(2), key=lambda each: each[1].recovered, reverse=True)
    assert (one, dead.recovered, whole.recovered) == (first, True, False)
    assert two.name.endswith("-2.wav")
    left, right = played(two)
    assert_tone(left[-4000:-800], CALLER_HZ)
    assert_tone(right[-4000:-800], AGENT_HZ)
