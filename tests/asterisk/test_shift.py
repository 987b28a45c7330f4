"""A whole shift on a real Asterisk: what the connector counted is what Asterisk wrote into queue_log.

The reading of queue_log and of `queue show` here is of its own and shares nothing with the product.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from connector.lab.asterisk import LabAsterisk
from connector.lab.process import ConnectorProcess
from connector.lab.shift import LEFT_WAITING, Shift
from connector.lab.shift_conf import shift_conf

SECRET = "of-the-script"  # of an Asterisk on loopback that lives for a minute

OUTAGE_S = 20.0

ENDS = {
    "CONNECT": "answered",
    "ABANDON": "abandoned",
    "EXITWITHTIMEOUT": "timed_out",
    "EXITWITHKEY": "key_exit",
    "EXITEMPTY": "left_empty",
    "WITHDRAW": "withdrawn",
}
REFUSALS = {"FULL": "full", "JOINEMPTY": "join_empty"}
UNHEARD = "unknown"


# -- what Asterisk says -----------------------------------------------------------------------------------------------


@dataclass
class Stay:
    """One caller's time in one queue; queue_log tells time in whole seconds."""

    queue: str
    began: int
    ended: int | None = None
    outcome: str = ""
    wait_s: int = 0


def read_queue_log(text: str) -> list[Stay]:
    """All stays, those still open with no outcome; REFUSED and REDIRECTED are what the shift's dialplan adds."""
    stays: list[Stay] = []
    latest: dict[str, Stay] = {}
    for line in text.splitlines():
        at, call, queue, _agent, event, *data = line.split("|")
        if event == "ENTERQUEUE":
            latest[call] = Stay(queue, int(at))
            stays.append(latest[call])
        elif event == "REFUSED":
            stays.append(Stay(queue, int(at), int(at), REFUSALS[data[0]]))
        elif event == "REDIRECTED":
            assert latest[call].outcome == "abandoned", line
            latest[call].outcome = "redirected"
        elif event in ENDS:
            stay = latest[call]
            assert (stay.queue, stay.ended) == (queue, None), line
            stay.ended, stay.outcome = int(at), ENDS[event]
            if event == "CONNECT":
                stay.wait_s = int(data[0])
    return stays


def outcomes_of(stays: list[Stay]) -> Counter[tuple[str, str]]:
    return Counter((stay.queue, stay.outcome) for stay in stays if stay.outcome)


QUEUE_LINE = re.compile(r"^(?P<name>\S.*) has \d+ calls \(max .*\) in '(?P<strategy>\w+)' strategy")
CALLER_LINE = re.compile(r"^ +\d+\. (?P<channel>\S+) \(wait: ")
MEMBER_LINE = re.compile(
    r"^      (?P<name>.+?)(?: \((?P<interface>[^()\s]+/[^()\s]+)\))?(?: with penalty (?P<penalty>\d+))? \(ringinuse"
)
DEVICES = {"Not in use": "not_in_use", "In use": "in_use", "Busy": "busy", "Ringing": "ringing", "Invalid": "invalid"}
DEVICES |= {"Unavailable": "unavailable", "Unknown": "unknown", "On Hold": "on_hold", "Ring+Inuse": "ring_in_use"}


def read_queue_show(text: str) -> dict[str, Any]:
    queues: dict[str, Any] = {}
    for line in text.splitlines():
        if found := QUEUE_LINE.match(line):
            queue = queues[found["name"]] = {"strategy": found["strategy"], "callers": [], "members": {}}
        elif found := CALLER_LINE.match(line):
            queue["callers"].append(found["channel"])
        elif found := MEMBER_LINE.match(line):
            rest = re.findall(r"\(([^()]*)\)", line[found.end() :])
            taken = re.search(r"has taken (\d+) calls", line)
            queue["members"][found["interface"] or found["name"]] = {
                "name": found["name"],
                "penalty": int(found["penalty"] or 0),
                "paused": any(words.startswith("paused") for words in rest),
                "device": next(DEVICES[words] for words in rest if words in DEVICES),
                "calls_taken": int(taken[1]) if taken else 0,
            }
    return queues


# -- what the connector says ------------------------------------------------------------------------------------------


