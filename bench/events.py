"""The event path: bytes of AMI to changed state and metrics, against panoramisk alone; resync; size; viewers.

`docs/bench.md` says what each figure means. The bytes are those that real Asterisk sent (tests/fixtures/ami), repeated
with other uniqueids, channels and queues.
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
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import structlog
from aiohttp import web
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager
from prometheus_client.exposition import generate_latest

from connector.access.accounts import Account, principal_of
from connector.access.rights import Role
from connector.acd.model import PbxState
from connector.app import Connector
from connector.asterisk.ami_client import AmiClient, _Protocol
from connector.asterisk.ami_model import AmiLimits
from connector.asterisk.link import PbxLink
from connector.config import Settings
from connector.events import (
    AgentCompleted,
    CallOutcome,
    LinkState,
    Member,
    Outcome,
    QueueParams,
    QueueSnapshot,
    QueuesSnapshot,
    TalkEnded,
)
from connector.web.auth.identity import Who, set_who
from connector.web.push.hub import Hub
from connector.web.push.socket import PATH, LiveSocket

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "ami"
BANNER = b"Asterisk Call Manager/11.0.0\r\n"
CHUNK_BYTES = 65_536
"""What a read of the socket returns at most when much is waiting."""
QUEUES = 50
"""Over which the repeated events are spread."""

VIEWERS = 50
VIEWER_EVENTS_PER_S = 2_000
VIEWER_S = 10.0

SCRAPE_QUEUES, SCRAPE_MEMBERS, SCRAPES = 200, 2_000, 7

LIST_QUEUES, LIST_MEMBERS, LIST_CALLERS = 500, 5_000, 2_000


# -- the bytes --------------------------------------------------------------------------------------------------------


def recorded(name: str) -> list[bytes]:
    """The messages of a recording, without answers to actions and their lists."""
    messages = (FIXTURES / f"{name}.bin").read_bytes().split(b"\r\n\r\n")
    return [one for one in messages if one and b"\r\nActionID:" not in one and not one.startswith(b"Response:")]


def live_events(count: int) -> bytes:
    """So many events, as copies of a recorded shift; each copy is of other calls, and of one of `QUEUES` queues."""
    shift = b"\r\n\r\n".join(recorded("22-shift")) + b"\r\n\r\n"
    each = shift.count(b"\r\n\r\n")
    return b"".join(_renamed(shift, number) for number in range(-(-count // each)))


def _renamed(messages: bytes, number: int) -> bytes:
    renamed = re.sub(rb"(ueid|kedid): (\S+)", rb"\1: %d-\2" % number, messages)
    renamed = re.sub(rb"-0000([0-9a-f]{4})\b", rb"-%04x\1" % (number % 65_536), renamed)
    return re.sub(rb"Queue: (\w+)", rb"Queue: \1 %d" % (number % QUEUES), renamed)


def list_answer(action_id: str, name: str, items: Iterator[bytes]) -> Iterator[bytes]:
    """The answer to a list action, in pieces."""
    head = b"ActionID: %s\r\n" % action_id.encode()
    yield b"Response: Success\r\n" + head + b"EventList: start\r\nMessage: will follow\r\n\r\n"
    for item in items:
        yield re.sub(rb"ActionID: [^\r]*", head.strip(), item) + b"\r\n\r\n"
    yield b"Event: %s\r\n" % name.encode() + head + b"EventList: Complete\r\nListItems: 0\r\n\r\n"


def _sample(event: str) -> bytes:
    """The first recorded list item of that kind."""
    messages = (FIXTURES / "22-shift.bin").read_bytes().split(b"\r\n\r\n")
    return next(one for one in messages if one.startswith(b"Event: %s\r\n" % event.encode()) and b"ActionID" in one)


def _with(message: bytes, **fields: str) -> bytes:
    for name, value in fields.items():
        message = re.sub(rb"\r\n%s: [^\r]*" % name.encode(), b"\r\n%s: %s" % (name.encode(), value.encode()), message)
    return message


def queue_items() -> Iterator[bytes]:
    """What QueueStatus lists of a large contact centre."""
    params, member, caller = _sample("QueueParams"), _sample("QueueMember"), _sample("QueueEntry")
    for queue in range(LIST_QUEUES):
        name = f"queue {queue}"
        yield _with(params, Queue=name)
        for number in range(LIST_MEMBERS // LIST_QUEUES):
            agent = f"PJSIP/agent{queue}-{number}"
            yield _with(member, Queue=name, Name=f"Agent {queue}-{number}", Location=agent, StateInterface=agent)
        for number in range(LIST_CALLERS // LIST_QUEUES):
            yield _with(
                caller,
                Queue=name,
                Position=str(number + 1),
                Channel=f"PJSIP/trunk-{queue:04x}{number:04x}",
                Uniqueid=f"lab-1.{queue}.{number}",
            )


def channel_items() -> Iterator[bytes]:
    """What CoreShowChannels lists: the callers' channels."""
    channel = _sample("CoreShowChannel")
    for queue in range(LIST_QUEUES):
        for number in range(LIST_CALLERS // LIST_QUEUES):
            uniqueid = f"lab-1.{queue}.{number}"
            name = f"PJSIP/trunk-{queue:04x}{number:04x}"
            yield _with(channel, Channel=name, Uniqueid=uniqueid, Linkedid=uniqueid)


def chunks(data: bytes) -> Iterator[bytes]:
    """The bytes as the socket gives them."""
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


# -- the two paths ----------------------------------------------------------------------------------------------------


class _Nowhere(asyncio.Transport):
    """Takes what is sent and throws it away."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent = bytes(data)

    def close(self) -> None: ...

    def abort(self) -> None: ...


class Ours:
    """A connector whose AMI connection is fed by hand; everything behind it is as in production."""

    def __init__(self) -> None:
        pbx = {"main": {"ami": {"secret": "none"}, "ari": {"password": "none"}}}
        self.connector = Connector(Settings.model_validate({"pbx": pbx}))
        self.link: PbxLink = self.connector._links["main"]
        self.link._changed("ami", LinkState.UP, "bench")
        ami = self.link.ami
        self.client = AmiClient(inbox=ami.items, counters=ami.counters, limits=AmiLimits(), clock=time.time)
        self.client.protocol = None
        _Protocol(self.client).connection_made(_Nowhere())
        self.client._live = True
        self.client.received(BANNER)
        self._consumer = asyncio.create_task(self.link._consume_ami())

    async def feed(self, chunk: bytes) -> None:
        """One segment, and its events until they are applied."""
        self.client.protocol.data_received(chunk)
        while len(self.link.ami.items):
            if self._consumer.done():
                self._consumer.result()  # its defect
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Ends its task."""
        self._consumer.cancel()
        await asyncio.gather(self._consumer, return_exceptions=True)


async def our_seconds(data: bytes) -> tuple[float, Ours]:
    """CPU of the whole path."""
    ours = Ours()
    await asyncio.sleep(0)
    gc.collect()
    started = time.process_time()
    for chunk in chunks(data):
        await ours.feed(chunk)
    return time.process_time() - started, ours


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


async def speed(count: int, rounds: int) -> dict[str, Any]:
    """Both paths in turn, on the same bytes; the best round of each counts."""
    data = live_events(count)
    events = data.count(b"\r\n\r\n")
    ours_s, theirs_s = [], []
    for _ in range(rounds):
        theirs_s.append(panoramisk_seconds(data))
        used_s, ours = await our_seconds(data)
        ours_s.append(used_s)
        taken, outcomes = ours.link.ami.counters["events"], ours.link.state.outcomes  # type: ignore[index]
        assert taken == events, (taken, events)
        assert len(outcomes) > QUEUES
        assert not ours.link.malformed
        await ours.close()
    return {
        "events": events,
        "bytes": len(data),
        "rounds": rounds,
        "events_per_second": round(events / min(ours_s)),
        "panoramisk_events_per_second": round(events / min(theirs_s)),
        "ratio_to_panoramisk": round(min(ours_s) / min(theirs_s), 3),
        "ratio_by_round": [round(ours / theirs, 3) for ours, theirs in zip(ours_s, theirs_s, strict=True)],
    }


async def resync() -> dict[str, Any]:
    """Reads large lists in; run in a process of its own, for its size."""
    before_mb = _rss_mb()
    ours = Ours()
    state, result = ours.link.state, {}
    first = time.perf_counter()
    for action, complete, items in (
        ("QueueStatus", "QueueStatusComplete", queue_items),
        ("CoreShowChannels", "CoreShowChannelsComplete", channel_items),
    ):
        request = asyncio.create_task(ours.client.request_list({"Action": action}, 60.0))
        await asyncio.sleep(0)
        (action_id,) = {call.id for call in ours.client.protocol.responses.values()}
        data = b"".join(list_answer(action_id, complete, items()))
        started = time.perf_counter()
        parts = list(chunks(data))
        for chunk in parts[:-1]:
            ours.client.protocol.data_received(chunk)
            await asyncio.sleep(0)
        last = time.perf_counter()
        await ours.feed(parts[-1])
        await request
        now = time.perf_counter()
        result[action] = {
            "bytes": len(data),
            "from_first_byte_s": round(now - started, 3),
            "from_last_byte_s": round(now - last, 3),
        }
        del data, parts
    assert len(state.queues) == LIST_QUEUES
    assert sum(len(queue.members) for queue in state.queues.values()) == LIST_MEMBERS
    assert sum(len(queue.waiting) for queue in state.queues.values()) == len(state.calls) == LIST_CALLERS
    peak_mb = _rss_mb("VmHWM")
    scrape_s = min(_cpu_s(lambda: generate_latest(ours.connector._registry)) for _ in range(3))
    await ours.close()
    return {
        "resync_seconds": round(sum(part["from_last_byte_s"] for part in result.values()), 3),
        "resync": result,
        "seconds": round(time.perf_counter() - first, 3),
        "rss_mb": round(_rss_mb(), 1),
        "rss_peak_mb": round(peak_mb, 1),
        "rss_before_mb": round(before_mb, 1),
        "scrape_cpu_ms_500_queues": round(scrape_s * 1000, 1),
    }


def _cpu_s(work: Any) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _rss_mb(field: str = "VmRSS") -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.findall(rf"{field}:\s+(\d+) kB", status)[0]) / 1024


