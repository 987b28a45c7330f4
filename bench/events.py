"""The event path: bytes of AMI to changed state and metrics, against panoramisk alone; resync; size; viewers.

`docs/bench.md` says what each figure means, `bench/results` what was measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from aiohttp import web
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager
from prometheus_client.exposition import generate_latest

from bench.parts.amibytes import (
    LARGE,
    QUEUES,
    Size,
    channel_items,
    chunks,
    list_answer,
    live_events,
    queue_items,
)
from bench.parts.scrape import scrape
from connector.access.accounts import Account, principal_of
from connector.access.rights import Role
from connector.app import Connector
from connector.asterisk.ami_client import AmiClient, _Protocol
from connector.asterisk.ami_model import AmiLimits
from connector.asterisk.link import PbxLink
from connector.config import Settings
from connector.events import LinkState
from connector.web.auth.identity import Who, set_who
from connector.web.push.socket import LiveSocket

BANNER = b"Asterisk Call Manager/11.0.0\r\n"

VIEWERS = 50
VIEWER_EVENTS_PER_S = 2_000
VIEWER_S = 10.0


# -- the two paths ----------------------------------------------------------------------------------------------------


class _Nowhere(asyncio.Transport):
    """Takes what is sent and throws it away."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent = bytes(data)

    def close(self) -> None: ...

    def abort(self) -> None: ...


class Ours:
    """A connector whose AMI connection is fed by hand; everything behind it is as in production.

    `async with` runs what the program runs behind the bus: history into SQLite, the push connection's ticks, webhooks.

    Args:
        hook_port: Where a webhook goes that wants all events; 0 for none.
        store: Further settings of history.
    """

    def __init__(self, hook_port: int = 0, **store: Any) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-events-")
        hook = {"url": f"http://127.0.0.1:{hook_port}/hook", "secret": "0123456789abcdef", "allow_private": True}
        settings = {
            "pbx": {"main": {"ami": {"secret": "none"}, "ari": {"password": "none"}}},
            "store": {"directory": self._folder.name, **store},
            "webhook_outbox": f"{self._folder.name}/outbox.sqlite",
            **({"webhook": {"all": hook}} if hook_port else {}),
        }
        self.connector = Connector(Settings.model_validate(settings))
        self.link: PbxLink = self.connector._links["main"]
        self.link._changed("ami", LinkState.UP, "bench")
        ami = self.link.ami
        self.client = AmiClient(inbox=ami.items, counters=ami.counters, limits=AmiLimits(), clock=time.time)
        self.client.protocol = None
        _Protocol(self.client).connection_made(_Nowhere())
        self.client._live = True
        self.client.received(BANNER)
        self._consumer = asyncio.create_task(self.link._consume_ami())
        self._behind: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        parts = (self.connector.store.run(), self.connector._hub.run(), self.connector._hooks.run())
        self._behind = [asyncio.create_task(part) for part in parts]
        await self.connector.store.writer.up.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def feed(self, chunk: bytes) -> None:
        """One segment, and its events until they are applied."""
        self.client.protocol.data_received(chunk)
        while len(self.link.ami.items):
            if self._consumer.done():
                self._consumer.result()  # its defect
            await asyncio.sleep(0)

    async def lists(self, size: Size) -> dict[str, Any]:
        """Reads a contact centre in; time from the first and the last byte of each list."""
        result: dict[str, Any] = {}
        for action, complete, items in (
            ("QueueStatus", "QueueStatusComplete", queue_items),
            ("CoreShowChannels", "CoreShowChannelsComplete", channel_items),
        ):
            request = asyncio.create_task(self.client.request_list({"Action": action}, 60.0))
            await asyncio.sleep(0)
            (action_id,) = {call.id for call in self.client.protocol.responses.values()}
            data = b"".join(list_answer(action_id, complete, items(size)))
            started = time.perf_counter()
            parts = list(chunks(data))
            for chunk in parts[:-1]:
                self.client.protocol.data_received(chunk)
                await asyncio.sleep(0)
            last = time.perf_counter()
            await self.feed(parts[-1])
            await request
            now = time.perf_counter()
            result[action] = {
                "bytes": len(data),
                "from_first_byte_s": round(now - started, 3),
                "from_last_byte_s": round(now - last, 3),
            }
        state = self.link.state
        assert len(state.queues) == size.queues
        assert sum(len(queue.members) for queue in state.queues.values()) == size.members
        assert sum(len(queue.waiting) for queue in state.queues.values()) == len(state.calls) == size.callers
        return result

    async def written(self) -> None:
        """Waits until history has everything."""
        while self.connector.store.writer.stats.waiting:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.01)

    def scrape_ms(self) -> float:
        """CPU of one /metrics: the median of five."""
        return statistics.median(_cpu_s(lambda: generate_latest(self.connector._registry)) for _ in range(5)) * 1000

    async def close(self) -> None:
        """Ends its tasks."""
        for task in (self._consumer, *self._behind):
            task.cancel()
        await asyncio.gather(self._consumer, *self._behind, return_exceptions=True)
        self._folder.cleanup()


