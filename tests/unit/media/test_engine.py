"""The worker's life as the control process sees it."""

import asyncio
import itertools
import json
import os
import signal
import socket
import sys
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from connector.media.control import EndCause
from connector.media.counters import NAMES
from connector.media.engine import BindFailed, MediaEngine, StreamFailed

SILENCE = b"\xff" * 160


async def test_a_stream_outlives_its_worker(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, until: Any
) -> None:
    address, pid = engine.workers[0].rtp, engine.workers[0].pid
    handle, caller = await open_stream(recording_bot.url)
    caller.send(b"\x11" * 160)
    await until(lambda: handle.stats.packets_in == 1)
    await until(lambda: engine.stats.counters["packets_out"] > 0)
    before = engine.stats.counters["packets_out"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: engine.stats.reopened == 1)
    assert engine.workers[0].pid != pid
    assert engine.workers[0].rtp == address
    assert engine.stats.restarts == 1
    assert engine.stats.gap_ms > 0
    got = len(caller.packets)
    await until(lambda: len(caller.packets) > got + 10)
    caller.send(b"\x22" * 160)
    await until(lambda: b"\x22" * 160 in recording_bot.audio)
    assert len(recording_bot.all("start")) == 2
    # What it carried before counts, in the stream and in all.
    await until(lambda: handle.stats.packets_in == 2)
    assert engine.stats.counters["packets_out"] > before
    handle.close(EndCause.CALLER_HUNG_UP)
    assert (await asyncio.wait_for(handle.ended, 10)).stats.packets_in == 2


