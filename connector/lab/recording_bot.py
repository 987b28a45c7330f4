"""A voicebot inside the test's own process: keeps all that it is told, and says what the test wants."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from connector.audio import g711
from connector.audio.tone import Dominant, dominant_tone, sine
from connector.lab.rtp import RATE_HZ
from connector.lab.useragent import HOST

MAX_MESSAGES = 60_000
"""20 minutes of one stream; later ones are counted only."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message of the connector.

    Attributes:
        at: Unix time of its arrival.
        message: As it came.
    """

    at: float
    message: dict[str, Any]


class BotStream:
    """One stream as the bot sees it, in the words of Twilio Media Streams.

    Attributes:
        said: What came, oldest first, at most MAX_MESSAGES.
        counts: How many of each event.
        unrecorded: What came beyond.
        closed: Set when the WebSocket is closed, by whichever side.
        close_code: Of the close (RFC 6455 section 7.4), once `closed`.
    """

    def __init__(self, connection: ServerConnection) -> None:
        self.said: list[Said] = []
        self.counts: Counter[str] = Counter()
        self.unrecorded = 0
        self.closed = asyncio.Event()
        self.close_code: int | None = None
        self._connection = connection
        self._audio = bytearray()
        self._more = asyncio.Event()

    # -- what it was told -----------------------------------------------------------------------------------------

    def all(self, event: str) -> list[Said]:
        """The messages of one event."""
        return [each for each in self.said if each.message["event"] == event]

    async def wait_for(self, event: str, *, count: int = 1, timeout_s: float = 10.0) -> Said:
        """Waits for so many messages of an event; returns the last of them.

        Raises:
            TimeoutError: They did not come.
        """
        await self.wait_until(lambda stream: stream.counts[event] >= count, timeout_s=timeout_s)
        return self.all(event)[count - 1]

    async def wait_until(self, condition: Callable[[BotStream], bool], *, timeout_s: float = 10.0) -> None:
        """Waits until the condition holds, looking after each message.

        Raises:
            TimeoutError: It did not come true.
        """
        async with asyncio.timeout(timeout_s):
            while not condition(self):
                self._more.clear()
                await self._more.wait()

    @property
    def start(self) -> dict[str, Any]:
        """The object of the `start` message."""
        found: dict[str, Any] = self.all("start")[0].message["start"]
        return found

    def audio(self, last_ms: int | None = None) -> NDArray[np.int16]:
        """What the caller said, 8 kHz, shape (n,); only the last so many milliseconds if given."""
        return g711.ulaw_decode(bytes(self._audio if last_ms is None else self._audio[-last_ms * RATE_HZ // 1000 :]))

    async def until_heard(
        self, hz: float, *, window_ms: int = 200, share: float = 0.9, timeout_s: float = 10.0
    ) -> Dominant:
        """Waits until the bot hears a tone and nothing else; as `connector.lab.proof.until_heard` for the caller.

        Raises:
            TimeoutError: Something else was heard, or nothing; the text says what.
        """
        heard = Dominant(0.0, -np.inf, 0.0)

        def hears(stream: BotStream) -> bool:
            nonlocal heard
            heard = dominant_tone(stream.audio(last_ms=window_ms), RATE_HZ)
            return abs(heard.hz - hz) <= 10 and heard.share > share

        try:
            await self.wait_until(hears, timeout_s=timeout_s)
        except TimeoutError:
            raise TimeoutError(f"{hz:g} Hz was not heard within {timeout_s:g} s; the last was {heard}") from None
        return heard

    # -- what it says ---------------------------------------------------------------------------------------------

    async def say(self, event: str, **fields: Any) -> None:
        """Sends a message."""
        await self._connection.send(json.dumps({"event": event, "streamSid": self.start["streamSid"], **fields}))

    async def play_bytes(self, payload: bytes) -> None:
        """Sends audio as it is."""
        await self.say("media", media={"payload": base64.b64encode(payload).decode()})

    async def play(self, hz: float, seconds: float, *, dbfs: float = -10.0) -> None:
        """Sends a tone at once, much faster than it is to be played."""
        samples = sine(hz, round(seconds * RATE_HZ), rate_hz=RATE_HZ, dbfs=dbfs)
        await self.play_bytes(g711.ulaw_encode(samples).tobytes())

    async def mark(self, name: str) -> None:
        """Asks to be told when all that was sent has been played."""
        await self.say("mark", mark={"name": name})

    async def clear(self) -> None:
        """Drops what is not played yet."""
        await self.say("clear")

    async def close(self, code: int = 1000) -> None:
        """Ends the stream."""
        await self._connection.close(code)

    def cut(self) -> None:
        """Breaks the connection without a word, as a bot that crashes."""
        self._connection.transport.abort()

    def freeze(self) -> None:
        """Reads nothing more and answers no ping, as a process that is stopped; the connection stays up."""
        self._connection.transport.pause_reading()

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self._connection:
                self._take(json.loads(text))
                self._more.set()
        self.close_code = self._connection.close_code
        self.closed.set()
        self._more.set()

    def _take(self, message: dict[str, Any]) -> None:
        if len(self.said) >= MAX_MESSAGES:
            self.unrecorded += 1
            return
        self.said.append(Said(time.time(), message))
        self.counts[message["event"]] += 1
        if message["event"] == "media":
            self._audio += base64.b64decode(message["media"]["payload"])


class RecordingBot:
    """A WebSocket server on loopback. `start` and `stop`, or `async with`.

    Args:
        port: TCP port, 0 for any.
        reads: Whether it reads at all. If not, its receive buffer is as small as the kernel allows.

    Attributes:
        streams: Those that it had, oldest first.
        refusals: HTTP statuses with which it answers the next upgrades, in turn.
        upgrades: Headers of the upgrades that were asked for, names in lower case.
    """

    def __init__(self, *, port: int = 0, reads: bool = True) -> None:
        self.streams: list[BotStream] = []
        self.refusals: list[int] = []
        self.upgrades: list[dict[str, str]] = []
        self._port = port
        self._reads = reads
        self._server: Server | None = None
        self._new = asyncio.Event()

    @property
    def url(self) -> str:
        """Its address."""
        return f"ws://{HOST}:{self._port}/"

    async def start(self) -> None:
        """Opens its port."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not self._reads:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.bind((HOST, self._port))
        self._port = sock.getsockname()[1]
        # Who does not read does not see the other side's close either, and would wait for it at the end.
        self._server = await serve(
            self._converse,
            sock=sock,
            process_request=self._answer,
            compression=None,
            max_queue=16 if self._reads else 1,
            close_timeout=5.0 if self._reads else 0.1,
        )

    async def stop(self) -> None:
        """Closes its streams and its port."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()

    async def next_stream(self, *, after: int, timeout_s: float = 10.0) -> BotStream:
        """Waits for a stream that has begun, which is when the connector has sent `start`.

        Args:
            after: How many streams to pass over, from the first it ever had.
            timeout_s: How long.

        Raises:
            TimeoutError: None came.
        """
        async with asyncio.timeout(timeout_s):
            while len(self.streams) <= after:
                self._new.clear()
                await self._new.wait()
            stream = self.streams[after]
            if self._reads:
                await stream.wait_for("start")
        return stream

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        self.upgrades.append({name.lower(): value for name, value in request.headers.raw_items()})
        return connection.respond(HTTPStatus(self.refusals.pop(0)), "no\n") if self.refusals else None

    async def _converse(self, connection: ServerConnection) -> None:
        stream = BotStream(connection)
        self.streams.append(stream)
        self._new.set()
        if self._reads:
            await stream._read()
        else:
            await connection.wait_closed()
