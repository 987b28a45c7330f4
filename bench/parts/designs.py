"""The relays that are compared: each starts anew for a run, takes N calls, and is gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.parts.load import Load
from bench.parts.proc import rss_kb
from connector.media.control import Address, OpenStream
from connector.media.engine import MediaEngine, StreamHandle

HOST = "127.0.0.1"
DIALLING_AT_ONCE = 16


@dataclass
class Relay:
    """A relay with its calls open.

    Attributes:
        pids: Its processes.
        ports: Where it takes RTP: of all calls, or of each.
        idle_kb: Its memory before the first call; None when that cannot be told.
    """

    pids: list[int]
    ports: list[int]
    idle_kb: int | None = None


@contextlib.asynccontextmanager
async def program(load: Load, calls: int, *command: str | Path) -> AsyncIterator[Relay]:
    """A relay that takes the callers' ports on standard input and prints its own port."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write((" ".join(map(str, load.udp[:calls])) + "\n").encode())
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        if not line:
            raise SystemExit(f"failed: {command[0]} did not start; see its message above")
        yield Relay([process.pid], [json.loads(line)["port"]])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def c_relay(load: Load, calls: int, relay: Path, dialect: str) -> contextlib.AbstractAsyncContextManager[Relay]:
    """The reference."""
    return program(load, calls, relay, str(load.ws_port), dialect)


def naive(load: Load, calls: int) -> contextlib.AbstractAsyncContextManager[Relay]:
    """What users have today. Twilio's dialect only."""
    return program(load, calls, sys.executable, "-m", "bench.parts.naive", str(load.ws_port))


def dialect_of(name: str) -> tuple[str, dict[str, Any]]:
    """Name and options of the dialect that a load speaks: `raw16` is `raw` at 16 kHz."""
    if name == "twilio":
        return name, {}
    return "raw", {"name": "raw", "rate_hz": 16_000 if name == "raw16" else 8_000}


class Engine:
    """The product's media workers, driven through their control channel.

    Args:
        load: Callers and bot.
        dialect: As the load has it.
        certificate: Of the bot, for wss://.
        workers: How many.
    """

    def __init__(self, load: Load, dialect: str, certificate: Path | None, workers: int) -> None:
        command: tuple[str, ...] = (sys.executable, "-m", "connector.media.worker")
        if certificate is not None:
            command = ("env", f"SSL_CERT_FILE={certificate}", *command)
        self._engine = MediaEngine(bind_host=HOST, bind_port=0, workers=workers, command=command)
        self._load = load
        self._dialect, self._options = dialect_of(dialect)
        self._url = f"{'ws' if certificate is None else 'wss'}://{HOST}:{load.ws_port}/"
        self._gate = asyncio.Semaphore(DIALLING_AT_ONCE)
        self._opened = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[list[int]]:
        """Gives the workers' processes."""
        running = asyncio.create_task(self._engine.run())
        try:
            async with asyncio.timeout(20):
                while not all(worker.up for worker in self._engine.workers):  # noqa: ASYNC110 - a bench, starting
                    await asyncio.sleep(0.02)
            yield [worker.pid for worker in self._engine.workers if worker.pid is not None]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def open(self, index: int) -> StreamHandle:
        """A call from the load's caller of this index, with audio."""
        async with self._gate:
            self._opened += 1
            request = OpenStream(
                stream_id=f"bench-{os.getpid()}-{self._opened}",
                pbx="bench",
                call_id=f"call-{self._opened}",
                url=self._url,
                dialect=self._dialect,
                dialect_options=self._options,
                parameters={},
                headers={},
                connect_timeout_ms=10_000,
                playout_max_ms=10_000,
                prebuffer_ms=0,
                max_message_bytes=65_536,
            )
            while not self._engine.has_room:  # noqa: ASYNC110 - opening hundreds keeps a worker busy for a moment
                await asyncio.sleep(0.05)
            handle = await self._engine.open(request)
            handle.attach(Address(HOST, self._load.udp[index]))
            return handle


@contextlib.asynccontextmanager
async def connector(
    load: Load, calls: int, dialect: str, certificate: Path | None, workers: int = 1
) -> AsyncIterator[Relay]:
    """The product with its calls open; with a certificate over wss://."""
    engine = Engine(load, dialect, certificate, workers)
    async with engine.running() as pids:
        idle_kb = sum(map(rss_kb, pids))
        handles = await asyncio.gather(*map(engine.open, range(calls)))
        yield Relay(pids, [handle.rtp.port for handle in handles], idle_kb)