async def scrape() -> dict[str, Any]:
    """CPU of `/metrics` with all that a day fills; each time something has happened in every queue since the last."""
    ours = Ours()
    queues = [f"queue {number}" for number in range(SCRAPE_QUEUES)]
    members = [f"PJSIP/agent{number}" for number in range(SCRAPE_MEMBERS)]
    each = SCRAPE_MEMBERS // SCRAPE_QUEUES
    snapshots = tuple(
        QueueSnapshot(
            params=QueueParams(
                name=name, strategy="", max_callers=0, service_level_s=0, weight=0, completed=0, abandoned=0, hold_s=0,
                talk_s=0,
            ),
            members=tuple(Member(interface=one, name=one) for one in members[number * each : (number + 1) * each]),
            callers=(),
        )
        for number, name in enumerate(queues)
    )  # fmt: skip
    ours.link.tell(QueuesSnapshot(pbx="main", at=time.time(), queues=snapshots))

    def happens(number: int) -> None:
        for queue, name in enumerate(queues):
            for outcome in Outcome:
                uniqueid, agent, now = f"{number}-{queue}-{outcome}", members[queue * each], time.time()
                ours.link.state.outcomes.setdefault(name, {})[outcome] = number
                for event in (
                    CallOutcome(
                        pbx="main", at=now, queue=name, uniqueid=uniqueid, outcome=outcome, wait_s=9, agent=agent
                    ),
                    TalkEnded(
                        pbx="main", at=now, queue=name, uniqueid=uniqueid, agent=agent, talk_s=9, hold_s=1,
                        transferred=False,
                    ),
                    AgentCompleted(
                        pbx="main", at=now, queue=name, uniqueid=uniqueid, interface=agent, member=agent, hold_s=1,
                        talk_s=9, reason="agent",
                    ),
                ):  # fmt: skip
                    ours.connector._bus.publish(event)

    used: list[float] = []
    for number in range(SCRAPES):
        happens(number)
        used.append(_cpu_s(lambda: generate_latest(ours.connector._registry)))
    text = generate_latest(ours.connector._registry)
    await ours.close()
    return {
        "scrape_cpu_ms": round(sorted(used)[len(used) // 2] * 1000, 1),
        "scrape_cpu_max_ms": round(max(used) * 1000, 1),
        "scrape_samples": sum(not line.startswith(b"#") for line in text.splitlines()),
    }


# -- viewers ----------------------------------------------------------------------------------------------------------


async def viewers(seconds: float) -> dict[str, Any]:
    """`VIEWERS` of the push connection while events arrive; how old a caller's join is when a viewer gets it."""
    ours = Ours()
    hub = Hub(_States(ours.link), clock=time.time, run_id="bench")
    ours.connector._bus.handle("bench-hub", hub.on_item)
    ticking = asyncio.create_task(hub.run())

    @web.middleware
    async def everybody_may(request: web.Request, handler: Any) -> Any:
        account = Account(name="bench", role=Role.ADMIN)
        set_who(request, Who("bench", "", principal_of(account)))
        return await handler(request)

    application = web.Application(middlewares=[everybody_may])
    LiveSocket(hub, lambda _: True).add_to(application)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "watch", "--port", str(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdin is not None
        assert child.stdout is not None
        await child.stdout.readline()  # all are connected
        sent, used_s = await _feed_steadily(ours, seconds)
        await asyncio.sleep(0.5)
        child.stdin.close()
        latencies = json.loads(await child.stdout.read())
        await child.wait()
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        await runner.cleanup()
        await ours.close()
    latencies.sort()
    assert latencies, "no viewer saw anything"
    return {
        "viewer_p50_ms": round(latencies[len(latencies) // 2] * 1000, 1),
        "viewer_p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1000, 1),
        "viewers": VIEWERS,
        "viewer_samples": len(latencies),
        "viewer_snapshots_forced": hub.snapshots_forced,
        "viewer_events_per_second": round(sent / seconds),
        "viewer_server_cores": round(used_s / seconds, 2),
    }


class _States:
    def __init__(self, link: PbxLink) -> None:
        self._states = {link.pbx: link.state}

    def states(self) -> dict[str, PbxState]:
        return self._states


async def _feed_steadily(ours: Ours, seconds: float) -> tuple[int, float]:
    """`VIEWER_EVENTS_PER_S` events a second, each with the time at which it is fed; how many, and the CPU."""
    messages = live_events(int(VIEWER_EVENTS_PER_S * seconds)).split(b"\r\n\r\n")[:-1]
    each = VIEWER_EVENTS_PER_S // 100
    used, started = time.process_time(), time.monotonic()
    for number, start in enumerate(range(0, len(messages), each)):
        await asyncio.sleep(max(0.0, started + number / 100 - time.monotonic()))
        now = b"Timestamp: %.6f" % time.time()
        part = b"\r\n\r\n".join(messages[start : start + each]) + b"\r\n\r\n"
        await ours.feed(re.sub(rb"Timestamp: [^\r]*", now, part))
    return len(messages), time.process_time() - used


class _Seen(msgspec.Struct):
    kind: str
    id: str
    joined_at: float = 0.0


class _Message(msgspec.Struct):
    type: str
    changed: tuple[_Seen, ...] = ()


async def watch(port: int) -> list[float]:
    """The viewers, in a process of their own; each latency is of one caller at one viewer."""
    decode = msgspec.json.Decoder(_Message).decode
    latencies: list[float] = []
    connected = asyncio.Semaphore(0)

    async def one(http: aiohttp.ClientSession) -> None:
        seen: set[str] = set()
        async with http.ws_connect(f"ws://127.0.0.1:{port}{PATH}", max_msg_size=0) as live:
            await live.send_str('{"type": "subscribe"}')
            await live.receive()  # the snapshot
            connected.release()
            async for message in live:
                now = time.time()
                for item in decode(message.data).changed:
                    if item.kind == "caller" and item.id not in seen:
                        seen.add(item.id)
                        latencies.append(now - item.joined_at)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        tasks = [asyncio.create_task(one(http)) for _ in range(VIEWERS)]
        for _ in tasks:
            await connected.acquire()
        print("connected", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return latencies


# -- the program ------------------------------------------------------------------------------------------------------


def in_child(role: str) -> dict[str, Any]:
    """Runs one part in a fresh process."""
    done = subprocess.run([sys.executable, __file__, role], stdout=subprocess.PIPE, check=True)
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def bench(count: int, rounds: int) -> dict[str, Any]:
    """The whole benchmark."""
    return {
        "bench": "events",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        **asyncio.run(speed(count, rounds)),
        **in_child("resync"),
        **in_child("scrape"),
        **in_child("viewers"),
    }


def main() -> None:
    """`scripts/bench events [--events N] [--rounds N] [--json FILE]`."""
    parser = argparse.ArgumentParser(prog="scripts/bench events", description="Speed and size of the event path.")
    parser.add_argument(
        "role", nargs="?", default="bench", choices=("bench", "resync", "scrape", "viewers", "watch"), help="internal"
    )
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, help="internal")
    parser.add_argument("--json", type=Path, help="file for the result; standard output if absent")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the result's
    if options.role != "bench":
        part: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "resync": resync,
            "scrape": scrape,
            "viewers": lambda: viewers(VIEWER_S),
            "watch": lambda: watch(options.port),
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
