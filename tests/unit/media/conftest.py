"""A real worker process, real UDP sockets and real WebSocket servers on loopback."""

import asyncio
import base64
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from connector.media import fastpath_build
from connector.media.control import Address, OpenStream
from connector.media.engine import MediaEngine, StreamFailed, StreamHandle
from connector.media.fastpath import FastPathMissing, load
from connector.media.rtp import RtpPacket, build, parse, uint16, uint32

SILENCE = b"\xff" * 160


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Waits until something is true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.005)


class Caller(asyncio.DatagramProtocol):
    """What an ExternalMedia channel of Asterisk is: a UDP socket that sends and receives RTP."""

    def __init__(self) -> None:
        self.packets: list[RtpPacket] = []
        self.arrived_s: list[float] = []
        self.sequence, self.timestamp = 65_500, 0xFFFFF000
        self.transport: asyncio.DatagramTransport
        self.worker = ("", 0)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        packet = parse(data)
        assert isinstance(packet, RtpPacket)
        self.packets.append(packet)
        self.arrived_s.append(time.monotonic())

    @property
    def address(self) -> Address:
        return Address(*self.transport.get_extra_info("sockname")[:2])

    @property
    def heard(self) -> list[bytes]:
        """Frames that are not silence."""
        return [packet.payload for packet in self.packets if packet.payload != SILENCE]

    def send(self, payload: bytes) -> None:
        packet = RtpPacket(0, self.sequence, self.timestamp, 77, payload)
        self.sequence, self.timestamp = uint16(self.sequence + 1), uint32(self.timestamp + len(payload))
        self.raw(build(packet))

    def raw(self, datagram: bytes) -> None:
        self.transport.sendto(datagram, self.worker)

    async def speak(self, frames: list[bytes]) -> None:
        """Sends a frame each 20 ms."""
        started_s = time.monotonic()
        for index, frame in enumerate(frames):
            await asyncio.sleep(max(0.0, started_s + index * 0.020 - time.monotonic()))
            self.send(frame)


class RecordingBot:
    """A WebSocket server that keeps what it gets, and sends what the test says."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.sockets: list[ServerConnection] = []
        self.headers: dict[str, str] = {}
        self.closed_with: int | None = None
        self.server: Server

    async def handle(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        if socket.request is not None:
            self.headers = dict(socket.request.headers.raw_items())
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                self.messages.append(json.loads(message))
        self.closed_with = socket.close_code

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{next(iter(self.server.sockets)).getsockname()[1]}/"

    def all(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["event"] == event]

    @property
    def audio(self) -> list[bytes]:
        return [base64.b64decode(message["media"]["payload"]) for message in self.all("media")]

    async def say(self, event: str, **more: object) -> None:
        await self.sockets[-1].send(json.dumps({"event": event, **more}))

    async def play(self, audio: bytes) -> None:
        await self.say("media", media={"payload": base64.b64encode(audio).decode()})


Open = Callable[..., Awaitable[tuple[StreamHandle, Caller]]]


@pytest.fixture(scope="session", autouse=True)
def fast_path_is_built() -> None:
    """Where these tests run there is a compiler: scripts/setup sees to that."""
    try:
        load()
    except FastPathMissing:
        assert not fastpath_build.build()


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MediaEngine]:
    monkeypatch.setattr("connector.media.engine.REOPEN_WITHIN_S", 20.0)  # a busy machine may take 5 s for a new worker
    engine = MediaEngine(bind_host="127.0.0.1", bind_port=0, ping_interval_s=0.5, ping_timeout_s=1.0)
    running = asyncio.create_task(engine.run())
    await asyncio.wait_for(engine.ready.wait(), 20)
    pid = engine.workers[0].pid
    yield engine
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
async def recording_bot() -> AsyncIterator[RecordingBot]:
    bot = RecordingBot()
    async with serve(bot.handle, "127.0.0.1", 0, compression=None) as bot.server:
        yield bot


def request(url: str, **changes: Any) -> OpenStream:
    settings: dict[str, Any] = {
        "stream_id": os.urandom(6).hex(),
        "pbx": "main",
        "call_id": "call",
        "url": url,
        "dialect": "twilio",
        "parameters": {"lang": "de"},
        "headers": {"Authorization": "Bearer sesame"},
        "connect_timeout_ms": 3_000,
        "playout_max_ms": 10_000,
        "prebuffer_ms": 0,
        "max_message_bytes": 65_536,
    }
    return OpenStream(**{**settings, **changes})


@pytest.fixture
async def open_stream(engine: MediaEngine) -> AsyncIterator[Open]:
    """Opens a stream and attaches a caller to it."""
    callers: list[Caller] = []

    async def open_it(url: str, **changes: Any) -> tuple[StreamHandle, Caller]:
        handle = await engine.open(request(url, **changes))
        _, caller = await asyncio.get_running_loop().create_datagram_endpoint(Caller, local_addr=("127.0.0.1", 0))
        callers.append(caller)
        caller.worker = (handle.rtp.host, handle.rtp.port)
        handle.attach(caller.address)
        await until(lambda: caller.packets)  # the attachment has been taken
        return handle, caller

    yield open_it
    for caller in callers:
        caller.transport.close()


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Awaitable[None]]:
    return until


@pytest.fixture
def request_for() -> Callable[..., OpenStream]:
    return request


@pytest.fixture
def stream_failed() -> Callable[..., Awaitable[StreamFailed]]:
    """Opens a stream that must not open; gives the failure."""

    async def fail(engine: MediaEngine, asked: OpenStream) -> StreamFailed:
        with pytest.raises(StreamFailed) as caught:
            await engine.open(asked)
        return caught.value

    return fail
