"""What the media worker costs and adds: a real worker process between RTP sources and an echoing bot, without Asterisk.

Run by `scripts/bench slice`; the method and the keys of the result are described in docs/bench.md.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import platform
import socket
import struct
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from connector.media.control import Address, EndCause, OpenStream
from connector.media.engine import MediaEngine
from connector.media.frames import FRAME_BYTES, FRAME_S
from connector.media.rtp import HEADER_BYTES, RtpSender

STAMP = struct.Struct("!4sq")
FROM_CALLER, FROM_BOT = b"CALL", b"BOT."
FILL = b"\x55" * (FRAME_BYTES - STAMP.size)
WARM_UP_S = 1.0
HOST = "127.0.0.1"


# -- the load: RTP sources and the bot, in a process of their own ------------------------------------------------


class Load:
    """N callers and a bot that echoes; measures by time stamps inside the audio."""

    def __init__(self, calls: int) -> None:
        self.sockets = [self._socket() for _ in range(calls)]
        # Kept over runs: a source that starts anew with the same SSRC would look like one whose packets are late.
        self._senders = [RtpSender(ssrc=n, sequence=0, timestamp=0) for n in range(calls)]
        self.reset()

    @staticmethod
    def _socket() -> socket.socket:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setblocking(False)
        udp.bind((HOST, 0))
        return udp

    def reset(self) -> None:
        """Forgets all measurements."""
        self.sent = self.at_bot = self.at_caller = 0
        self.to_bot_ns: list[int] = []
        self.to_caller_ns: list[int] = []
        self.late_ns: list[int] = []
        self.intervals_ns: list[int] = []
        self._last_ns: dict[int, int] = {}

    async def bot(self, connection: ServerConnection) -> None:
        """Echoes each frame with a new stamp."""
        try:
            async for text in connection:
                message = json.loads(text)
                if message["event"] != "media":
                    continue
                tag, at_ns = STAMP.unpack_from(base64.b64decode(message["media"]["payload"]))
                if tag != FROM_CALLER:
                    continue
                now_ns = time.monotonic_ns()
                self.to_bot_ns.append(now_ns - at_ns)
                self.at_bot += 1
                payload = base64.b64encode(STAMP.pack(FROM_BOT, now_ns) + FILL).decode()
                await connection.send('{"event":"media","media":{"payload":"' + payload + '"}}')
        except ConnectionClosed:
            pass

    def receive(self, index: int) -> None:
        """Takes what has come for one caller."""
        while True:
            try:
                datagram = self.sockets[index].recv(2048)
            except BlockingIOError:
                return
            now_ns = time.monotonic_ns()
            if index in self._last_ns:
                self.intervals_ns.append(now_ns - self._last_ns[index])
            self._last_ns[index] = now_ns
            tag, at_ns = STAMP.unpack_from(datagram, HEADER_BYTES)
            if tag in (FROM_BOT, FROM_CALLER):  # the latter from the baseline, which changes nothing
                self.to_caller_ns.append(now_ns - at_ns)
                self.at_caller += 1

    async def run(self, target: tuple[str, int], seconds: float) -> dict[str, Any]:
        """Sends for so long, the sources spread evenly over the 20 ms; waits for what is still under way."""
        self.reset()
        calls = len(self.sockets)
        started_s = time.monotonic()
        for number in range(round(seconds / FRAME_S) * calls):
            due_s = started_s + (number // calls + number % calls / calls) * FRAME_S
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            now_ns = time.monotonic_ns()
            self.late_ns.append(now_ns - round(due_s * 1e9))
            payload = STAMP.pack(FROM_CALLER, now_ns) + FILL
            self.sockets[number % calls].sendto(self._senders[number % calls].next(payload), target)
            self.sent += 1
        await asyncio.sleep(0.5)
        return {
            "sent": self.sent,
            "at_bot": self.at_bot,
            "at_caller": self.at_caller,
            "rtp_to_ws_ms": percentiles_ms(self.to_bot_ns),
            "ws_to_rtp_ms": percentiles_ms(self.to_caller_ns),
            "interval_ms": percentiles_ms(self.intervals_ns),
            "generator_late_ms": percentiles_ms(self.late_ns),
        }


async def load_main(calls: int) -> None:
    """The load process: one JSON line in for each run, one out."""
    load = Load(calls)
    loop = asyncio.get_running_loop()
    for index, udp in enumerate(load.sockets):
        loop.add_reader(udp.fileno(), load.receive, index)
    async with serve(load.bot, HOST, 0, compression=None) as server:
        ws_port = next(iter(server.sockets)).getsockname()[1]
        print(json.dumps({"ws_port": ws_port, "udp": [udp.getsockname()[1] for udp in load.sockets]}), flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order = json.loads(line)
            print(json.dumps(await load.run((HOST, order["port"]), order["seconds"])), flush=True)
    for udp in load.sockets:
        loop.remove_reader(udp.fileno())
        udp.close()


def baseline_main() -> None:
    """The least that a relay in Python can do: each datagram goes back to where it came from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((HOST, 0))
        print(json.dumps({"port": udp.getsockname()[1]}), flush=True)
        while True:
            datagram, source = udp.recvfrom(2048)
            udp.sendto(datagram, source)


