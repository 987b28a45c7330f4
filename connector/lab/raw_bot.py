"""A bot that speaks the connector's own protocol, as far as tests want it: it says what it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request

from connector.lab.useragent import HOST


class RawStream:
    """One conversation.

    Attributes:
        said: Text messages of the connector, in order.
        audio: Bytes of audio that came.
        heard: The last messages with audio.
        headers: Of the connector's handshake, names in small letters.
    """

    def __init__(self, connection: ServerConnection) -> None:
        self.said: list[dict[str, Any]] = []
        self.audio = 0
        self.heard: deque[bytes] = deque(maxlen=500)
        asked = connection.request
        self.headers = {} if asked is None else {name.lower(): value for name, value in asked.headers.raw_items()}
        self.closed = asyncio.Event()
        self._connection = connection
        self._more = asyncio.Event()

    async def say(self, kind: str, **fields: Any) -> None:
        """Sends a message of the protocol."""
        await self._connection.send(json.dumps({"type": kind, **fields}))

    async def close(self, code: int = 1000) -> None:
        """Ends the conversation."""
        await self._connection.close(code)

    def drop(self) -> None:
        """Breaks the connection without a word."""
        self._connection.transport.abort()

    async def wait_for(self, kind: str, *, count: int = 1, timeout_s: float = 10.0) -> dict[str, Any]:
        """Waits for the `count`-th message of a kind.

        Raises:
            TimeoutError: It did not come; the text says what did.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while len(found := [each for each in self.said if each["type"] == kind]) < count:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise TimeoutError(
                f"no {kind} within {timeout_s:g} s, but {[each['type'] for each in self.said]}"
            ) from None
        return found[count - 1]

    async def wait_for_audio(self, more_bytes: int, *, timeout_s: float = 10.0) -> None:
        """Waits until so much more audio has come."""
        wanted = self.audio + more_bytes
        async with asyncio.timeout(timeout_s):
            while self.audio < wanted:
                self._more.clear()
                await self._more.wait()

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in self._connection:
                if isinstance(message, str):
                    self.said.append(json.loads(message))
                else:
                    self.audio += len(message)
                    self.heard.append(message)
                self._more.set()
        self.closed.set()
        self._more.set()


class RawBot:
    """A WebSocket server on loopback, by `async with`.

    Attributes:
        streams: Those that it had, oldest first.
        takes: While it is not set a call waits for the answer to its upgrade.
    """

    def __init__(self) -> None:
        self.streams: list[RawStream] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self._server: Server | None = None
        self._new = asyncio.Event()
        self.url = ""

    async def next_stream(self, *, after: int, timeout_s: float = 10.0) -> RawStream:
        """Waits for a stream.

        Args:
            after: How many to pass over, from the first it ever had.
            timeout_s: How long.

        Raises:
            TimeoutError: None came.
        """
        async with asyncio.timeout(timeout_s):
            while len(self.streams) <= after:
                self._new.clear()
                await self._new.wait()
        return self.streams[after]

    async def __aenter__(self) -> Self:
        self._server = await serve(self._converse, HOST, 0, compression=None, process_request=self._wait)
        self.url = f"ws://{HOST}:{next(iter(self._server.sockets)).getsockname()[1]}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _wait(self, connection: ServerConnection, request: Request) -> None:
        await self.takes.wait()

    async def _converse(self, connection: ServerConnection) -> None:
        stream = RawStream(connection)
        self.streams.append(stream)
        self._new.set()
        await stream._read()
