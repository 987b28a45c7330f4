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
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import pytest

from connector.lab.asterisk import LabAsterisk
from connector.lab.process import ConnectorProcess
from connector.lab.shift import LEFT_WAITING, Shift
from connector.lab.shift_conf import DYNAMIC, shift_conf
from tests.asterisk.shift_truth import ENDS, REFUSALS, Account, Kept, Of, Pause, interfaces_of, of_queue_log, pauses_of

SECRET = "of-the-script"  # of an Asterisk on loopback that lives for a minute

# Hundreds of calls in real time, counted to the last one: a machine that stands still twice in a minute is no fault.
pytestmark = pytest.mark.flaky(reruns=2)

OUTAGE_S = 20.0
DYNAMIC_NAME = "Aushilfe, 2. Stock"

OUTCOMES = (*ENDS.values(), *REFUSALS.values(), "redirected")
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


def settings(ami_port: int | None = None, **of_pbx: Any) -> dict[str, Any]:
    """Lists are read every 3 s, so that drift would be found."""
    pbx: dict[str, Any] = {"resync_interval_s": 3, **of_pbx}
    return {"pbx": {"main": pbx if ami_port is None else {**pbx, "ami": {"port": ami_port}}}}


def connector_beside(pbx: LabAsterisk, ami_port: int | None = None, **of_pbx: Any) -> ConnectorProcess:
    http, rtp = pbx.ports.spare[:2]
    given = settings(ami_port, **of_pbx)
    return ConnectorProcess(pbxs={"main": pbx}, bots={}, http_port=http, rtp_port=rtp, settings=given)


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
        conf = (pbx.folder / "etc" / "queues.conf").read_text("utf-8")
        members = interfaces_of(conf, **{DYNAMIC_NAME: DYNAMIC})
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
        log = pbx.queue_log.read_text("utf-8")
        account = of_queue_log(log, members)
        assert account.outcomes == expected
        assert sum(account.transfers.values()) >= 2
        assert sum(account.rang.values()) >= 20
        await check_figures(connector, account)
        kept = Kept(Path(connector.settings["store"]["directory"]) / "history.sqlite")
        await until_written(kept, len(account.paths))
        mine = kept.account()
        assert mine.outcomes == account.outcomes
        assert mine.paths == account.paths
        check_account(mine, account)
        check_pauses(kept, pauses_of(log, members))
        # One record a caller, over requeues, overflows and transfers.
        assert kept.rows("SELECT count(DISTINCT call_key) FROM visits") == [(len(account.paths),)]
        assert kept.rows("SELECT uniqueid FROM visits GROUP BY uniqueid HAVING count(DISTINCT call_key) > 1") == []
        assert kept.rows("SELECT count(*) FROM calls WHERE recovered") == [(0,)]


async def until_written(kept: Kept, callers: int) -> None:
    """Waits until all calls that came to a queue are in history."""
    found = -1
    try:
        async with asyncio.timeout(30):
            while found != callers:
                await asyncio.sleep(0.1)
                found = len(kept.rows("SELECT DISTINCT uniqueid FROM visits"))
    except TimeoutError:
        raise AssertionError(f"{found} callers are in history, {callers} in queue_log") from None


def near(counts: Counter[Any]) -> Any:
    """What sums of seconds may be, where queue_log has whole ones: by how many were summed."""
    return lambda key: pytest.approx(0, abs=1.05 * counts[key] + 0.1)


def check_account(mine: Account, truth: Account) -> None:
    """By queue and agent: answers, conversations and their time, transfers, phones that rang in vain, waits."""
    for what in ("answered", "rang", "talks", "transfers"):
        assert +getattr(mine, what) == +getattr(truth, what), what
    for who in truth.talk_s:
        assert mine.talk_s[who] - truth.talk_s[who] == near(truth.talks)(who), who
    for key in truth.wait_s:
        assert mine.wait_s[key] - truth.wait_s[key] == near(truth.outcomes)(key), key


async def todays(connector: ConnectorProcess, of: str) -> dict[str, Any]:
    """The figures of today of all queues or agents."""
    page: str | None = ""
    found: dict[str, Any] = {}
    while page is not None:
        part = await connector.get(f"/api/v1/figures/{of}?limit=50&after={quote(page)}")
        found |= {each[of[:-1]]: each["figures"]["today"] for each in part[of]}
        page = part["next"] or None
    return found


async def check_figures(connector: ConnectorProcess, truth: Account) -> None:
    """The figures of today, of all queues and people that are still there."""
    queues = await todays(connector, "queues")
    assert len(queues) > 20
    for name, today in queues.items():
        assert {o: today[o] for o in (*OUTCOMES, "unknown")} == {
            **{o: truth.outcomes[name, o] for o in OUTCOMES},
            "unknown": 0,
        }, name
        of_queue = {
            what: sum(n for (queue, _), n in getattr(truth, what).items() if queue == name)
            for what in ("rang", "talks", "transfers", "talk_s")
        }
        assert today["rang_in_vain"] == of_queue["rang"], name
        assert today["talks"] == of_queue["talks"], name
        assert today["transfers"] == of_queue["transfers"], name
        assert today["talk_s"] == pytest.approx(of_queue["talk_s"], abs=1.05 * of_queue["talks"] + 0.1), name
    agents = await todays(connector, "agents")
    assert len(agents) > 20
    for interface, today in agents.items():
        of_agent = {
            what: sum(n for (_, agent), n in getattr(truth, what).items() if agent == interface)
            for what in ("answered", "rang", "talks", "transfers", "talk_s")
        }
        assert today["answered"] == of_agent["answered"], interface
        assert today["rang_in_vain"] == of_agent["rang"], interface
        assert today["talks"] == of_agent["talks"], interface
        assert today["transfers"] == of_agent["transfers"], interface
        assert today["talk_s"] == pytest.approx(of_agent["talk_s"], abs=1.05 * of_agent["talks"] + 0.1), interface


