"""What Asterisk hides: queues whose names `queue show` does not print, pauses that a reload robs of their reason."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest_asyncio

from connector.lab.asterisk import LabAsterisk
from connector.lab.capture import AmiRecorder
from connector.lab.conf import LabConf
from connector.lab.phone import Answer, Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_nothing_left
from connector.lab.useragent import HOST
from tests.asterisk.conftest import MakeAsterisk, MakeConnector
from tests.asterisk.test_live_queue import drift, named

UTF8 = "Öl, Gas & Wärme 你好"
MEMBER = "PJSIP/agent1"
DOOMED = "[doomed]\njoinempty = yes\n"
QUEUES = f"[{UTF8}]\njoinempty = yes\nmember => {MEMBER},0,Zoë Ä/1\n"
EXTENSIONS = rf"""
[from-phones](+)
exten => utf8,1,Queue({UTF8.replace(",", chr(92) + ",")})
 same => n,Hangup()
exten => doomed,1,Answer()
 same => n,Queue(doomed)
 same => n,Hangup()
"""
DRIVER = "[driver]\nsecret = test\npermit = 127.0.0.1/255.255.255.255\nread = agent\nwrite = agent\n"


class Place:
    def __init__(self, pbx: LabAsterisk, connector: ConnectorProcess, caller: Phone, ami: AmiRecorder) -> None:
        self.pbx, self.connector, self.caller, self.ami = pbx, connector, caller, ami
        self._actions = 0

    async def get(self, path: str) -> Any:
        return await self.connector.get(f"/api/v1{path}")

    async def kept(self, queue: str) -> list[Any]:
        """The visits of history, once there is one."""
        async with asyncio.timeout(30):
            while not (calls := (await self.get(f"/history/calls?queue={quote(queue)}"))["calls"]):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        visits: list[Any] = calls[0]["visits"]
        return visits

    async def ask(self, action: str, **fields: str) -> list[dict[str, str]]:
        self._actions += 1
        return await self.ami.ask(action, ActionID=f"driver-{self._actions}", **fields)

    async def compared(self, times: int = 3) -> None:
        """Waits until the lists were compared so often: a suspect becomes drift with the second."""
        before = await self.connector.metric("connector_resyncs_total", pbx="main", cause="reconcile")
        await self.connector.until_metric(
            "connector_resyncs_total", lambda n: n >= before + times, timeout_s=60, pbx="main", cause="reconcile"
        )

    async def reload(self, old: str, new: str) -> None:
        """Reloads a queues.conf that has changed: one that has not is passed over."""
        path = self.pbx.folder / "etc" / "queues.conf"
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")
        await self.pbx.cli("queue reload all")


@pytest_asyncio.fixture(loop_scope="session")
async def place(make_asterisk: MakeAsterisk, make_connector: MakeConnector) -> AsyncIterator[Place]:
    conf = LabConf(agents=0, extensions=EXTENSIONS, append={"queues.conf": QUEUES + DOOMED, "manager.conf": DRIVER})
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(make_asterisk(phones=1, conf=conf))
        server = (HOST, pbx.sip_port)
        agent = await stack.enter_async_context(Phone(pbx.ports.phones[0], "agent1", server))
        agent.on_invite = Answer()
        caller = await stack.enter_async_context(Phone(0, "alice", server))
        connector = await stack.enter_async_context(
            make_connector(beside=pbx, bots={}, pbx={"main": {"resync_interval_s": 1}})
        )
        ami = await AmiRecorder.connect(pbx.ami_port, "driver", "test")
        stack.push_async_callback(ami.close)
        yield Place(pbx, connector, caller, ami)


async def test_a_queue_name_is_the_same_from_end_to_end(place: Place) -> None:
    call = await (await place.caller.call("utf8")).wait_answered()
    await place.connector.until(lambda pbx: named(pbx, UTF8)["outcomes"]["answered"] == 1)
    await call.rtp.wait_for_packets(30)
    await call.hang_up()
    await until_nothing_left(place.pbx)
    await place.compared()
    theirs = {m["Queue"]: m for m in await place.ask("QueueStatus") if m.get("Event") == "QueueParams"}
    members = [m for m in await place.ask("QueueStatus", Queue=UTF8) if m.get("Event") == "QueueMember"]
    state = await place.connector.pbx()
    assert {queue["name"] for queue in state["queues"]} == set(theirs)
    assert theirs[UTF8]["Completed"] == "1"
    assert [(m["Location"], m["Name"], m["CallsTaken"]) for m in members] == [(MEMBER, "Zoë Ä/1", "1")]
    assert [(m["interface"], m["name"], m["calls_taken"]) for m in named(state, UTF8)["members"]] == [
        (MEMBER, "Zoë Ä/1", 1)
    ]
    assert await place.connector.metric("connector_queue_calls_total", pbx="main", queue=UTF8, outcome="answered") == 1
    assert (await place.get(f"/queues/main/{quote(UTF8, safe='')}"))["queue"]["queue"] == UTF8
    figures = await place.get(f"/figures/queues/main/{quote(UTF8, safe='')}")
    assert figures["figures"]["today"]["answered"] == 1
    assert [visit["queue"] for visit in await place.kept(UTF8)] == [UTF8]
    assert await drift(place.connector) == {}


async def test_looking_at_the_lists_while_somebody_waits_in_a_deleted_queue_is_no_drift(place: Place) -> None:
    call = await (await place.caller.call("doomed")).wait_answered()
    await place.connector.until(lambda pbx: len(named(pbx, "doomed")["callers"]) == 1)
    await place.reload(DOOMED, "")
    assert not [m for m in await place.ask("QueueStatus") if m.get("Queue") == "doomed"], "it is in no list"
    await place.connector.until(lambda pbx: "doomed" not in {queue["name"] for queue in pbx["queues"]}, timeout_s=30)
    await place.compared()
    assert "1 active channel" in await place.pbx.cli("core show channels count"), "the caller is still there"
    await call.hang_up()
    await until_nothing_left(place.pbx)
    await place.connector.until_metric(
        "connector_queue_calls_total", lambda value: value == 1, pbx="main", queue="doomed", outcome="abandoned"
    )
    await place.compared()
    assert await drift(place.connector) == {}
    assert [visit["outcome"] for visit in await place.kept("doomed")] == ["abandoned"]


async def test_a_pause_keeps_its_reason_over_a_reload_that_makes_asterisk_forget_it(place: Place) -> None:
    async def listed() -> tuple[str, str]:
        (member,) = [m for m in await place.ask("QueueStatus", Queue=UTF8) if m.get("Event") == "QueueMember"]
        return member["Paused"], member["PausedReason"]

    async def paused(reason: str) -> None:
        await place.connector.until(
            lambda pbx: [m["pause_reason"] for m in named(pbx, UTF8)["members"] if m["paused"]] == [reason]
        )

    await place.ask("QueuePause", Interface=MEMBER, Paused="true", Reason="Café ☕")
    await paused("Café ☕")
    await place.reload(f"[{UTF8}]\n", f"[{UTF8}]\nweight = 1\n")
    assert await listed() == ("1", "")
    await place.compared()
    await paused("Café ☕")
    await place.ask("QueuePenalty", Interface=MEMBER, Penalty="3")  # tells the member anew
    await place.connector.until(lambda pbx: [m["penalty"] for m in named(pbx, UTF8)["members"]] == [3])
    await paused("Café ☕")
    await place.ask("QueuePause", Interface=MEMBER, Paused="false")
    await place.connector.until(lambda pbx: not any(m["paused"] for m in named(pbx, UTF8)["members"]))
    assert await drift(place.connector) == {}
