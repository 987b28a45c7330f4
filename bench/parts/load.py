"""The load generator of bench/native as a process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.parts.proc import cpu_s, machine_busy_s

STALL_MS = 5.0
"""A run in which a thread that only sleeps was woken up so late tells more of the machine than of the relay."""
LIMIT_CORES, LIMIT_LATE_MS = 0.9, 2.0
"""Beyond, the load generator itself may be what saturated."""


class Load:
    """Callers and a bot.

    Attributes:
        ws_port: Where the bot listens.
        udp: Ports of the callers.
    """

    def __init__(self, process: asyncio.subprocess.Process, ws_port: int, udp: list[int]) -> None:
        self.ws_port = ws_port
        self.udp = udp
        self._process = process

    @classmethod
    async def start(cls, program: Path, calls: int, dialect: str, *tls: Path) -> Load:
        """Starts it; `tls` is certificate and key, or nothing."""
        process = await asyncio.create_subprocess_exec(
            program,
            str(calls),
            dialect,
            *tls,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        assert process.stdout is not None
        where = json.loads(await process.stdout.readline())
        return cls(process, where["ws_port"], where["udp"])

    async def run(
        self, *, ports: Sequence[int], pids: Sequence[int], calls: int, warm_up_s: float, seconds: float
    ) -> dict[str, Any]:
        """Lets so many callers speak, and measures a relay.

        Args:
            ports: Where the relay takes RTP: of all calls, or of each.
            pids: Its processes.
            calls: How many.
            warm_up_s: Before that is measured.
            seconds: Measured.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        read = self._process.stdout.readline
        times = f"{calls} {round(warm_up_s * 1000)} {round(seconds * 1000)}"
        self._process.stdin.write(f"{times} {' '.join(map(str, ports))}\n".encode())
        _expect(await read(), b"begin\n")
        started_s, relay_s, machine_s = time.monotonic(), sum(map(cpu_s, pids)), machine_busy_s()
        _expect(await read(), b"end\n")
        elapsed_s = time.monotonic() - started_s
        relay_s, machine_s = sum(map(cpu_s, pids)) - relay_s, machine_busy_s() - machine_s
        got: dict[str, Any] = json.loads(await read())
        relayed = max(1, got["at_bot"] + got["at_caller"])
        return {
            "us_per_packet": round(relay_s / relayed * 1e6, 2),
            "cores": round(relay_s / elapsed_s, 3),
            "lost": got["sent"] - got["at_caller"],
            **got,
            "others_cores": round(max(0.0, machine_s / elapsed_s - relay_s / elapsed_s - got["load_cores"]), 2),
            "stalled": got["stall_max_ms"] > STALL_MS,
            "load_is_limit": got["load_cores"] > LIMIT_CORES or got["load_late_p99_ms"] > LIMIT_LATE_MS,
        }

    async def report(self) -> dict[str, Any]:
        """What a load that only echoes has counted."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"report\n")
        told: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return told

    async def stop(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


def _expect(line: bytes, wanted: bytes) -> None:
    if line != wanted:
        raise SystemExit("failed: the load generator ended; see its message above")
