"""Brings streams and their connections to Asterisk together, where that is not RTP: AudioSocket and chan_websocket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import structlog

from connector.audio.wire import Transport
from connector.media.audioloop import AudioLoop
from connector.media.audiosocket import AudioSocketConnection, AudioSocketServer
from connector.media.chanwebsocket import AsteriskSocket
from connector.media.control import AudioSocketPeer, EndCause, WebSocketPeer
from connector.media.dial import DialFailed
from connector.media.stream import Stream

log = structlog.get_logger()


class Carriers:
    """The connections of a worker.

    Args:
        audio: Exchanges their audio.
        host: IP address to listen on for AudioSocket.
        port: TCP port; that of the worker's RTP, which is UDP.
        tls: For Asterisk at wss:// whose certificate the system's CAs vouch for.
        refused: Told of audio that is not what the stream has asked for.
    """

    def __init__(
        self, audio: AudioLoop, host: str, port: int, tls: ssl.SSLContext, refused: Callable[[Stream], None]
    ) -> None:
        self._audio = audio
        self._port = port
        self._tls = tls
        self._refused = refused
        self._server = AudioSocketServer(host, port)
        self._dials: dict[str, asyncio.Task[None]] = {}
        self._claims: dict[str, bytes] = {}
        self._trusted: dict[str, ssl.SSLContext] = {}

    async def prepare(self, stream: Stream) -> None:
        """What has to be there before Asterisk makes the channel.

        Raises:
            OSError: The TCP port is taken.
        """
        if stream.wire.transport is Transport.AUDIOSOCKET:
            await self._server.open()

    def attach(self, stream: Stream, remote: AudioSocketPeer | WebSocketPeer) -> None:
        """Connects the stream; audio begins when the connection is there."""
        if isinstance(remote, WebSocketPeer):
            self._dials[stream.stream_id] = asyncio.create_task(self._dial(stream, remote))
            return
        uuid = bytes.fromhex(remote.uuid)
        self._claims[stream.stream_id] = uuid
        self._server.claim(uuid, lambda connection: self._claimed(stream, connection))

    async def release(self, stream: Stream) -> None:
        """The stream is over."""
        uuid = self._claims.pop(stream.stream_id, None)
        if uuid is not None:
            self._server.disclaim(uuid)
        dial = self._dials.pop(stream.stream_id, None)
        if dial is not None:
            dial.cancel()
            await asyncio.gather(dial, return_exceptions=True)

    async def close(self) -> None:
        """Stops to listen."""
        await self._server.close()

    def _claimed(self, stream: Stream, connection: AudioSocketConnection) -> None:
        connection.claim(
            stream.wire.heard,
            heard=lambda payload: self._audio.take_carried(stream, payload),
            refused=lambda: self._refused(stream),
            gone=lambda: self._gone(stream, "Asterisk closed the AudioSocket connection"),
        )
        self._audio.attach_carrier(stream, connection)

    async def _dial(self, stream: Stream, remote: WebSocketPeer) -> None:
        carrier = AsteriskSocket(
            stream.wire.heard, lambda payload: self._audio.take_carried(stream, payload), stream.played
        )
        try:
            await carrier.open(remote.url, self._trusting(remote.tls_ca_file))
        except (DialFailed, OSError) as failure:
            detail = failure.detail if isinstance(failure, DialFailed) else f"{remote.tls_ca_file}: {failure}"
            log.error("asterisk_media_not_reached", stream_id=stream.stream_id, detail=detail)
            stream.close(EndCause.ASTERISK_ERROR)
            return
        try:
            self._audio.attach_carrier(stream, carrier)
            how = await carrier.ended()
        finally:
            carrier.close()
        self._gone(stream, how)

    def _trusting(self, ca_file: str) -> ssl.SSLContext:
        """Reading a CA takes a millisecond, so each is read once; there are as many as PBXs."""
        if not ca_file:
            return self._tls
        if ca_file not in self._trusted:
            self._trusted[ca_file] = ssl.create_default_context(cafile=ca_file)
        return self._trusted[ca_file]

    def _gone(self, stream: Stream, how: str) -> None:
        """Asterisk has let go of the channel, of which ARI tells more; until then the bot hears nothing."""
        if stream.row is not None:
            log.info("asterisk_media_gone", stream_id=stream.stream_id, detail=how)
            self._audio.detach(stream)
