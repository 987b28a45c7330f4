"""Many streams at once over one media worker: every message of each bears the next number."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from connector.media.control import Address, EndCause
from connector.media.engine import MediaEngine, StreamHandle
from connector.media.rtp import RtpPacket, build

STREAMS = 150
FRAMES = 60
NUMBER = re.compile(r'"sequenceNumber":"([0-9]+)"')


class Counting:
    """A bot that keeps the numbers of what it gets, by stream, and asks for a mark now and then."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[int]] = {}
        self.media = 0
        self.url = ""

    async def converse(self, socket: ServerConnection) -> None:
        mine: list[int] = []
        async for message in socket:
            assert isinstance(message, str)
            found = NUMBER.search(message)
            if found is None:
                continue
            mine.append(int(found[1]))
            if message.startswith('{"event":"media"'):
                self.media += 1
            elif message.startswith('{"event":"start"'):
                self.numbers[json.loads(message)["streamSid"]] = mine
            if len(mine) % 20 == 0:
                await socket.send('{"event":"mark","mark":{"name":"m"}}')


@pytest.fixture
async def counting() -> AsyncIterator[Counting]:
    bot = Counting()
    async with serve(bot.converse, "127.0.0.1", 0, compression=None) as server:
        bot.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        yield bot


@pytest.fixture
async def patient_engine() -> AsyncIterator[MediaEngine]:
    """One that gives a bot on a busy machine its time."""
    engine = MediaEngine(bind_host="127.0.0.1", bind_port=0)
    running = asyncio.create_task(engine.run())
    await asyncio.wait_for(engine.ready.wait(), 20)
    yield engine
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("streams", [1, STREAMS])
async def test_numbers_of_each_stream_rise_by_one(
    patient_engine: MediaEngine, counting: Counting, request_for: Any, until: Any, streams: int
) -> None:
    handles: list[StreamHandle] = []
    for _ in range(0, streams, 10):
        some = [request_for(counting.url, connect_timeout_ms=10_000) for _ in range(min(10, streams))]
        handles += await asyncio.gather(*(patient_engine.open(each) for each in some))
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in handles]
        for handle, caller in zip(handles, callers, strict=True):
            caller.bind(("127.0.0.1", 0))
            handle.attach(Address(*caller.getsockname()))
        await until(lambda: len(counting.numbers) == streams)
        loop = asyncio.get_running_loop()
        worker, began_s = (handles[0].rtp.host, handles[0].rtp.port), loop.time()
        for frame in range(FRAMES):
            datagram = build(RtpPacket(0, frame, 160 * frame, 77, bytes([frame]) * 160))
            for number, caller in enumerate(callers):
                caller.sendto(datagram, worker)
                if (frame + number) % 25 == 0:
                    handles[number].send_dtmf("5")
            await asyncio.sleep(max(0.0, began_s + frame * 0.020 - loop.time()))
        await until(lambda: counting.media >= streams * FRAMES * 0.9, 30)
        for handle in handles:
            handle.close(EndCause.CALLER_HUNG_UP)
        ended = await asyncio.gather(*(handle.ended for handle in handles))
    assert {each.cause for each in ended} == {EndCause.CALLER_HUNG_UP}
    assert len(counting.numbers) == streams
    for numbers in counting.numbers.values():
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) > FRAMES / 2
