"""Recordings of real calls: each side in its channel, pauses left out, whole or playable."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from connector.app import Connector
from connector.audio.tone import dominant_tone
from connector.config import Settings
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard, until_nothing_left
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST
from connector.streams.recordings import Note

CALLER_HZ, BOT_HZ, BEEP_HZ = 1000, 600, 1400


@dataclass
class Desk:
    pbx: LabAsterisk
    connector: Connector
    bot: RecordingBot
    folder: Path
    caller: Phone

    async def begin(self) -> tuple[Call, BotStream, Path]:
        after, before = len(self.bot.streams), set(self.folder.glob("*/*.json"))
        call = await self.caller.call("bot_talk")
        stream = await self.bot.next_stream(after=after)
        await call.wait_answered()
        (note,) = set(self.folder.glob("*/*.json")) - before
        return call, stream, note

    async def until_closed(self, note: Path) -> Note:
        async with asyncio.timeout(15):
            while not (found := msgspec.json.decode(note.read_bytes(), type=Note)).sha256:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return found


def played(path: Path) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Caller and bot as another program plays them."""
    with av.open(str(path)) as file:
        frames = [frame.to_ndarray() for frame in file.decode(audio=0)]
    samples = np.concatenate(frames, axis=1).astype(np.int16)
    left, right = (samples[0, ::2], samples[0, 1::2]) if len(samples) == 1 else (samples[0], samples[1])
    return left, right


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    asterisk: LabAsterisk,
    make_connector: Callable[..., ConnectorProcess],
    bot: RecordingBot,
    caller_of_module: Phone,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Desk]:
    folder = tmp_path_factory.mktemp("recordings")
    described = make_connector(bots={"talk": bot.url}, profile={"talk": {"record": True}})
    settings = {**described.settings, "recording": {"directory": str(folder), "container": "flac", "beep_every_s": 600}}
    connector = Connector(Settings.model_validate(settings))
    running = asyncio.create_task(connector.run())
    try:
        async with asyncio.timeout(60):
            while not connector.ready.is_set() or connector.not_ready():
                assert not running.done()
                await asyncio.sleep(0.02)
        yield Desk(asterisk, connector, bot, folder, caller_of_module)
    finally:
        running.cancel()
        await asyncio.wait({running})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def caller_of_module(asterisk: LabAsterisk) -> AsyncIterator[Phone]:
    async with Phone(0, "alice", (HOST, asterisk.sip_port), source=tone_source(CALLER_HZ)) as phone:
        yield phone


async def test_caller_left_bot_right_and_what_is_paused_in_neither(desk: Desk) -> None:
    call, stream, beside = await desk.begin()
    await until_heard(call, BEEP_HZ, window_ms=100)  # the caller is told
    await stream.play(BOT_HZ, 30)
    await until_heard(call, BOT_HZ, window_ms=400, share=0.99)
    await stream.until_heard(CALLER_HZ, window_ms=400, share=0.99)
    for talk in desk.connector.managers["main"].calls.values():
        talk.pause_recording(True)
    heard = call.rtp.packets_in
    await call.rtp.wait_for(lambda rtp: rtp.packets_in > heard + 75)
    for talk in desk.connector.managers["main"].calls.values():
        talk.pause_recording(False)
    await call.rtp.wait_for_packets(50)
    await call.hang_up()
    note = await desk.until_closed(beside)
    path = beside.with_name(note.file)
    assert note.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert 1000 <= note.paused_ms <= 2500
    assert (note.dropped_ms, note.error, note.recovered) == (0, "", False)
    left, right = played(path)
    assert left.size == right.size == note.duration_ms * 8  # type: ignore[operator]
    for channel, hz in ((left, CALLER_HZ), (right, BOT_HZ)):
        found = dominant_tone(channel[-4000:-400], 8000)
        assert found.hz == pytest.approx(hz, abs=5)
        assert found.dbfs == pytest.approx(-10, abs=1)
        assert found.share > 0.99
    silent = ~np.abs(left.astype(np.int32)).reshape(-1, 160).any(axis=1)
    assert silent.sum() * 20 >= note.paused_ms
    await until_nothing_left(desk.pbx)


async def test_a_killed_worker_leaves_a_playable_file(desk: Desk) -> None:
    call, stream, beside = await desk.begin()
    await stream.play(BOT_HZ, 30)
    await call.rtp.wait_for_packets(200)
    (worker,) = desk.connector.media.workers
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    left, _ = played(beside.with_name(beside.name.removesuffix(".json")))
    assert left.size >= 8000
    assert dominant_tone(left[-2000:], 8000).hz == pytest.approx(CALLER_HZ, abs=5)
    await call.hang_up()
    await until_nothing_left(desk.pbx, timeout_s=15)