def shown(state: dict[str, Any]) -> dict[str, Any]:
    """The connector's state in the shape of `read_queue_show`."""
    keys = ("name", "penalty", "paused", "device", "calls_taken")
    return {
        queue["name"]: {
            "strategy": queue["strategy"],
            "callers": [caller["channel"] for caller in queue["callers"]],
            "members": {member["interface"]: {key: member[key] for key in keys} for member in queue["members"]},
        }
        for queue in state["queues"]
    }


async def counted(connector: ConnectorProcess) -> Counter[tuple[str, str]]:
    """Outcomes by queue, of the metrics: they keep those of a queue that is gone."""
    return Counter(
        {
            (of["queue"], of["outcome"]): int(value)
            for (name, labels), value in (await connector.metrics()).items()
            if name == "connector_queue_calls_total" and value
            for of in [dict(labels)]
        }
    )


async def total(connector: ConnectorProcess, name: str) -> float:
    return sum(value for (found, _), value in (await connector.metrics()).items() if found == name)


def settings(ami_port: int | None = None) -> dict[str, Any]:
    """Lists are read every 3 s, so that drift would be found."""
    pbx: dict[str, Any] = {"resync_interval_s": 3}
    return {"pbx": {"main": pbx if ami_port is None else {**pbx, "ami": {"port": ami_port}}}}


def connector_beside(pbx: LabAsterisk, ami_port: int | None = None) -> ConnectorProcess:
    http, rtp = pbx.ports.spare[:2]
    return ConnectorProcess(pbxs={"main": pbx}, bots={}, http_port=http, rtp_port=rtp, settings=settings(ami_port))


@asynccontextmanager
async def watched(connector: ConnectorProcess) -> AsyncIterator[None]:
    """Looks at the numbers all the time: nothing is ever negative, nothing counted is ever taken back."""
    faults: list[str] = []

    async def watch() -> None:
        before: dict[Any, float] = {}
        while True:
            now = await connector.metrics()
            for key, value in now.items():
                if key[0].startswith(("connector_queue", "connector_calls", "connector_channels")) and value < 0:
                    faults.append(f"{key} is {value}")
                if key[0].startswith("connector_") and key[0].endswith("_total") and value < before.get(key, 0):
                    faults.append(f"{key} went from {before[key]} to {value}")
            before = now
            await asyncio.sleep(0.05)

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()
        (result,) = await asyncio.gather(watcher, return_exceptions=True)
    assert isinstance(result, asyncio.CancelledError), repr(result)
    assert faults == []


async def settled(connector: ConnectorProcess) -> dict[str, Any]:
    """The state once the shift is over and the lists were read twice more: a suspect becomes drift with the second."""
    await connector.until(lambda pbx: pbx["calls"] == LEFT_WAITING, timeout_s=20.0)
    before = await connector.metric("connector_resyncs_total", pbx="main", cause="reconcile")
    deadline = time.monotonic() + 30.0
    while await connector.metric("connector_resyncs_total", pbx="main", cause="reconcile") < before + 3:
        assert time.monotonic() < deadline, "the lists are not read again"
        await asyncio.sleep(0.05)
    return await connector.pbx()


# -- the tests --------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(180)
async def test_every_count_is_that_of_queue_log(make_asterisk: Any) -> None:
    async with (
        make_asterisk(phones=2, conf=shift_conf(SECRET)) as pbx,
        connector_beside(pbx) as connector,
        watched(connector),
    ):
        shift = Shift(pbx, SECRET, Random(7))
        await shift.run()
        state = await settled(connector)
        truth = read_queue_log(pbx.queue_log.read_text("utf-8"))
        expected = outcomes_of(truth)
        assert shift.originated >= 300
        assert {outcome for _, outcome in expected} == {*ENDS.values(), *REFUSALS.values(), "redirected"}
        assert await counted(connector) == expected
        assert shown(state) == read_queue_show(await pbx.cli("queue show"))
        assert await total(connector, "connector_state_drift_total") == 0
        assert await total(connector, "connector_ami_malformed_total") == 0
        await check_waits(connector, truth)


