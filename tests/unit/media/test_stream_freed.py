"""A stream that has ended is gone at once, without the collector of garbage, which seldom looks at what lived long."""

import asyncio
import gc
import ssl
import weakref
from collections.abc import Iterator

import pytest
from websockets.asyncio.server import ServerConnection, serve

from connector.media.control import EndCause, OpenStream, StreamOpened
from connector.media.counters import Counters
from connector.media.fastpath import FastPath
from connector.media.stream import Stream


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def stream(url: str, fast: FastPath | None) -> Stream:
    request = OpenStream(
        stream_id="s",
        pbx="main",
        call_id="c",
        url=url,
        dialect="twilio",
        dialect_options={},
        parameters={},
        headers={},
        connect_timeout_ms=2_000,
        playout_max_ms=1_000,
        prebuffer_ms=0,
        max_message_bytes=65_536,
    )
    return Stream(
        request,
        totals=Counters(),
        ping_interval_s=5,
        ping_timeout_s=5,
        tls=ssl.create_default_context(),
        fast=fast,
        tell=lambda command: None,
    )


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "python"])
async def test_after_a_conversation(fast: bool) -> None:
    async def listen(socket: ServerConnection) -> None:
        await socket.wait_closed()

    path = FastPath() if fast else None
    async with serve(listen, "127.0.0.1", 0) as server:
        one = stream(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/", path)
        seen = weakref.ref(one)
        opened: list[StreamOpened] = []
        running = asyncio.create_task(one.run(opened.append))
        while not opened:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        one.attach(0.0)
        one.close(EndCause.CALLER_HUNG_UP)
        if path is not None:  # the audio loop does it
            while not running.done():
                path.receive()
                await asyncio.sleep(0.01)
        await running
        del one, running
        for _ in range(200):  # the connection has callbacks to come
            if seen() is None:
                break
            await asyncio.sleep(0.01)
        assert seen() is None
    if path is not None:
        path.close()
