"""Queues live: at every quiet moment the connector shows what `queue show` does, and counts what queue_log does."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio

from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.conf import LabConf
from connector.lab.facts import parse_queue_show, queue_log_counts
from connector.lab.phone import Answer, CallFailed, Phone, Reject, RingForever
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_nothing_left, until_queues_agree
from connector.lab.useragent import HOST

EXTENSIONS = """
[from-phones](+)
; nobody has to be there, and waiting has an end
exten => closing,1,Queue(closing)
 same => n,Hangup()
"""
QUEUES = """
[closing]
leavewhenempty = yes
joinempty = yes
timeout = 1
"""

QUEUE_LOG = {
    "CONNECT": "answered",
    "ABANDON": "abandoned",
    "EXITWITHTIMEOUT": "timed_out",
    "EXITWITHKEY": "key_exit",
    "EXITEMPTY": "left_empty",
}
"""Asterisk's words for how a stay ended, and ours."""


class Floor:
    """A contact centre: one Asterisk of its own, two agents, one caller, the connector beside it."""

    def __init__(self, pbx: LabAsterisk, connector: ConnectorProcess, caller: Phone, agents: list[Phone]) -> None:
        self.pbx, self.connector, self.caller, self.agents = pbx, connector, caller, agents

    async def quiet(self) -> None:
        """Nothing is under way any more: compares."""
        await until_queues_agree(self.pbx, self.connector)
        assert await drift(self.connector) == {}

    def incoming(self, agent: Phone) -> int:
        return sum(call.incoming for call in agent.calls.values())

    def on_invite(self, *what: Answer | Reject | RingForever) -> None:
        for agent, each in zip(self.agents, what, strict=True):
            agent.on_invite = each

    async def waiting(self, queue: str, count: int) -> dict[str, Any]:
        return await self.connector.until(lambda pbx: len(named(pbx, queue)["callers"]) == count)

    async def outcome(self, queue: str, outcome: str, count: int) -> None:
        await self.connector.until(lambda pbx: named(pbx, queue)["outcomes"][outcome] == count)


def named(pbx: dict[str, Any], queue: str) -> dict[str, Any]:
    """One queue of the connector's state."""
    found: dict[str, Any] = next(each for each in pbx["queues"] if each["name"] == queue)
    return found


def member(pbx: dict[str, Any], queue: str, interface: str) -> dict[str, Any] | None:
    """One member of the connector's state, None if there is none."""
    return next((each for each in named(pbx, queue)["members"] if each["interface"] == interface), None)


async def drift(connector: ConnectorProcess) -> dict[str, float]:
    """Where a snapshot proved the connector's state wrong, by kind."""
    metrics = await connector.metrics()
    return {
        dict(labels)["kind"]: value
        for (name, labels), value in metrics.items()
        if name == "connector_state_drift_total" and value
    }


@pytest_asyncio.fixture(loop_scope="session")
async def floor(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess]
) -> AsyncIterator[Floor]:
    conf = LabConf(
        queue_options="timeout = 1\nretry = 1\nwrapuptime = 0",
        extensions=EXTENSIONS,
        append={"queues.conf": QUEUES},
    )
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(make_asterisk(phones=2, conf=conf))
        server = (HOST, pbx.sip_port)
        agents = [
            await stack.enter_async_context(Phone(port, f"agent{number}", server))
            for number, port in enumerate(pbx.ports.phones, start=1)
        ]
        caller = await stack.enter_async_context(Phone(0, "alice", server))
        connector = await stack.enter_async_context(make_connector(beside=pbx, bots={}))
        yield Floor(pbx, connector, caller, agents)


async def test_a_shift(floor: Floor) -> None:
    """One story, since every step is compared and the counts add up."""
    await floor.quiet()
    await answered_calls(floor)
    await callers_who_leave(floor)
    await members_who_change(floor)
    await a_reload(floor)
    await the_counts(floor)