async def our_seconds(data: bytes) -> tuple[float, Ours]:
    """CPU of the whole path, up to what each subscriber of the bus takes in hand."""
    ours = Ours()
    await asyncio.sleep(0)
    gc.collect()
    started = time.process_time()
    for chunk in chunks(data):
        await ours.feed(chunk)
    return time.process_time() - started, ours


async def seconds_with_writing(data: bytes) -> tuple[float, dict[str, int]]:
    """The same, and all that follows: history written into SQLite, viewers' items made. Also what was written."""
    async with Ours() as ours:
        gc.collect()
        started = time.process_time()
        for chunk in chunks(data):
            await ours.feed(chunk)
        await ours.written()
        ours.connector._hub.flush()
        return time.process_time() - started, dict(ours.connector.store.writer.stats.written)


def panoramisk_seconds(data: bytes) -> float:
    """CPU of panoramisk alone: its protocol and its dispatch, with nobody registered."""
    protocol = AMIProtocol()
    protocol.connection_made(_Nowhere())
    protocol.factory = Manager(loop=asyncio.get_running_loop())
    protocol.encoding = "utf-8"
    protocol.log = logging.getLogger("bench-panoramisk")
    protocol.log.setLevel(logging.ERROR)
    protocol.data_received(BANNER)
    gc.collect()
    started = time.process_time()
    for chunk in chunks(data):
        protocol.data_received(chunk)
    return time.process_time() - started


async def one_round(count: int) -> dict[str, Any]:
    """Both paths in turn, on the same bytes; in a fresh process, so that no round has another's garbage."""
    data = live_events(count)
    events = data.count(b"\r\n\r\n")
    theirs_s = panoramisk_seconds(data)
    ours_s, ours = await our_seconds(data)
    taken, outcomes = ours.link.ami.counters["events"], ours.link.state.outcomes  # type: ignore[index]
    assert taken == events, (taken, events)
    assert len(outcomes) >= QUEUES
    assert not ours.link.malformed
    assert not ours.connector._bus.handler_errors
    await ours.close()
    del ours
    all_s, written = await seconds_with_writing(data)
    return {
        "events": events,
        "bytes": len(data),
        "theirs_s": theirs_s,
        "ours_s": ours_s,
        "all_s": all_s,
        "written": written,
    }


def speed(count: int, rounds: int) -> dict[str, Any]:
    """Medians of several rounds."""
    done = [in_child("round", "--events", str(count)) for _ in range(rounds)]
    events = done[0]["events"]

    def median(of: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(map(of, done))

    return {
        "events": events,
        "bytes": done[0]["bytes"],
        "rounds": rounds,
        "events_per_second": round(events / median(lambda each: each["ours_s"])),
        "panoramisk_events_per_second": round(events / median(lambda each: each["theirs_s"])),
        "ratio_to_panoramisk": round(median(lambda each: each["ours_s"] / each["theirs_s"]), 3),
        "ratio_by_round": [round(each["ours_s"] / each["theirs_s"], 3) for each in done],
        "events_per_second_with_writing": round(events / median(lambda each: each["all_s"])),
        "ratio_with_writing": round(median(lambda each: each["all_s"] / each["theirs_s"]), 3),
        "records_written": done[0]["written"],
    }


def first_comparison(ours: Ours) -> tuple[float, float]:
    """How long it takes to make all items of the push connection, and the longest step of it, in milliseconds."""
    hub = ours.connector._hub
    hub.flush()
    hub.shelf.items.clear()
    hub.shelf._parts.clear()
    hub.shelf.touch_all()
    gc.collect()
    started = before = time.perf_counter()
    longest_s = 0.0
    for _ in hub.steps():
        now = time.perf_counter()
        longest_s, before = max(longest_s, now - before), now
    return round((before - started) * 1000, 1), round(longest_s * 1000, 1)


async def resync() -> dict[str, Any]:
    """Reads large lists in; run in a process of its own, for its size."""
    before_mb = _rss_mb()
    first = time.perf_counter()
    async with Ours() as ours:
        result = await ours.lists(LARGE)
        seconds = time.perf_counter() - first
        comparison_ms, step_ms = first_comparison(ours)
        result_rss = {"rss_mb": round(_rss_mb(), 1), "rss_peak_mb": round(_rss_mb("VmHWM"), 1)}
        scrape_large = ours.scrape_ms()
    return {
        "resync_seconds": round(sum(part["from_last_byte_s"] for part in result.values()), 3),
        "resync": result,
        "seconds": round(seconds, 3),
        **result_rss,
        "rss_before_mb": round(before_mb, 1),
        "push_comparison_ms": comparison_ms,
        "push_comparison_step_ms": step_ms,
        "scrape_cpu_ms_500_queues": round(scrape_large, 1),
    }


def _cpu_s(work: Any) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _rss_mb(field: str = "VmRSS") -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.findall(rf"{field}:\s+(\d+) kB", status)[0]) / 1024