async def test_a_bot_whose_protocol_has_a_word_for_it_is_told_of_the_gap(
    engine: MediaEngine, open_stream: Any, until: Any
) -> None:
    told: list[Any] = []

    async def listen(socket: ServerConnection) -> None:
        async for message in socket:
            told.append({} if isinstance(message, bytes) else json.loads(message))  # noqa: PERF401

    async with serve(listen, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        await open_stream(url, dialect="raw")
        os.kill(engine.workers[0].pid or 0, signal.SIGKILL)
        await until(lambda: any(message.get("type") == "reconnected" for message in told))
    (word,) = [message for message in told if message.get("type") == "reconnected"]
    assert (word["attempt"], word["gap_ms"]) == (1, engine.stats.gap_ms)


async def test_a_stream_whose_worker_stays_away_ends(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.media.engine.REOPEN_WITHIN_S", 0.0)
    handle, _ = await open_stream(recording_bot.url)
    assert engine.workers[0].pid is not None
    os.kill(engine.workers[0].pid, signal.SIGKILL)
    assert (await asyncio.wait_for(handle.ended, 10)).cause is EndCause.WORKER_LOST
    assert engine.stats.streams == engine.workers[0].streams == 0


async def test_a_caller_who_hangs_up_while_the_worker_is_away(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, until: Any
) -> None:
    handle, _ = await open_stream(recording_bot.url)
    assert engine.workers[0].pid is not None
    os.kill(engine.workers[0].pid, signal.SIGKILL)
    await until(lambda: not engine.ready.is_set())
    handle.close(EndCause.CALLER_HUNG_UP)
    assert handle.ended.result().cause is EndCause.CALLER_HUNG_UP
    await asyncio.wait_for(engine.ready.wait(), 20)
    assert engine.stats.streams == engine.stats.reopened == 0


async def test_a_bot_that_is_gone_when_the_worker_is_back_ends_its_stream(
    engine: MediaEngine, open_stream: Any, recording_bot: Any
) -> None:
    handle, _ = await open_stream(recording_bot.url)
    recording_bot.server.close(close_connections=False)
    assert engine.workers[0].pid is not None
    os.kill(engine.workers[0].pid, signal.SIGKILL)
    assert (await asyncio.wait_for(handle.ended, 30)).cause is EndCause.BOT_REFUSED


async def test_a_stream_that_its_workers_die_of_is_not_opened_for_ever(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, until: Any
) -> None:
    handle, _ = await open_stream(recording_bot.url)
    for times in (1, 2, 3, 4):
        os.kill(engine.workers[0].pid or 0, signal.SIGKILL)
        await until(lambda times=times: engine.stats.reopened == times or times == 4, 20)
    assert (await asyncio.wait_for(handle.ended, 10)).cause is EndCause.WORKER_LOST


async def test_streams_are_spread_over_the_workers_until_all_are_full(
    recording_bot: Any, request_for: Any, stream_failed: Any, until: Any
) -> None:
    engine = MediaEngine(bind_host="127.0.0.1", bind_port=0, workers=2, max_streams_per_worker=2)
    running = asyncio.create_task(engine.run())
    await until(lambda: all(worker.up for worker in engine.workers), 20)
    assert len({worker.rtp for worker in engine.workers}) == 2
    handles = [await engine.open(request_for(recording_bot.url)) for _ in range(4)]
    assert [worker.streams for worker in engine.workers] == [2, 2]
    assert not engine.has_room
    assert (await stream_failed(engine, request_for(recording_bot.url))).cause is EndCause.WORKER_FULL
    assert engine.stats.refused == 1
    for handle in handles:
        handle.close(EndCause.CALLER_HUNG_UP)
        await handle.ended
    assert engine.has_room
    engine.workers[0].busy = 0.95
    more = await engine.open(request_for(recording_bot.url))
    assert more.rtp == engine.workers[1].rtp
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert {worker.pid for worker in engine.workers} == {None}


async def test_a_dead_worker_costs_the_streams_of_the_others_nothing(
    recording_bot: Any, request_for: Any, until: Any
) -> None:
    engine = MediaEngine(bind_host="127.0.0.1", bind_port=0, workers=2)
    running = asyncio.create_task(engine.run())
    await until(lambda: all(worker.up for worker in engine.workers), 20)
    handles = [await engine.open(request_for(recording_bot.url)) for _ in range(4)]
    os.kill(engine.workers[0].pid or 0, signal.SIGKILL)
    await until(lambda: engine.stats.reopened == 2)
    assert [worker.streams for worker in engine.workers] == [2, 2]
    assert [handle.ended.done() for handle in handles] == [False] * 4
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_no_stream_opens_while_there_is_no_worker(engine: MediaEngine, request_for: Any, until: Any) -> None:
    assert engine.workers[0].pid is not None
    os.kill(engine.workers[0].pid, signal.SIGKILL)
    await until(lambda: not engine.ready.is_set())
    with pytest.raises(StreamFailed) as caught:
        await engine.open(request_for("ws://127.0.0.1:1/"))
    assert caught.value.cause is EndCause.WORKER_LOST


async def test_a_worker_that_hangs_is_replaced(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.media.workerlink.SILENT_WORKER_S", 1.5)
    monkeypatch.setattr("connector.media.workerlink.STOP_S", 0.2)
    monkeypatch.setattr("connector.media.engine.REOPEN_WITHIN_S", 60.0)
    handle, _ = await open_stream(recording_bot.url)
    pid = engine.workers[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    # The wait that is under way still has the longer deadline.
    await until(lambda: engine.stats.reopened == 1, 60)
    assert engine.workers[0].pid != pid
    assert not handle.ended.done()


async def test_a_stall_skips_whole_steps_and_the_timestamp_keeps_real_time(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, until: Any
) -> None:
    _, caller = await open_stream(recording_bot.url)
    await until(lambda: len(caller.packets) >= 5)
    pid = engine.workers[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    stopped = len(caller.packets)
    loop = asyncio.get_running_loop()
    resume_at = loop.time() + 0.3
    await until(lambda: loop.time() >= resume_at)
    os.kill(pid, signal.SIGCONT)
    await until(lambda: len(caller.packets) >= stopped + 20)
    packets = caller.packets
    steps = [(b.timestamp - a.timestamp) % 2**32 for a, b in itertools.pairwise(packets)]
    assert max(steps) >= 10 * 160
    assert {(b.sequence - a.sequence) % 2**16 for a, b in itertools.pairwise(packets)} == {1}
    await until(lambda: engine.stats.counters["late_ticks"] >= 9)


async def test_what_came_during_a_stall_is_audio_and_not_taken_for_silence(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, until: Any
) -> None:
    handle, caller = await open_stream(recording_bot.url)
    pid = engine.workers[0].pid
    assert pid is not None
    speaking = asyncio.create_task(caller.speak([b"\x11" * 160] * 60))
    await until(lambda: len(recording_bot.audio) >= 10)
    os.kill(pid, signal.SIGSTOP)
    sent = caller.sequence
    await until(lambda: (caller.sequence - sent) % 2**16 >= 25)
    os.kill(pid, signal.SIGCONT)
    await speaking
    await until(lambda: recording_bot.audio.count(b"\x11" * 160) == 60)
    await until(lambda: handle.stats.packets_in == 60)
    # Half a second was slept through; silence around the speech is not counted here.
    first = recording_bot.audio.index(b"\x11" * 160)
    assert recording_bot.audio[first : first + 60].count(SILENCE) < 10


async def test_interrupt_and_terminate_are_for_the_control_process(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, until: Any
) -> None:
    handle, caller = await open_stream(recording_bot.url)
    assert engine.workers[0].pid is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(engine.workers[0].pid, number)
    got = len(caller.packets)
    await until(lambda: len(caller.packets) >= got + 20)
    assert not handle.ended.done()
    assert engine.stats.restarts == 0


async def test_a_stop_says_goodbye_to_the_bots(recording_bot: Any, request_for: Any, until: Any) -> None:
    engine = MediaEngine(bind_host="127.0.0.1", bind_port=0)
    running = asyncio.create_task(engine.run())
    await asyncio.wait_for(engine.ready.wait(), 20)
    handle = await engine.open(request_for(recording_bot.url))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert handle.ended.result().cause is EndCause.SHUTDOWN
    await until(lambda: recording_bot.closed_with == 1000)


async def test_a_taken_port_is_named_with_its_setting() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        engine = MediaEngine(bind_host="127.0.0.1", bind_port=port)
        with pytest.raises(BindFailed, match=rf"127\.0\.0\.1:{port} .*media\.bind_port"):
            await asyncio.wait_for(engine.run(), 20)


async def test_a_foreign_address_is_named_with_its_setting() -> None:
    engine = MediaEngine(bind_host="192.0.2.1", bind_port=0)
    with pytest.raises(BindFailed, match=r"media\.bind_host"):
        await asyncio.wait_for(engine.run(), 20)


async def test_a_worker_that_cannot_start_is_tried_again_with_patience(until: Any) -> None:
    engine = MediaEngine(bind_host="127.0.0.1", bind_port=0, command=(sys.executable, "-c", "raise SystemExit(1)"))
    running = asyncio.create_task(engine.run())
    await until(lambda: engine.stats.restarts >= 2)
    assert not engine.ready.is_set()
    assert engine.workers[0].rtp is None
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_id_is_open_once(engine: MediaEngine, recording_bot: Any, request_for: Any) -> None:
    asked = request_for(recording_bot.url)
    await engine.open(asked)
    with pytest.raises(ValueError, match="open already"):
        await engine.open(asked)


async def test_every_counter_is_there_from_the_first_report_on(engine: MediaEngine, until: Any) -> None:
    assert set(engine.stats.counters) == set(NAMES)