def check_pauses(kept: Kept, pauses: list[Pause]) -> None:
    """Each pause that is kept is one of queue_log's, with its reason; nobody paused was called available meanwhile."""
    intervals = kept.rows("SELECT agent, state, reason, started_at, ended_at FROM agent_intervals")
    of_those = {pause.interface for pause in pauses}
    for agent, state, reason, begin, end in intervals:
        if agent not in of_those:
            continue
        around = [p for p in pauses if p.interface == agent and p.begin <= begin + 0.01 and end <= p.end + 1.1]
        if state == "paused":
            assert reason in {p.reason for p in around}, (agent, reason, begin, end)
        elif state == "available":
            assert not [p for p in around if begin > p.begin + 1.1 and end < p.end], (agent, begin, end)
    assert len({pause.reason for pause in pauses}) >= 3
    assert any(state == "paused" and reason == "Café ☕" for _, state, reason, _, _ in intervals) or all(
        pause.reason != "Café ☕" for pause in pauses
    )


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


def as_queue_log_alone_tells(outcomes: Of) -> Of:
    """Without what the shift's dialplan adds to it: refusals, and which of the abandoned were redirected."""
    found: Of = Counter()
    for (queue, outcome), count in outcomes.items():
        if outcome not in REFUSALS.values():
            found[queue, "abandoned" if outcome == "redirected" else outcome] += count
    return found


@pytest.mark.timeout(240)
async def test_an_outage_in_the_middle_is_shown_and_filled(make_asterisk: Any) -> None:
    """What was heard is right at once, what was not comes from queue_log: then every count is its."""
    async with (
        make_asterisk(phones=2, conf=shift_conf(SECRET)) as pbx,
        wire(pbx) as (line, port),
        connector_beside(pbx, port, queue_log=str(pbx.queue_log)) as connector,
        watched(connector),
    ):
        members = interfaces_of((pbx.folder / "etc" / "queues.conf").read_text("utf-8"), **{DYNAMIC_NAME: DYNAMIC})
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
        assert shown(state) == read_queue_show(await pbx.cli("queue show"))
        assert await total(connector, "connector_state_drift_total") == 0

        log = pbx.queue_log.read_text("utf-8")
        truth = of_queue_log(log, members)
        expected = as_queue_log_alone_tells(truth.outcomes)
        kept = Kept(Path(connector.settings["store"]["directory"]) / "history.sqlite")
        await until_filled(kept, expected)
        mine = kept.account(members)  # who is a member no more is known by the name in queue_log
        for queue, outcome in mine.outcomes.keys() | truth.outcomes.keys():
            if outcome in (*REFUSALS.values(), "redirected"):  # queue_log has neither: those of the gap are not known
                assert mine.outcomes[queue, outcome] <= truth.outcomes[queue, outcome], (queue, outcome)
        assert +mine.answered == +truth.answered
        assert +mine.talks == +truth.talks
        assert +mine.transfers == +truth.transfers
        assert +mine.rang == +truth.rang
        for who in truth.talk_s:
            assert mine.talk_s[who] - truth.talk_s[who] == near(truth.talks)(who), who
        assert kept.rows("SELECT uniqueid FROM visits GROUP BY uniqueid HAVING count(DISTINCT call_key) > 1") == []
        recovered = kept.rows("SELECT count(*) FROM calls WHERE recovered")[0][0]
        gone_by = {call: at for at, call in ends_of(log)}
        unheard = {call for call, at in gone_by.items() if line.cut_at + 1 < at < line.mended_at - 1}
        assert recovered >= len(unheard) > 20
        assert await connector.metric("connector_history_calls_recovered_total", pbx="main") >= recovered
        await check_figures_over_a_gap(connector, expected)


async def until_filled(kept: Kept, expected: Of) -> None:
    """Waits until history has the outcomes of queue_log: calls that were not over are looked for every 30 s."""
    differ: Any = None
    try:
        async with asyncio.timeout(70):
            while differ is None or differ[0] or differ[1]:
                await asyncio.sleep(0.2)
                found = as_queue_log_alone_tells(kept.account().outcomes)
                differ = +(found - expected), +(expected - found)
    except TimeoutError:
        raise AssertionError(f"too many and too few in history: {differ}") from None


def ends_of(log: str) -> list[tuple[int, str]]:
    """When each caller's stay ended that did so without an answer."""
    fields = (line.split("|") for line in log.splitlines())
    return [(int(at), call) for at, call, _, _, event, *_ in fields if event in ENDS and event != "CONNECT"]


async def check_figures_over_a_gap(connector: ConnectorProcess, expected: Of) -> None:
    """The figures of today, of the queues that are still there."""
    for name, today in (await todays(connector, "queues")).items():
        mine = as_queue_log_alone_tells(Counter({(name, o): today[o] for o in OUTCOMES}))
        assert +mine == Counter({key: n for key, n in expected.items() if key[0] == name}), name
        assert today["unknown"] == 0, name
