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

from bench.parts.load import Load
from bench.parts.proc import rss_kb
from connector.media.control import Address, OpenStream
from connector.media.engine import MediaEngine

HOST = "127.0.0.1"
DIALLING_AT_ONCE = 16


@dataclass
class Relay:
    """A relay with its calls open.

    Attributes:
        pid: Its process.
        port: Its RTP port.
        idle_kb: Its memory before the first call; None when that cannot be told.
    """

    pid: int
    port: int
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
        yield Relay(process.pid, json.loads(line)["port"])
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


@contextlib.asynccontextmanager
async def connector(load: Load, calls: int, dialect: str, certificate: Path | None) -> AsyncIterator[Relay]:
    """The product's media worker, driven through its control channel; with a certificate over wss://."""
    command: tuple[str, ...] = (sys.executable, "-m", "connector.media.worker")
    if certificate is not None:
        command = ("env", f"SSL_CERT_FILE={certificate}", *command)
    engine = MediaEngine(bind_host=HOST, bind_port=0, command=command)
    running = asyncio.create_task(engine.run())
    try:
        await asyncio.wait_for(engine.ready.wait(), 20)
        worker = engine.workers[0]
        assert worker.pid is not None
        assert worker.rtp is not None
        relay = Relay(worker.pid, worker.rtp.port, rss_kb(worker.pid))
        scheme = "ws" if certificate is None else "wss"
        gate = asyncio.Semaphore(DIALLING_AT_ONCE)

        async def open_one(index: int) -> None:
            async with gate:
                request = OpenStream(
                    stream_id=f"bench-{os.getpid()}-{index}",
                    pbx="bench",
                    call_id=f"call-{index}",
                    url=f"{scheme}://{HOST}:{load.ws_port}/",
                    dialect=dialect,
                    dialect_options={"name": dialect, "rate_hz": 8_000} if dialect == "raw" else {},
                    parameters={},
                    headers={},
                    connect_timeout_ms=10_000,
                    playout_max_ms=10_000,
                    prebuffer_ms=0,
                    max_message_bytes=65_536,
                )
                while not engine.has_room:  # noqa: ASYNC110 - opening hundreds keeps a worker busy for a moment
                    await asyncio.sleep(0.05)
                handle = await engine.open(request)
                handle.attach(Address(HOST, load.udp[index]))

        await asyncio.gather(*map(open_one, range(calls)))
        yield relay
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