async def check_waits(connector: ConnectorProcess, truth: list[Stay]) -> None:
    """The histogram of waits has every answered call, and its sum is queue_log's but for the fractions of seconds."""
    metrics = await connector.metrics()
    for queue, count in Counter(stay.queue for stay in truth if stay.outcome == "answered").items():
        labels = frozenset({"pbx": "main", "queue": queue, "answered": "yes"}.items())
        assert metrics["connector_queue_wait_seconds_count", labels] == count, queue
        waited_s = sum(stay.wait_s for stay in truth if (stay.queue, stay.outcome) == (queue, "answered"))
        assert metrics["connector_queue_wait_seconds_sum", labels] == pytest.approx(waited_s, abs=1.05 * count), queue


class Wire:
    """The line between the connector and AMI, which can be cut."""

    def __init__(self, port: int, target: int) -> None:
        self.cut_at = self.mended_at = 0.0
        """Seconds since the epoch; mended is when a connection came through again."""
        self._port, self._target = port, target
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)

    async def cut(self) -> None:
        assert self._server is not None
        self.cut_at, self.mended_at = time.time(), 0.0
        self._server.close()
        for writer in self._ends:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _carry(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
        self._ends |= {near, far}
        self.mended_at = self.mended_at or time.time()
        await asyncio.gather(_pump(near_reader, far), _pump(far_reader, near), return_exceptions=True)
        self._ends -= {near, far}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def wire(pbx: LabAsterisk) -> AsyncIterator[tuple[Wire, int]]:
    port = pbx.ports.spare[2]
    line = Wire(port, pbx.ami_port)
    await line.mend()
    try:
        yield line, port
    finally:
        await line.cut()


def bounds(truth: list[Stay], cut_at: float, mended_at: float) -> tuple[Counter[Any], Counter[Any], int, int]:
    """What can be known of the outcomes with a gap: at least, at most, and how many stays were seen at all.

    Whole seconds make it unclear on which side of the edge a stay belongs that began or ended in the second of an edge.
    """
    least, most = Counter[Any](), Counter[Any]()
    fewest, all_seen = 0, 0
    for stay in truth:
        if stay.ended is None:
            continue
        whole = (stay.began, stay.ended)
        surely = stay.ended < int(cut_at) - 1 or stay.began > mended_at + 2
        maybe = stay.ended <= cut_at + 1 or stay.ended >= int(mended_at) - 1
        inside = all(cut_at + 1 < at < int(mended_at) - 1 for at in whole)
        if surely:
            least[stay.queue, stay.outcome] += 1
            fewest += 1
        if maybe:
            most[stay.queue, stay.outcome] += 1
        if not inside:
            all_seen += 1
    return least, most, fewest, all_seen


@pytest.mark.timeout(240)
async def test_an_outage_in_the_middle_is_shown_and_what_was_heard_is_right(make_asterisk: Any) -> None:
    async with (
        make_asterisk(phones=2, conf=shift_conf(SECRET)) as pbx,
        wire(pbx) as (line, port),
        connector_beside(pbx, port) as connector,
        watched(connector),
    ):
        shift = asyncio.create_task(Shift(pbx, SECRET, Random(8), pace=2.2).run())
        try:
            await connector.until(lambda _: pbx.queue_log.read_text("utf-8").count("ENTERQUEUE") > 100, timeout_s=60)
            await line.cut()
            await connector.until(lambda state: state["links"]["ami"]["state"] == "down")
            await asyncio.wait({shift}, timeout=OUTAGE_S - (time.time() - line.cut_at))
            await line.mend()
            await connector.until(lambda state: state["links"]["ami"]["state"] == "up", timeout_s=45)
            await shift
        finally:
            shift.cancel()
            await asyncio.gather(shift, return_exceptions=True)
        state = await settled(connector)
        ami = state["links"]["ami"]
        assert ami["gaps"] == 1
        assert ami["gap_s"] == pytest.approx(line.mended_at - line.cut_at, abs=1.0)
        assert ami["gap_s"] >= OUTAGE_S
        truth = read_queue_log(pbx.queue_log.read_text("utf-8"))
        least, most, fewest, all_seen = bounds(truth, line.cut_at, line.mended_at)
        found = await counted(connector)
        heard = Counter({key: n for key, n in found.items() if key[1] != UNHEARD})
        assert least - heard == Counter(), "heard, and not counted"
        assert heard - most == Counter(), "counted, and not heard"
        assert fewest <= found.total() <= all_seen
        assert shown(state) == read_queue_show(await pbx.cli("queue show"))
        assert await total(connector, "connector_state_drift_total") == 0
