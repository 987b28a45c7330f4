"""The folder of recordings: finished, made good after a crash, uploaded with patience, deleted in time."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connector.config_recording import RecordingSettings
from connector.media.recorder import Recorded, RecordTo
from connector.streams import recordings as module
from connector.streams.recordings import DAY_S, Note, Recordings

NOW = 1_800_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def folder(tmp_path: Path, clock: Clock | None = None, **settings: Any) -> Recordings:
    return Recordings(RecordingSettings.model_validate(settings), tmp_path, clock=clock or Clock())


def begin(recordings: Recordings, stream_id: str = "connector-node1-stream-0123456789ab") -> RecordTo:
    to = recordings.begin(pbx="main", channel_id="1700.1", stream_id=stream_id, profile="talk")
    os.utime(to.path + ".json", (NOW, NOW))  # of the tests' own day
    return to


def note(to: RecordTo) -> Note:
    return msgspec.json.decode(Path(to.path + ".json").read_bytes(), type=Note)


def closed(to: RecordTo, stream_id: str = "connector-node1-stream-0123456789ab") -> Recorded:
    content = b"sound"
    Path(to.path).write_bytes(content)
    return Recorded(stream_id, to.path, to.path, 1000, len(content), hashlib.sha256(content).hexdigest(), 0, 0)


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (files tell nobody)
            await asyncio.sleep(0.01)


async def test_a_note_stands_beside_from_the_first_moment_and_is_finished(tmp_path: Path) -> None:
    recordings = folder(tmp_path, container="flac")
    to = begin(recordings)
    assert to.path.endswith("/2027-01-15/main-1700.1-0123456789ab.flac")
    assert (note(to).sha256, note(to).duration_ms) == ("", None)
    running = asyncio.create_task(recordings.run())
    recordings.on_recorded(closed(to))
    await until(lambda: note(to).sha256)
    assert note(to).sha256 == hashlib.sha256(b"sound").hexdigest()
    assert (note(to).duration_ms, note(to).recovered) == (1000, False)
    running.cancel()
    await asyncio.wait({running})


def test_a_name_from_outside_stays_in_the_folder(tmp_path: Path) -> None:
    to = folder(tmp_path).begin(pbx="main", channel_id="../../etc/x", stream_id="a-b", profile="talk")
    assert Path(to.path).parent.parent == tmp_path


def test_what_a_dead_worker_left_is_made_good(tmp_path: Path) -> None:
    to, lost = begin(folder(tmp_path)), begin(folder(tmp_path), "x-y-z-lost")
    Path(to.path).write_bytes(b"half")
    assert folder(tmp_path, upload_url="http://127.0.0.1/").sweep() == [Path(to.path)]
    assert note(to).recovered
    assert note(to).sha256 == hashlib.sha256(b"half").hexdigest()
    assert "nothing is left" in note(lost).error


def test_a_call_that_goes_on_is_left_alone_by_the_sweep_until_nobody_writes_it(tmp_path: Path) -> None:
    clock = Clock()
    recordings = folder(tmp_path, clock)
    to = begin(recordings)
    Path(to.path).write_bytes(b"so far")
    for path in (to.path, to.path + ".json"):
        os.utime(path, (NOW, NOW))
    clock.now = NOW + module.DEAD_AFTER_S - 1
    recordings.sweep()
    assert not note(to).recovered
    clock.now = NOW + module.DEAD_AFTER_S + 1  # its worker died, and the stream with it
    recordings.sweep()
    assert note(to).recovered
    assert (recordings.stats.recovered, recordings.stats.active) == (1, 0)


async def test_a_stream_recorded_twice_has_two_files_and_one_without_sound_none(tmp_path: Path) -> None:
    recordings = folder(tmp_path)
    first = begin(recordings)
    second = begin(recordings)
    assert first.path != second.path
    running = asyncio.create_task(recordings.run())
    recordings.on_recorded(closed(second))
    silent = msgspec.structs.replace(closed(first), duration_ms=0)
    recordings.on_recorded(silent)
    await until(lambda: not recordings.stats.active)
    assert note(second).sha256
    assert not Path(first.path).exists()
    assert not Path(first.path + ".json").exists()
    assert (recordings.stats.started, recordings.stats.closed, recordings.stats.active) == (2, 1, 0)
    running.cancel()
    await asyncio.wait({running})


def test_what_is_too_old_is_deleted_with_its_folder(tmp_path: Path) -> None:
    clock = Clock()
    to = begin(folder(tmp_path, clock))
    Path(to.path).write_bytes(b"x")
    clock.now = NOW + 29 * DAY_S
    fresh = begin(folder(tmp_path, clock), "x-y-z-fresh")
    clock.now = NOW + 31 * DAY_S
    later = folder(tmp_path, clock)
    later.sweep()
    assert later.stats.deleted == 1
    assert not Path(to.path).parent.exists()
    assert Path(fresh.path + ".json").exists()
    for_ever = folder(tmp_path, clock, retention_days=0)
    clock.now = NOW + 9_999 * DAY_S
    for_ever.sweep()
    assert for_ever.stats.deleted == 0


async def test_a_file_is_put_until_the_server_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPLOAD_TRIES_S", (0.0, 0.0, 0.0))
    took: list[tuple[str, str, bytes]] = []
    answers = iter((503, 500, 201))

    async def put(request: web.Request) -> web.Response:
        took.append((request.path, request.headers.get("Authorization", ""), await request.read()))
        return web.Response(status=next(answers))

    app = web.Application()
    app.router.add_put("/{name:.*}", put)
    async with TestServer(app, host="127.0.0.1") as server:
        headers = {"Authorization": "Bearer t"}
        recordings = folder(tmp_path, upload_url=str(server.make_url("/calls/")), upload_headers=headers)
        to = begin(recordings)
        running = asyncio.create_task(recordings.run())
        recordings.on_recorded(closed(to))
        await until(lambda: note(to).uploaded_at)
        running.cancel()
        await asyncio.wait({running})
    assert took == [("/calls/main-1700.1-0123456789ab.wav", "Bearer t", b"sound")] * 3
    assert (recordings.stats.uploaded, recordings.stats.upload_failed) == (1, 2)
    assert note(to).uploaded_at == NOW