async def scraped() -> dict[str, Any]:
    """What a scrape costs; see `bench.parts.scrape`."""
    ours = Ours()
    result = scrape(ours.connector)
    await ours.close()
    return result


# -- viewers ----------------------------------------------------------------------------------------------------------


async def viewers(seconds: float) -> dict[str, Any]:
    """`VIEWERS` of the push connection while events arrive; how old a caller's join is when a viewer gets it."""
    hook_port = _free_port()
    async with Ours(hook_port) as ours:
        await ours.lists(LARGE)

        @web.middleware
        async def everybody_may(request: web.Request, handler: Any) -> Any:
            set_who(request, Who("bench", "", principal_of(Account(name="bench", role=Role.ADMIN))))
            return await handler(request)

        application = web.Application(middlewares=[everybody_may])
        LiveSocket(ours.connector._hub, lambda _: True).add_to(application)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            command = (sys.executable, "-m", "bench.parts.viewers", str(runner.addresses[0][1]), str(hook_port))
            child = await asyncio.create_subprocess_exec(
                *command, str(VIEWERS), stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 26
            )
            assert child.stdin is not None
            assert child.stdout is not None
            await child.stdout.readline()  # all are connected
            sent, used_s = await feed_steadily(ours, seconds, VIEWER_EVENTS_PER_S, LARGE.queues)
            await asyncio.sleep(0.5)
            child.stdin.close()
            seen = json.loads(await child.stdout.read())
            await child.wait()
        finally:
            await runner.cleanup()
        hub, hooks = ours.connector._hub, ours.connector._hooks.stats["all"]
        rss_mb = _rss_mb()
    latencies = sorted(seen["latencies"])
    assert latencies, "no viewer saw anything"
    return {
        "viewer_p50_ms": round(latencies[len(latencies) // 2] * 1000, 1),
        "viewer_p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1000, 1),
        "viewers": VIEWERS,
        "viewer_samples": len(latencies),
        "viewer_snapshots_forced": hub.snapshots_forced,
        "viewer_events_per_second": round(sent / seconds),
        "viewer_server_cores": round(used_s / seconds, 2),
        "viewer_rss_mb": round(rss_mb, 1),
        "webhooks_delivered": seen["webhooks"],
        "webhooks_dropped": hooks.dropped,
    }


async def feed_steadily(ours: Ours, seconds: float, events_per_s: int, queues: int) -> tuple[int, float]:
    """So many events a second, each with the time at which it is fed; how many, and the CPU."""
    messages = live_events(int(events_per_s * seconds), queues).split(b"\r\n\r\n")[:-1]
    each = events_per_s // 100
    used, started = time.process_time(), time.monotonic()
    for number, start in enumerate(range(0, len(messages), each)):
        await asyncio.sleep(max(0.0, started + number / 100 - time.monotonic()))
        now = b"Timestamp: %.6f" % time.time()
        part = b"\r\n\r\n".join(messages[start : start + each]) + b"\r\n\r\n"
        await ours.feed(re.sub(rb"Timestamp: [^\r]*", now, part))
    return len(messages), time.process_time() - used


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


# -- the program ------------------------------------------------------------------------------------------------------


def in_child(role: str, *options: str) -> dict[str, Any]:
    """Runs one part in a fresh process."""
    done = subprocess.run([sys.executable, "-m", "bench.events", role, *options], stdout=subprocess.PIPE, check=True)
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def bench(count: int, rounds: int) -> dict[str, Any]:
    """The whole benchmark."""
    load = os.getloadavg()[0]
    return {
        "bench": "events",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_before": round(load, 2),
        **speed(count, rounds),
        **in_child("resync"),
        **in_child("scrape"),
        **in_child("viewers"),
    }


def main() -> None:
    """`scripts/bench events [--events N] [--rounds N] [--json FILE]`."""
    parser = argparse.ArgumentParser(prog="scripts/bench events", description="Speed and size of the event path.")
    parser.add_argument(
        "role", nargs="?", default="bench", choices=("bench", "round", "resync", "scrape", "viewers"), help="internal"
    )
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the result; standard output if absent")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the result's
    if options.role != "bench":
        part: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "round": lambda: one_round(options.events),
            "resync": resync,
            "scrape": scraped,
            "viewers": lambda: viewers(VIEWER_S),
        }
        print(json.dumps(asyncio.run(part[options.role]())))
        return
    text = json.dumps(bench(options.events, options.rounds), indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
