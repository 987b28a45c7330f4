"""What a PBX does to its queues while people wait in them: reloads, deletions, odd names, one member in ten queues."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest_asyncio

from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import LabConf
from connector.lab.facts import queue_log_counts
from connector.lab.phone import Answer, Phone, RingForever
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_nothing_left, until_queues_agree
from connector.lab.useragent import HOST
from tests.asterisk.conftest import MakeAsterisk, MakeConnector
from tests.asterisk.test_live_queue import QUEUE_LOG, drift, named

ODD = "Gas & Oil/EU 1"  # queue show prints no line for a queue whose name is not ASCII (16 and 22)
TEN = [*(f"ten{number}" for number in range(9)), ODD]
MEMBER = "member => PJSIP/agent1,0,Zoë Ä/1\n"
QUEUES = "".join(f"[{name}]\njoinempty = yes\ntimeout = 2\nretry = 1\n{MEMBER}" for name in TEN)
DOOMED = "[doomed]\njoinempty = yes\n"
EXTENSIONS = f"""
[from-phones](+)
exten => odd,1,Queue({ODD})
 same => n,Hangup()
exten => ten,1,Queue(ten3)
 same => n,Hangup()
exten => doomed,1,Answer()
 same => n,Queue(doomed)
 same => n,Hangup()
"""


class Place:
    def __init__(self, pbx: LabAsterisk, connector: ConnectorProcess, caller: Phone, agent: Phone) -> None:
        self.pbx, self.connector, self.caller, self.agent = pbx, connector, caller, agent

    async def get(self, path: str) -> Any:
        async with aiohttp.ClientSession() as http, http.get(f"{self.connector.url}/api/v1{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(make_asterisk: MakeAsterisk, make_connector: MakeConnector) -> AsyncIterator[Place]:
    conf = LabConf(agents=0, extensions=EXTENSIONS, append={"queues.conf": QUEUES + DOOMED})
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(make_asterisk(phones=1, conf=conf))
        server = (HOST, pbx.sip_port)
        agent = await stack.enter_async_context(Phone(pbx.ports.phones[0], "agent1", server))
        caller = await stack.enter_async_context(Phone(0, "alice", server))
        connector = await stack.enter_async_context(make_connector(beside=pbx, bots={}))
        yield Place(pbx, connector, caller, agent)


async def test_a_member_of_ten_queues_with_odd_names_is_one_person(place: Place) -> None:
    await until_queues_agree(place.pbx, place.connector)
    place.agent.on_invite = Answer()
    call = await (await place.caller.call("odd")).wait_answered()
    await place.connector.until(lambda pbx: named(pbx, ODD)["outcomes"]["answered"] == 1)
    (agent,) = (await place.get("/agents?state=on_call"))["agents"]
    assert (agent["name"], sorted(agent["queues"])) == ("Zoë Ä/1", sorted(TEN))
    whole = await place.get(f"/queues/main/{quote(ODD, safe='')}")
    assert [member["name"] for member in whole["members"]] == ["Zoë Ä/1"]
    await call.rtp.wait_for_packets(60)
    await call.hang_up()
    await until_nothing_left(place.pbx)
    await until_queues_agree(place.pbx, place.connector)
    figures = await place.get(f"/figures/agents/main/{quote(agent['agent'], safe='')}")
    assert figures["figures"]["today"]["talks"] == 1
    assert await place.connector.metric("connector_queue_calls_total", pbx="main", queue=ODD, outcome="answered") == 1
    assert await drift(place.connector) == {}


async def test_reloads_under_load_lose_and_invent_nothing(place: Place) -> None:
    place.agent.on_invite = RingForever()
    reloading = asyncio.create_task(_reload_again_and_again(place.pbx))
    waiting = []
    for number in range(12):
        waiting.append(await place.caller.call("ten" if number % 2 else "odd"))
        if number % 3 == 2:
            await waiting.pop(0).hang_up()
    for call in waiting:
        await call.hang_up()
    reloading.cancel()
    await asyncio.gather(reloading, return_exceptions=True)
    await until_nothing_left(place.pbx)
    await until_queues_agree(place.pbx, place.connector)
    assert await drift(place.connector) == {}
    log = queue_log_counts(place.pbx.queue_log.read_text("utf-8"))
    for name in TEN:
        outcomes = named(await place.connector.pbx(), name)["outcomes"]
        theirs = {ours: log.get(name, {}).get(event, 0) for event, ours in QUEUE_LOG.items()}
        assert {ours: outcomes[ours] for ours in theirs} == theirs, name


async def _reload_again_and_again(pbx: LabAsterisk) -> None:
    while True:
        await pbx.cli("queue reload all")


async def test_a_queue_that_is_deleted_while_somebody_waits_ends_with_the_last_of_them(place: Place) -> None:
    call = await (await place.caller.call("doomed")).wait_answered()
    await place.connector.until(lambda pbx: len(named(pbx, "doomed")["callers"]) == 1)
    path = place.pbx.folder / "etc" / "queues.conf"
    path.write_text(path.read_text("utf-8").replace(DOOMED, ""), "utf-8")
    await place.pbx.cli("queue reload all")
    assert "doomed" not in await place.pbx.cli("queue show"), "Asterisk shows it no more, though somebody waits in it"
    assert len(named(await place.connector.pbx(), "doomed")["callers"]) == 1
    await call.hang_up()
    await until_nothing_left(place.pbx)
    await place.pbx.cli("module reload app_queue.so")  # announced, so the lists are read again at once
    await place.connector.until(lambda pbx: "doomed" not in {queue["name"] for queue in pbx["queues"]}, timeout_s=30)
    await until_queues_agree(place.pbx, place.connector)
    counted = await place.connector.metric(
        "connector_queue_calls_total", pbx="main", queue="doomed", outcome="abandoned"
    )
    assert counted == 1, "what happened in it stays counted"
    assert await drift(place.connector) == {}
