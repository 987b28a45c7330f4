"""A TCP relay that can be cut: what a network between the connector and Asterisk does to them."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from connector.lab.useragent import HOST


class TcpRelay:
    """Passes each connection to its port on to another port of 127.0.0.1.

    Attributes:
        port: Where it listens.
        connections: How many it has passed on since its start.
    """

    def __init__(self, target_port: int) -> None:
        """Describes it; `async with` opens it."""
        self.port = 0
        self.connections = 0
        self._target_port = target_port
        self._open = True
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._tasks)
        self.cut()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self, *, again: bool = True) -> None:
        """Breaks all connections by a reset.

        Args:
            again: Whether new ones are taken; if not, they are reset until `mend`.
        """
        self._open = again
        for writer in list(self._writers):
            writer.transport.abort()

    def mend(self) -> None:
        """Takes connections again."""
        self._open = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self._open:
                self.connections += 1
                await self._relay(reader, writer)
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream = await asyncio.open_connection(HOST, self._target_port)
        except OSError:
            return
        self._writers.add(upstream)
        pumps = [asyncio.create_task(_pump(reader, upstream)), asyncio.create_task(_pump(upstream_reader, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            upstream.transport.abort()
            self._writers.discard(upstream)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