async def answered_calls(floor: Floor) -> None:
    floor.on_invite(Answer(), RingForever())
    first = await floor.caller.call("support")
    await first.wait_answered()
    await floor.outcome("support", "answered", 1)
    await floor.quiet()
    # Both agents are kept busy, so the next two callers wait, in order.
    floor.on_invite(RingForever(), Answer())
    second = await (await floor.caller.call("support")).wait_answered()
    floor.on_invite(RingForever(), RingForever())
    waiting: list[Call] = []
    for count in (1, 2):
        waiting.append(await floor.caller.call("support"))
        state = await floor.waiting("support", count)
    assert [caller["position"] for caller in named(state, "support")["callers"]] == [1, 2]
    assert {caller["number"] for caller in named(state, "support")["callers"]} == {"alice"}
    assert {each["device"] for each in named(state, "support")["members"]} == {"in_use"}
    await floor.quiet()
    # The first agent gets free and takes who waited longest.
    floor.on_invite(Answer(), RingForever())
    await first.hang_up()
    await waiting[0].wait_answered()
    await floor.waiting("support", 1)
    await floor.quiet()
    for call in (waiting[0], second):
        floor.on_invite(RingForever(), RingForever())
        await call.hang_up()
    await waiting[1].hang_up()
    await floor.outcome("support", "abandoned", 1)
    await until_nothing_left(floor.pbx)
    await floor.quiet()


async def callers_who_leave(floor: Floor) -> None:
    floor.on_invite(RingForever(), RingForever())
    timed_out = await floor.caller.call("support-timeout")
    await floor.outcome("support", "timed_out", 1)
    await timed_out.wait_ended()
    await floor.quiet()

    given_up = await floor.caller.call("support")
    await floor.waiting("support", 1)
    await given_up.hang_up()
    await floor.outcome("support", "abandoned", 2)
    await until_nothing_left(floor.pbx)
    await floor.quiet()

    refused = await floor.caller.call("support-empty")
    await refused.wait_ended()
    await floor.outcome("empty", "join_empty", 1)
    await floor.quiet()

    by_key = await (await floor.caller.call("support-keyed")).wait_answered()
    await floor.waiting("keyed", 1)
    await floor.quiet()
    await by_key.send_digits("1")
    await floor.outcome("keyed", "key_exit", 1)
    await by_key.wait_ended()
    await floor.quiet()

    await floor.pbx.cli("queue add member Local/busy@agents/n to closing")
    left = await floor.caller.call("closing")
    await floor.waiting("closing", 1)
    await floor.pbx.cli("queue remove member Local/busy@agents/n from closing")
    with contextlib.suppress(CallFailed):
        await left.wait_answered(timeout_s=5)
    await left.wait_ended()
    await floor.outcome("closing", "left_empty", 1)
    await until_nothing_left(floor.pbx)
    await floor.quiet()


async def members_who_change(floor: Floor) -> None:
    connector, cli = floor.connector, floor.pbx.cli
    await cli("queue pause member PJSIP/agent1 queue support reason Lunch")
    state = await connector.until(lambda pbx: bool((member(pbx, "support", "PJSIP/agent1") or {})["paused"]))
    assert (member(state, "support", "PJSIP/agent1") or {})["pause_reason"] == "Lunch"
    await floor.quiet()
    # Nobody rings an agent who is paused.
    rung = floor.incoming(floor.agents[0])
    floor.on_invite(Answer(), Answer())
    call = await (await floor.caller.call("support")).wait_answered()
    assert floor.incoming(floor.agents[0]) == rung
    await call.hang_up()
    await floor.outcome("support", "answered", 4)
    await until_nothing_left(floor.pbx)
    await cli("queue unpause member PJSIP/agent1 queue support")
    state = await connector.until(lambda pbx: not (member(pbx, "support", "PJSIP/agent1") or {})["paused"])
    assert (member(state, "support", "PJSIP/agent1") or {})["pause_reason"] == ""
    await floor.quiet()

    interface = "Local/answer@agents/n"
    await cli(f'queue add member {interface} to support penalty 3 as "Zoë, temporary"')
    state = await connector.until(lambda pbx: member(pbx, "support", interface) is not None)
    added = member(state, "support", interface) or {}
    assert (added["name"], added["membership"], added["penalty"]) == ("Zoë, temporary", "dynamic", 3)
    await floor.quiet()
    await cli(f"queue set penalty 1 on {interface} in support")
    await connector.until(lambda pbx: (member(pbx, "support", interface) or {})["penalty"] == 1)
    await cli(f"queue remove member {interface} from support")
    await connector.until(lambda pbx: member(pbx, "support", interface) is None)
    await floor.quiet()


