"""The link to a real Asterisk under faults: a list cut in the middle, a crash with callers waiting, reloads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import LabConf
from connector.lab.process import ConnectorProcess
from connector.lab.shift_conf import shift_conf

MEMBERS = 300
BIG_QUEUE = "[big]\njoinempty = yes\n" + "".join(f"member => Local/{n}@agents/n,0,Member {n}\n" for n in range(MEMBERS))


def beside(pbx: LabAsterisk, **of_pbx: Any) -> ConnectorProcess:
    http, rtp = pbx.ports.spare[:2]
    settings = {"pbx": {"main": {"resync_interval_s": 3, **of_pbx}}}
    return ConnectorProcess(pbxs={"main": pbx}, bots={}, http_port=http, rtp_port=rtp, settings=settings)


def queue_of(state: dict[str, Any], name: str) -> dict[str, Any]:
    return next((queue for queue in state["queues"] if queue["name"] == name), {"callers": [], "members": []})


def waiting(state: dict[str, Any], name: str) -> int:
    return len(queue_of(state, name)["callers"])


@asynccontextmanager
async def cutting_relay(port: int, target: int, *, after: bytes, times: int) -> AsyncIterator[list[int]]:
    """Passes AMI on, but resets the first connections after a byte string; yields how much each had let through."""
    let_through: list[int] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far = await asyncio.open_connection("127.0.0.1", target)

        async def up() -> None:
            while data := await reader.read(65536):
                far.write(data)

        upward = asyncio.create_task(up())
        sent = b""
        try:
            while data := await far_reader.read(2048):
                sent = (sent + data)[-65536:]
                if len(let_through) < times and sent.count(after) > MEMBERS // 3:
                    let_through.append(sent.count(after))
                    break
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the other side was faster
        finally:
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)
            writer.transport.abort()
            far.transport.abort()

    server = await asyncio.start_server(carry, "127.0.0.1", port)
    try:
        yield let_through
    finally:
        server.close()


async def test_a_list_that_is_cut_in_the_middle_is_never_applied(make_asterisk: Any) -> None:
    async with make_asterisk(phones=1, conf=LabConf(append={"queues.conf": BIG_QUEUE})) as pbx:
        port = pbx.ports.spare[2]
        async with cutting_relay(port, pbx.ami_port, after=b"Event: QueueMember\r\n", times=2) as cuts:
            connector = beside(pbx, ami={"port": port})
            seen: set[int] = set()

            def whole(state: dict[str, Any]) -> bool:
                seen.add(len(queue_of(state, "big")["members"]))
                return MEMBERS in seen

            try:
                await connector.start(ready=False)
                state = await connector.until(whole, timeout_s=20)
                assert len(cuts) == 2
                assert seen <= {0, MEMBERS}
                assert state["links"]["ami"]["gaps"] == 2
                assert await connector.metric("connector_ami_malformed_total", pbx="main", cause="missing") == 0
            finally:
                await connector.stop()


async def test_a_crash_of_asterisk_with_callers_waiting(make_asterisk: Any) -> None:
    async with make_asterisk(phones=1, conf=shift_conf("not used")) as pbx, beside(pbx) as connector:
        for _ in range(3):
            await pbx.cli("channel originate Local/nobody@shift/n extension 99@shift-callers")
        await connector.until(lambda state: waiting(state, "nobody") == 3)
        await pbx.kill()
        state = await connector.until(lambda state: state["links"]["ami"]["state"] == "down")
        assert waiting(state, "nobody") == 3  # what was known last, with the age of the link beside it
        await pbx.start()
        state = await connector.until(
            lambda state: state["links"]["ami"]["state"] == "up" and waiting(state, "nobody") == 0, timeout_s=40
        )
        state = await connector.until(lambda state: state["calls"] == 0)
        outcomes = queue_of(state, "nobody")["outcomes"]
        assert {name: n for name, n in outcomes.items() if n} == {"unknown": 3}
        assert state["links"]["ami"]["gap_s"] > 0
        await pbx.cli("channel originate Local/nobody@shift/n extension 99@shift-callers")
        await connector.until(lambda state: waiting(state, "nobody") == 1)


@pytest.mark.parametrize("command", ["queue reload all", "core reload"])
async def test_a_queue_that_a_reload_makes_is_seen(make_asterisk: Any, command: str) -> None:
    """`queue reload` says nothing on AMI: an event that names the queue does, or the next reading of the lists."""
    async with make_asterisk(phones=1) as pbx, beside(pbx) as connector:
        path = pbx.folder / "etc" / "queues.conf"
        path.write_text(path.read_text("utf-8") + "\n[new one]\nmember => Local/answer@agents/n,3,Neu\n", "utf-8")
        await pbx.cli(command)
        state = await connector.until(lambda state: len(queue_of(state, "new one")["members"]) == 1)
        assert queue_of(state, "new one")["members"][0]["penalty"] == 3
        path.write_text(path.read_text("utf-8").replace("[new one]", "[newer]"), "utf-8")
        await pbx.cli(command)
        await connector.until(
            lambda state: {"newer"} == {"new one", "newer"} & {queue["name"] for queue in state["queues"]}
        )
        drift = {key: value for key, value in (await connector.metrics()).items() if "drift" in key[0] and value}
        assert drift == {}
