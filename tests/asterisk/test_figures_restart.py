"""Figures survive a restart: those of a connector that was away are those of one beside it that never was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import LabConf
from connector.lab.phone import Answer, Phone, RingForever
from connector.lab.process import ConnectorProcess
from connector.lab.useragent import HOST

MakeAsterisk = Callable[..., LabAsterisk]

QUICK = "timeout = 1\nretry = 1\nwrapuptime = 0"
COUNTS = ("answered", "abandoned", "timed_out", "unknown", "talks", "transfers", "rang_in_vain")
SECONDS = {"answer_wait_mean_s": 1.1, "abandon_wait_mean_s": 1.1, "talk_s": 3.5, "hold_s": 0.1, "ring_in_vain_s": 1.0}
"""How far they may differ: queue_log tells whole seconds, of the calls that ended while the one was away."""


def beside(pbx: LabAsterisk, app: str, ports: tuple[int, ...]) -> ConnectorProcess:
    main = {"queue_log": str(pbx.queue_log), "ari": {"app": app}}
    settings: dict[str, Any] = {"pbx": {"main": main}, "queue_default": {"wrap_up_seconds": 1}}
    return ConnectorProcess(pbxs={"main": pbx}, bots={}, http_port=ports[0], rtp_port=ports[1], settings=settings)


async def windows(connector: ConnectorProcess) -> dict[str, dict[str, Any]]:
    """Of today and the last hour: of the queue and of its agent."""
    queue = await connector.get("/api/v1/figures/queues/main/support")
    agents = await connector.get("/api/v1/figures/agents")
    found = {f"queue {name}": queue["figures"][name] for name in ("today", "m60")}
    for agent in agents["agents"]:
        found |= {f"{agent['agent']} {name}": agent["figures"][name] for name in ("today", "m60")}
    return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    found = [f"only one knows {sorted(one.keys() ^ other.keys())}"] if one.keys() != other.keys() else []
    for name in one.keys() & other.keys():
        mine, theirs = one[name], other[name]
        found += [
            f"{name} {key}: {mine[key]} and {theirs[key]}" for key in COUNTS if key in mine and mine[key] != theirs[key]
        ]
        found += [
            f"{name} {key}: {mine[key]} and {theirs[key]}"
            for key, off in SECONDS.items()
            if key in mine and abs((mine[key] or 0.0) - (theirs[key] or 0.0)) > off
        ]
    return found


async def until_same(one: ConnectorProcess, other: ConnectorProcess, *, calls: int) -> None:
    """Waits until both know of so many attempts, and agree."""
    last: list[str] = []
    try:
        async with asyncio.timeout(60):
            while True:
                mine, theirs = await windows(one), await windows(other)
                last = differences(mine, theirs)
                offered = mine["queue today"]["offered"], theirs["queue today"]["offered"]
                if not last and offered == (calls, calls):
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"{offered} offered; {last}") from None


async def test_a_connector_that_was_away_has_the_figures_of_one_that_was_not(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk(phones=1, conf=LabConf(queue_options=QUICK)) as pbx:
        server, spare = (HOST, pbx.sip_port), pbx.ports.spare
        restarted, witness = beside(pbx, "restarted", spare[0:2]), beside(pbx, "witness", spare[2:4])
        async with (
            Phone(0, "alice", server) as caller,
            Phone(pbx.ports.phones[0], "agent1", server) as agent,
            witness,
            restarted,
        ):
            talk = await (await caller.call("support")).wait_answered()
            await (await agent.next_call()).hold()
            await talk.rtp.wait_for_packets(100)
            await talk.hang_up()
            agent.on_invite = RingForever()
            await (await caller.call("support-timeout")).wait_ended(timeout_s=15)
            agent.on_invite = Answer()
            await until_same(restarted, witness, calls=2)

            # Over an orderly restart: one talks, one waits; one comes and goes.
            calls = sum(call.incoming for call in agent.calls.values())
            talk = await (await caller.call("support")).wait_answered()
            inside = await agent.next_call(after=calls)
            await talk.rtp.wait_for_packets(60)
            waiting = await caller.call("support")
            await pbx.until("queue show support", lambda text: "1. PJSIP" in text)
            await restarted.stop()
            await (await caller.call("support-timeout")).wait_ended(timeout_s=15)
            await restarted.start()
            await until_same(restarted, witness, calls=3 + 1)
            await waiting.hang_up()
            await inside.hang_up()
            await talk.wait_ended()
            await until_same(restarted, witness, calls=5)

            # Over a crash the talk ends unheard.
            talk = await (await caller.call("support")).wait_answered()
            await until_same(restarted, witness, calls=6)
            await restarted.kill()
            await talk.hang_up()
            await restarted.start()
            await until_same(restarted, witness, calls=6)
            await restarted.stop()
            await restarted.start()
            await until_same(restarted, witness, calls=6)
            assert (await windows(restarted))["queue today"]["unknown"] == 0