async def a_reload(floor: Floor) -> None:
    """Who waits goes on waiting."""
    floor.on_invite(RingForever(), RingForever())
    call = await (await floor.caller.call("support-keyed")).wait_answered()
    await floor.waiting("keyed", 1)
    await floor.pbx.cli("queue reload all")
    await floor.quiet()
    assert len(named(await floor.connector.pbx(), "keyed")["callers"]) == 1
    await call.hang_up()
    await floor.outcome("keyed", "abandoned", 1)
    await until_nothing_left(floor.pbx)
    await floor.quiet()


async def the_counts(floor: Floor) -> None:
    log = queue_log_counts(floor.pbx.queue_log.read_text("utf-8"))
    for queue in (await floor.connector.pbx())["queues"]:
        theirs = log.get(queue["name"], {})
        counted = {ours: theirs.get(event, 0) for event, ours in QUEUE_LOG.items()}
        assert {outcome: queue["outcomes"][outcome] for outcome in counted} == counted, queue["name"]
        others = {name: n for name, n in queue["outcomes"].items() if name not in counted and n}
        # A caller who was refused has no line in queue_log at all.
        assert others == ({"join_empty": 1} if queue["name"] == "empty" else {})
        assert sum(counted.values()) == theirs.get("ENTERQUEUE", 0)
    assert {"answered": 4, "abandoned": 2, "timed_out": 1}.items() <= named(await floor.connector.pbx(), "support")[
        "outcomes"
    ].items()
    completed = parse_queue_show(await floor.pbx.cli("queue show"))["support"]["completed"]
    assert completed <= 4, "a reload resets Asterisk's own counts, and never ours"


async def test_a_connector_that_comes_late_sees_what_is_there(
    floor: Floor, make_connector: Callable[..., ConnectorProcess]
) -> None:
    floor.on_invite(Answer(), RingForever())
    talking = await (await floor.caller.call("support")).wait_answered()
    waiting = await (await floor.caller.call("support-keyed")).wait_answered()
    await floor.pbx.cli("queue pause member PJSIP/agent2 queue support reason Lunch")
    await floor.quiet()
    await floor.connector.stop()
    await floor.connector.start()
    await floor.quiet()
    assert (member(await floor.connector.pbx(), "support", "PJSIP/agent2") or {})["pause_reason"] == "Lunch"
    assert (await floor.connector.pbx())["calls"] == 2
    await talking.hang_up()
    await waiting.hang_up()
    await floor.outcome("keyed", "abandoned", 1)
    await until_nothing_left(floor.pbx)
    await floor.quiet()


async def test_what_a_reload_changed_is_found_though_asterisk_announces_nothing(floor: Floor) -> None:
    await floor.connector.stop()
    floor.connector.settings["pbx"]["main"]["resync_interval_s"] = 1
    await floor.connector.start()
    await floor.quiet()
    path = floor.pbx.folder / "etc" / "queues.conf"
    before = path.read_text("utf-8")
    late = "member => Local/busy@agents/n,2,Late"
    path.write_text(before.replace("[keyed]", f"[keyed]\n{late}") + f"\n[fresh]\n{late}\n", "utf-8")
    await floor.pbx.cli("queue reload all")
    await until_queues_agree(floor.pbx, floor.connector)
    assert (member(await floor.connector.pbx(), "keyed", "Local/busy@agents/n") or {})["name"] == "Late"
    path.write_text(before, "utf-8")
    await floor.pbx.cli("queue reload all")
    await until_queues_agree(floor.pbx, floor.connector)
    assert "fresh" not in {queue["name"] for queue in (await floor.connector.pbx())["queues"]}
    assert await floor.connector.metric("connector_resyncs_total", pbx="main", cause="reconcile") > 0
