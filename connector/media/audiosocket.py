"""AudioSocket, the server's side: Asterisk dials us over TCP for each channel, and both send frames.

A frame is a kind, a length and that many bytes. The first one from Asterisk names the stream by a UUID of our choice,
then comes audio as linear little-endian samples, a kind for each rate. Asterisk hangs its channel up at anything from
us that is not audio of a kind it knows (seen on 22.10), so audio is all we send; and it passes on at once what it
gets, so our clock paces.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator
from typing import cast

import structlog

from connector.audio.formats import AudioFormat
from connector.media.carrier import MAX_WAITING_MS

UUID_S = 5.0
"""A connection that has not named its stream by then, or whose stream is not known by then, is closed."""
MAX_UNCLAIMED = 256
"""Connections without a stream; another one is closed at once."""

KIND_HANGUP, KIND_UUID, KIND_DTMF, KIND_ERROR = 0x00, 0x01, 0x03, 0xFF
AUDIO_KINDS = {8_000: 0x10, 16_000: 0x12, 24_000: 0x13, 48_000: 0x16}
"""By rate; of Asterisk 22.7 and newer, before that 0x10 alone."""
_FIRST_AUDIO, _LAST_AUDIO = 0x10, 0x18
_HEAD = struct.Struct("!BH")

log = structlog.get_logger()


class Frames:
    """Cuts what a connection brings into frames. Whatever comes is some frame: there is nothing to refuse."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames that are complete: kind and content. What waits is less than one, 64 KB at most."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEAD.size:
            kind, size = _HEAD.unpack_from(buffer, at)
            end = at + _HEAD.size + size
            if end > len(buffer):
                break
            yield kind, bytes(buffer[at + _HEAD.size : end])
            at = end
        del buffer[:at]


class AudioSocketConnection(asyncio.Protocol):
    """One connection of Asterisk; the carrier of a stream once that has claimed it.

    Args:
        named: Told when Asterisk has named the stream.
        lost: Told when the connection has gone.
    """

    def __init__(
        self,
        named: Callable[[AudioSocketConnection, bytes], None],
        lost: Callable[[AudioSocketConnection], None],
    ) -> None:
        self.uuid: bytes | None = None
        self._named = named
        self._lost = lost
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._heard: Callable[[bytes], None] | None = None
        self._gone: Callable[[], None] | None = None
        self._refused: Callable[[], None] | None = None
        self._head = b""
        self._kind = 0
        self._max_waiting_bytes = 0

    def claim(
        self, audio: AudioFormat, heard: Callable[[bytes], None], refused: Callable[[], None], gone: Callable[[], None]
    ) -> None:
        """The stream takes it over.

        Args:
            audio: Linear, both ways.
            heard: Takes each piece of audio.
            refused: Told of audio at another rate, which is not used.
            gone: Told when the connection has gone.
        """
        self._kind = AUDIO_KINDS[audio.rate_hz]
        self._head = _HEAD.pack(self._kind, audio.frame_bytes)
        self._max_waiting_bytes = audio.frame_bytes * MAX_WAITING_MS // audio.frame_ms
        self._heard, self._refused, self._gone = heard, refused, gone

    # -- carrier -----------------------------------------------------------------------------------------------

    ready = True

    def send(self, frame: bytes, *, silent: bool) -> bool:
        """One frame."""
        transport = self._transport
        if transport is None or transport.get_write_buffer_size() > self._max_waiting_bytes:
            return False
        transport.write(self._head + frame)
        return True

    def mark(self, name: str) -> bool:
        """Nothing waits in Asterisk: what was sent is played."""
        return False

    def clear(self) -> list[str]:
        """Nothing waits in Asterisk."""
        return []

    def close(self) -> None:
        """Ends the connection, and with it Asterisk's channel."""
        if self._transport is not None:
            self._transport.abort()

    # -- called by the event loop ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asterisk has dialled."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without being derived from it

    def data_received(self, data: bytes) -> None:
        """Some bytes."""
        for kind, content in self._frames.feed(data):
            if kind == self._kind and self._heard is not None:
                self._heard(content)
            elif kind == KIND_UUID and self.uuid is None and len(content) == 16:
                self.uuid = content
                self._named(self, content)
            elif self.uuid is None or kind in (KIND_HANGUP, KIND_ERROR):
                self.close()
                return
            elif _FIRST_AUDIO <= kind <= _LAST_AUDIO and self._refused is not None:
                self._refused()
            # A digit (KIND_DTMF) is told by ARI as well, for every transport; audio before the claim is nobody's.

    def connection_lost(self, error: Exception | None) -> None:
        """The connection has gone."""
        self._transport = None
        self._lost(self)
        if self._gone is not None:
            self._gone()
            self._gone = None


class AudioSocketServer:
    """Takes the connections of Asterisk and gives each to the stream that it names.

    Args:
        host: IP address to listen on.
        port: TCP port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._opening: asyncio.Task[None] | None = None
        self._unclaimed: dict[AudioSocketConnection, asyncio.TimerHandle] = {}
        self._claims: dict[bytes, Callable[[AudioSocketConnection], None]] = {}

    async def open(self) -> None:
        """Listens from now on, if it does not yet.

        Raises:
            OSError: The port is taken.
        """
        if self._server is None:
            # A second stream waits for the first one's attempt.
            if self._opening is None:
                self._opening = asyncio.ensure_future(self._listen())
            try:
                await asyncio.shield(self._opening)
            finally:
                if self._opening is not None and self._opening.done():
                    self._opening = None

    async def close(self) -> None:
        """Stops to listen and lets go of connections that are nobody's."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for connection, timer in list(self._unclaimed.items()):
            timer.cancel()
            connection.close()

    def claim(self, uuid: bytes, taken: Callable[[AudioSocketConnection], None]) -> None:
        """Calls `taken` with the connection that names this UUID, now or when it comes."""
        for connection in self._unclaimed:
            if connection.uuid == uuid:
                self._unclaimed.pop(connection).cancel()
                taken(connection)
                return
        self._claims[uuid] = taken

    def disclaim(self, uuid: bytes) -> None:
        """Nobody waits for this UUID any more."""
        self._claims.pop(uuid, None)

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(self._accept, self._host, self._port)

    def _accept(self) -> AudioSocketConnection:
        connection = AudioSocketConnection(self._named, self._lost)
        wait_s = UUID_S if len(self._unclaimed) < MAX_UNCLAIMED else 0.0
        self._unclaimed[connection] = self._loop.call_later(wait_s, self._drop, connection)
        return connection

    def _named(self, connection: AudioSocketConnection, uuid: bytes) -> None:
        taken = self._claims.pop(uuid, None)
        if taken is not None:
            self._unclaimed.pop(connection).cancel()
            taken(connection)

    def _drop(self, connection: AudioSocketConnection) -> None:
        if self._unclaimed.pop(connection, None) is not None:
            log.warning("audiosocket_not_claimed", named=connection.uuid is not None)
            connection.close()

    def _lost(self, connection: AudioSocketConnection) -> None:
        timer = self._unclaimed.pop(connection, None)
        if timer is not None:
            timer.cancel()