# -- measuring --------------------------------------------------------------------------------------------------


def percentiles_ms(values_ns: list[int]) -> dict[str, float]:
    """The median and the 99th percentile; 0 without values."""
    ordered = sorted(values_ns) or [0]
    return {f"p{p}": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)] / 1e6, 3) for p in (50, 99)}


def cpu_s(pid: int) -> float:
    """User and system time of a process so far (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def child(*arguments: str) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """Starts this file in another role; gives its first line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise SystemExit(f"the process {arguments} did not start; see its message above")
    return process, json.loads(line)


async def order(load: asyncio.subprocess.Process, port: int, seconds: float) -> dict[str, Any]:
    """Lets the load run once."""
    assert load.stdin is not None
    assert load.stdout is not None
    load.stdin.write(json.dumps({"port": port, "seconds": seconds}).encode() + b"\n")
    line = await load.stdout.readline()
    return dict(json.loads(line))


async def measured(
    load: asyncio.subprocess.Process, port: int, seconds: float, pid: int, relayed: Callable[[dict[str, Any]], int]
) -> dict[str, Any]:
    """A warm-up and a run; adds the CPU time of the process under test."""
    await order(load, port, WARM_UP_S)
    before_s, started_s = cpu_s(pid), time.monotonic()
    result = await order(load, port, seconds)
    used_s, elapsed_s = cpu_s(pid) - before_s, time.monotonic() - started_s
    packets = max(1, relayed(result))
    return {
        **result,
        "relayed": packets,
        "cpu_us_per_packet": round(used_s / packets * 1e6, 2),
        "cpu_cores": round(used_s / elapsed_s, 3),
    }


async def bench(calls: int, seconds: float) -> dict[str, Any]:
    """The whole benchmark."""
    load, ports = await child("load", "--calls", str(calls))
    engine = MediaEngine(bind_host=HOST, bind_port=0)
    running = asyncio.create_task(engine.run())
    try:
        await asyncio.wait_for(engine.ready.wait(), 20)
        assert engine.workers[0].pid is not None
        handles = []
        for index, port in enumerate(ports["udp"]):
            request = OpenStream(
                stream_id=f"bench-{index}",
                pbx="bench",
                call_id=f"call-{index}",
                url=f"ws://{HOST}:{ports['ws_port']}/",
                dialect="twilio",
                parameters={},
                headers={},
                connect_timeout_ms=5_000,
                playout_max_ms=10_000,
                prebuffer_ms=0,
                max_message_bytes=65_536,
            )
            handles.append(await engine.open(request))
            handles[-1].attach(Address(HOST, port))
        late_before = engine.stats.counters["late_ticks"]
        first = engine.workers[0]
        assert first.rtp is not None
        assert first.pid is not None
        worker = await measured(load, first.rtp.port, seconds, first.pid, lambda got: got["at_bot"] + got["at_caller"])
        await asyncio.sleep(1.1)  # the worker's next report
        worker["late_ticks"] = engine.stats.counters["late_ticks"] - late_before
        worker["send_dropped"] = engine.stats.counters["send_dropped"]
        worker["underruns"] = engine.stats.counters["underruns"]
        for handle in handles:
            handle.close(EndCause.CALLER_HUNG_UP)
        await asyncio.wait([handle.ended for handle in handles], timeout=10)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    echo, where = await child("baseline")
    try:
        # One packet in and one out, as for the worker: two relayed.
        baseline = await measured(load, where["port"], seconds, echo.pid, lambda got: 2 * int(got["at_caller"]))
    finally:
        echo.kill()
        await echo.wait()
    assert load.stdin is not None
    load.stdin.close()
    await load.wait()
    for part in (worker, baseline):
        part["lost"] = part["sent"] - part["at_caller"]
    return {
        "bench": "slice",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "calls": calls,
        "seconds": seconds,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "worker": worker,
        "baseline": baseline,
        "ratio_to_baseline": round(worker["cpu_us_per_packet"] / max(baseline["cpu_us_per_packet"], 0.01), 2),
    }


def main() -> None:
    """`scripts/bench slice [--calls N] [--seconds S] [--json FILE]`."""
    parser = argparse.ArgumentParser(prog="scripts/bench slice", description="CPU and latency of the media worker.")
    parser.add_argument("role", nargs="?", default="bench", choices=("bench", "load", "baseline"), help="internal")
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path, help="file for the result; standard output if absent")
    options = parser.parse_args()
    if options.role == "baseline":
        baseline_main()
    elif options.role == "load":
        uvloop.run(load_main(options.calls))
    else:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the result's
        text = json.dumps(asyncio.run(bench(options.calls, options.seconds)), indent=2)
        if options.json:
            options.json.write_text(text + "\n")
        else:
            print(text)


if __name__ == "__main__":
    main()
