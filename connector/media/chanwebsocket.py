"""The connection to a channel of chan_websocket: we dial Asterisk's HTTP server.

The other way round, Asterisk dialling us, is not offered: a process of ours that stood still would hold up all calls
of the PBX (seen on 22.10).

Asterisk plays from a queue by a clock of its own, and a frame that is not there in time is replaced by silence for
good: so a little is kept in the queue against jitter. What is more than that stays more, and is heard as delay: so
while the bot says nothing the queue is brought back, by a frame of silence more or one less.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Callable

import msgspec
import structlog

from connector.audio.formats import AudioFormat
from connector.audio.transcode import silence
from connector.dialects.base import WireMessage
from connector.media.botsocket import BotSocket
from connector.media.dial import dial
from connector.media.timeline import SILENT_G722

TARGET_FRAMES = 2
"""That wait in Asterisk: 40 ms against the jitter of both clocks."""
MAX_FRAMES = 4
"""What waits beyond is taken back as soon as the bot says nothing."""
ASK_EVERY_FRAMES = 50
MAX_MESSAGE_BYTES = 65_500
"""More, Asterisk refuses to send or to take."""
DIAL_S = 2.0
MAX_MARKS = 1_000
_QUEUE_LENGTH = re.compile(r"\bqueue_length:(\d+)")

log = structlog.get_logger()


class _Event(msgspec.Struct):
    event: str = ""
    correlation_id: str = ""
    queue_length: int | None = None


class AsteriskSocket:
    """The carrier of one stream over chan_websocket.

    Args:
        audio: The channel's format, both ways.
        heard: Takes each piece of audio.
        played: Told of each mark that Asterisk has come to.

    Attributes:
        ready: Asterisk takes audio: it has not said MEDIA_XOFF.
    """

    def __init__(self, audio: AudioFormat, heard: Callable[[bytes], None], played: Callable[[str], None]) -> None:
        self.ready = True
        self._silence = silence(audio) or SILENT_G722 * audio.frame_bytes
        self._heard = heard
        self._played = played
        self._socket = BotSocket(self, MAX_MESSAGE_BYTES)
        self._connected = False
        self._json = False
        self._marks: deque[tuple[str, str]] = deque()
        self._marked = 0
        self._sent = 0
        self._primed = False
        self._waiting: int | None = None  # frames in Asterisk's queue, as last told

    async def open(self, url: str, tls: ssl.SSLContext) -> None:
        """Dials.

        Args:
            url: ws:// or wss://, with the id of the connection, which is the only secret there is.
            tls: For wss://.

        Raises:
            DialFailed: Asterisk was not reached, or has no such channel.
        """
        await dial(url, self._socket, headers={}, tls=tls, timeout_s=DIAL_S, max_message_bytes=MAX_MESSAGE_BYTES)
        self._socket.full = False
        self._connected = True

    async def ended(self) -> str:
        """Waits for the end of the connection; says how it came."""
        return (await asyncio.shield(self._socket.ended))[1]

    # -- carrier -----------------------------------------------------------------------------------------------

    def send(self, frame: bytes, *, silent: bool) -> bool:
        """One frame, and what keeps the queue as long as it should be."""
        if self._socket.full:
            return False
        if not self._primed:
            self._primed = True
            for _ in range(TARGET_FRAMES):
                self._socket.send(self._silence)
        elif silent and self._waiting is not None:
            if self._waiting > MAX_FRAMES:
                self._waiting -= 1
                return True
            if self._waiting < TARGET_FRAMES:
                self._waiting += 1
                self._socket.send(frame)
        self._socket.send(frame)
        self._sent += 1
        if self._sent % ASK_EVERY_FRAMES == 0:
            self._command("GET_STATUS")
        return True

    def mark(self, name: str) -> bool:
        """Put into the queue, behind what was sent."""
        if self._socket.full or len(self._marks) >= MAX_MARKS:
            return False
        self._marked += 1
        number = f"m{self._marked}"
        self._marks.append((number, name))
        self._command("MARK_MEDIA", number)
        return True

    def clear(self) -> list[str]:
        """Empties the queue. Asterisk forgets the marks in it, so they are returned from here."""
        names = [name for _, name in self._marks]
        self._marks.clear()
        self._waiting, self._primed = None, False
        if not self._socket.full:
            self._command("FLUSH_MEDIA")
        return names

    def close(self) -> None:
        """Ends the connection, and with it Asterisk's channel."""
        if self._connected:
            self._connected = False
            self._socket.abort()

    # -- from Asterisk -----------------------------------------------------------------------------------------

    def on_audio(self, audio: bytes) -> None:
        """Audio."""
        self._heard(audio)

    def on_full(self) -> None:
        """Asterisk does not read: frames are dropped until it does."""

    def on_writable(self) -> None:
        """It reads again."""

    def on_message(self, message: WireMessage) -> None:
        """Audio, or an event."""
        if isinstance(message, bytes):
            self._heard(message)
            return
        event = _read(message)
        match event.event:
            case "MEDIA_START":
                # Asterisk takes commands in the form in which it tells events, and chan_websocket.conf chooses it.
                self._json = message.startswith("{")
            case "MEDIA_MARK_PROCESSED":
                self._reach(event.correlation_id)
            case "MEDIA_XOFF":
                self.ready = False
            case "MEDIA_XON":
                self.ready = True
            case "STATUS":
                self._waiting = event.queue_length
            case "ERROR":
                log.warning("asterisk_media_error", error=message[:200])
            case _:
                pass  # a digit is told by ARI as well, for every transport

    def _reach(self, number: str) -> None:
        if all(number != each for each, _ in self._marks):
            return  # one that was cleared meanwhile
        while self._marks:
            each, name = self._marks.popleft()
            self._played(name)
            if each == number:
                return

    def _command(self, command: str, number: str = "") -> None:
        if self._json:
            message = {"command": command} | ({"correlation_id": number} if number else {})
            self._socket.send(msgspec.json.encode(message).decode())
        else:
            self._socket.send(f"{command} {number}".rstrip())


def _read(message: str) -> _Event:
    """An event, in either form; one without a name where it is neither."""
    if message.startswith("{"):
        try:
            return msgspec.json.decode(message, type=_Event)
        except (msgspec.DecodeError, UnicodeError):
            return _Event()
    event, _, rest = message.partition(" ")
    length = _QUEUE_LENGTH.search(rest)
    return _Event(event, rest.strip(), int(length[1]) if length else None)
