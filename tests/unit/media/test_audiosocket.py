"""AudioSocket against real TCP connections that say what Asterisk 22.10 says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from connector.audio.formats import AudioFormat, Encoding
from connector.media import audiosocket
from connector.media.audiosocket import AudioSocketConnection, AudioSocketServer, Frames

UUID = bytes.fromhex("0f8c2a5e6b7d4e1f9a3b5c7d9e1f2a4b")
NAMED = b"\x01\x00\x10" + UUID  # the first bytes of a connection, as captured
WIDE = AudioFormat(Encoding.L16, 16_000)
FRAME = bytes(range(256)) * 2 + bytes(128)


class Stream:
    """What a claim hands over, written down."""

    def __init__(self, server: AudioSocketServer, uuid: bytes = UUID) -> None:
        self.heard: list[bytes] = []
        self.refused = 0
        self.gone = asyncio.Event()
        self.connection: AudioSocketConnection | None = None
        server.claim(uuid, self._taken)

    def _taken(self, connection: AudioSocketConnection) -> None:
        self.connection = connection
        connection.claim(WIDE, self.heard.append, self._refuse, self.gone.set)

    def _refuse(self) -> None:
        self.refused += 1


@pytest.fixture
async def server(unused_tcp_port: int) -> AsyncIterator[AudioSocketServer]:
    listening = AudioSocketServer("127.0.0.1", unused_tcp_port)
    await listening.open()
    await listening.open()  # of the next stream
    yield listening
    await listening.close()


@pytest.fixture
async def dial(server: AudioSocketServer, unused_tcp_port: int) -> AsyncIterator[Callable[[], Any]]:
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
        writers.append(writer)
        return reader, writer

    yield connect
    for writer in writers:
        writer.close()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), 5) == b""
    except ConnectionResetError:
        return True


def test_frames_come_out_whole_however_the_bytes_come() -> None:
    wire = NAMED + b"\x12\x02\x80" + FRAME + b"\x03\x00\x015" + b"\x00\x00\x00"
    expected = [(1, UUID), (0x12, FRAME), (3, b"5"), (0, b"")]
    for size in (1, 2, 7, 100, len(wire)):
        frames = Frames()
        got = [frame for at in range(0, len(wire), size) for frame in frames.feed(wire[at : at + size])]
        assert got == expected


@pytest.mark.parametrize("claimed_first", [True, False])
async def test_a_stream_gets_its_connection(
    server: AudioSocketServer, dial: Any, until: Any, claimed_first: bool
) -> None:
    stream = Stream(server) if claimed_first else None
    reader, writer = await dial()
    writer.write(NAMED)
    if stream is None:
        await until(lambda: [each.uuid for each in server._unclaimed] == [UUID])
        stream = Stream(server)
    await until(lambda: stream.connection)
    writer.write(b"\x12\x02\x80" + FRAME)
    await until(lambda: stream.heard == [FRAME])
    assert stream.connection is not None
    assert stream.connection.send(FRAME, silent=False)
    assert await reader.readexactly(643) == b"\x12\x02\x80" + FRAME
    assert not server._unclaimed
    writer.close()
    await asyncio.wait_for(stream.gone.wait(), 5)
    assert not stream.connection.send(FRAME, silent=False)


async def test_digits_and_audio_of_another_rate_are_not_audio(server: AudioSocketServer, dial: Any, until: Any) -> None:
    stream = Stream(server)
    _, writer = await dial()
    writer.write(NAMED + b"\x03\x00\x015" + b"\x10\x01\x40" + bytes(320) + b"\x12\x02\x80" + FRAME)
    await until(lambda: stream.heard)
    assert stream.heard == [FRAME]
    assert stream.refused == 1


@pytest.mark.parametrize("end", [b"\x00\x00\x00", b"\xff\x00\x01\x01"], ids=["hangup", "error"])
async def test_hangup_and_error_end_it(server: AudioSocketServer, dial: Any, end: bytes) -> None:
    stream = Stream(server)
    reader, writer = await dial()
    writer.write(NAMED + end)
    assert await is_closed(reader)
    await asyncio.wait_for(stream.gone.wait(), 5)


@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1\r\n\r\n" + bytes(20_000), b"\x12\x00\x01x", b"\x01\x00\x03abc"])
async def test_who_does_not_begin_with_a_uuid_is_cut_off(server: AudioSocketServer, dial: Any, rubbish: bytes) -> None:
    reader, writer = await dial()
    writer.write(rubbish)
    assert await is_closed(reader)


@pytest.mark.parametrize("first", [b"", NAMED], ids=["silent", "unknown"])
async def test_who_is_nobodys_is_cut_off_in_time(
    server: AudioSocketServer, dial: Any, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(audiosocket, "UUID_S", 0.05)
    reader, writer = await dial()
    writer.write(first)
    assert await is_closed(reader)
    assert not server._unclaimed


async def test_connections_without_a_stream_are_bounded(
    server: AudioSocketServer, dial: Any, monkeypatch: pytest.MonkeyPatch, until: Any
) -> None:
    monkeypatch.setattr(audiosocket, "MAX_UNCLAIMED", 3)
    for _ in range(3):
        await dial()
    await until(lambda: len(server._unclaimed) == 3)
    reader, _ = await dial()
    assert await is_closed(reader)
    assert len(server._unclaimed) == 3


async def test_a_stream_that_is_over_claims_nothing(server: AudioSocketServer, dial: Any, until: Any) -> None:
    stream = Stream(server)
    server.disclaim(UUID)
    _, writer = await dial()
    writer.write(NAMED)
    await until(lambda: [each.uuid for each in server._unclaimed] == [UUID])
    assert stream.connection is None


async def test_an_asterisk_that_does_not_read_fills_no_memory(server: AudioSocketServer, dial: Any, until: Any) -> None:
    stream = Stream(server)
    reader, writer = await dial()
    reader._transport.pause_reading()
    writer.write(NAMED)
    await until(lambda: stream.connection)
    connection = stream.connection
    assert connection is not None
    sent = 0
    while connection.send(FRAME, silent=False):
        sent += 1
        assert sent < 100_000
    transport = connection._transport
    assert transport is not None
    assert transport.get_write_buffer_size() <= 26 * 643  # half a second, and the last one


async def test_a_taken_port_is_said(server: AudioSocketServer, unused_tcp_port: int) -> None:
    other = AudioSocketServer("127.0.0.1", unused_tcp_port)
    with pytest.raises(OSError, match="in use"):
        await other.open()
    await other.close()
