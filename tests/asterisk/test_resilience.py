"""Processes are killed and connections cut during calls: callers are not left alone, and the next call works."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from connector.lab import echo_bot
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, until_heard, until_nothing_left
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.relay import TcpRelay
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

CALLER_HZ, BOT_HZ = 1000, 600
REMOTE = "remote_talk"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(make_connector: Callable[..., ConnectorProcess], bot: RecordingBot) -> AsyncIterator[Any]:
    async with (
        echo_bot.bot(HOST, 0, "hang") as hangs,
        make_connector(bots={"talk": bot.url, "hang": f"ws://{HOST}:{hangs}/"}) as process,
    ):
        yield process


async def talk(phone: Phone, bot: RecordingBot, exten: str = "bot_talk") -> tuple[Call, BotStream]:
    """A call in which each side has heard the other."""
    after = len(bot.streams)
    call = await phone.call(exten)
    stream = await bot.next_stream(after=after)
    await call.wait_answered()
    await stream.play(BOT_HZ, 30.0)
    await until_heard(call, BOT_HZ)
    await stream.until_heard(CALLER_HZ)
    return call, stream


async def next_call_works(pbx: LabAsterisk, phone: Phone, bot: RecordingBot, exten: str = "bot_talk") -> None:
    call, _ = await talk(phone, bot, exten)
    await call.hang_up()
    await until_nothing_left(pbx)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for children in tasks for child in children.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


# -- Asterisk -----------------------------------------------------------------------------------------------------


async def test_asterisk_is_killed_during_calls(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess], bot: RecordingBot
) -> None:
    async with make_asterisk(phones=1) as pbx, make_connector(beside=pbx, bots={"talk": bot.url}) as process:
        pid = process.pid
        async with Phone(0, "alice", (HOST, pbx.sip_port), source=tone_source(CALLER_HZ)) as phone:
            streams = [(await talk(phone, bot))[1] for _ in range(2)]
            await (await phone.call("support-keyed")).wait_answered()
            await process.until(lambda state: bool(queue(state, "keyed")["callers"]))
            await pbx.kill()
            down = await process.until(lambda state: links(state) == {"ami": "down", "ari": "down"})
            assert down["links"]["ami"]["detail"]
        await pbx.start()
        up = await process.until(lambda state: links(state) == {"ami": "up", "ari": "up"}, timeout_s=20)
        for link in ("ami", "ari"):
            assert up["links"][link]["gaps"] == 1
            assert up["links"][link]["gap_s"] > 0
        # Resynced: what the dead Asterisk held is gone, and its callers' bots were told.
        await process.until(lambda state: not (state["streams"] or state["calls"] or queue(state, "keyed")["callers"]))
        for stream in streams:
            await stream.wait_for("stop")
        async with Phone(0, "alice", (HOST, pbx.sip_port), source=tone_source(CALLER_HZ)) as phone:
            await next_call_works(pbx, phone, bot)
        assert process.pid == pid
        assert await process.metric("connector_media_worker_restarts_total", worker="0") == 0
        assert await process.metric("connector_link_gaps_total", pbx="main", link="ari") == 1


def links(pbx: dict[str, Any]) -> dict[str, str]:
    return {name: link["state"] for name, link in pbx["links"].items()}


def queue(pbx: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next((each for each in pbx["queues"] if each["name"] == name), {"callers": []})
    return found


# -- the connector ------------------------------------------------------------------------------------------------


async def test_the_connector_is_killed_during_a_call_and_started_again(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot
) -> None:
    call, stream = await talk(caller, bot)
    (worker,) = children(connector.pid)
    await connector.kill()
    async with asyncio.timeout(5):
        await stream.closed.wait()
    await until(lambda: not alive(worker))
    assert call.live
    await connector.start()
    await until_heard(call, MARK_HZ)
    for kind in ("caller", "channel", "bridge"):
        await connector.until_metric("connector_orphans_removed_total", lambda n: n == 1, pbx="main", kind=kind)
    await asterisk.until("core show channels concise", lambda text: len(text.splitlines()) == 1)
    # The same UDP port, so a firewall need not be told.
    await next_call_works_beside(asterisk, caller, bot)
    await call.hang_up()
    await until_nothing_left(asterisk)


async def next_call_works_beside(pbx: LabAsterisk, phone: Phone, bot: RecordingBot) -> None:
    call, _ = await talk(phone, bot)
    await call.hang_up()
    await pbx.until("core show channels concise", lambda text: len(text.splitlines()) == 1)


async def test_the_connector_is_started_again_at_once_after_a_crash(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot
) -> None:
    """An init system does not wait for the old worker to have said goodbye to its bots."""
    call, _ = await talk(caller, bot)
    await connector.kill()
    await connector.start()
    await until_heard(call, MARK_HZ)
    await next_call_works_beside(asterisk, caller, bot)
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_sigterm_hands_the_callers_back_and_leaves_no_process(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot
) -> None:
    call, stream = await talk(caller, bot, "result_talk")
    dialling = await caller.call("result_hang")
    await connector.until(lambda pbx: len(pbx["streams"]) == 2)
    (worker,) = children(connector.pid)
    assert await connector.stop() == 0
    await until_heard(call, 900)
    await dialling.wait_answered()
    await until_heard(dialling, 900)
    assert [line.rpartition(" ")[2] for line in asterisk.log_lines("connector result: ")[-2:]] == ["shutdown"] * 2
    assert stream.said[-1].message["event"] == "stop"
    assert stream.close_code == 1000
    assert not alive(worker)
    assert len((await asterisk.cli("core show channels concise")).splitlines()) == 2
    await call.hang_up()
    await dialling.hang_up()
    await until_nothing_left(asterisk)
    await connector.start()
    await next_call_works(asterisk, caller, bot)
    assert await connector.metric("connector_orphans_removed_total", pbx="main", kind="bridge") == 0


async def test_the_media_worker_is_killed_during_a_call(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot
) -> None:
    call, stream = await talk(caller, bot)
    restarts = await connector.metric("connector_media_worker_restarts_total", worker="0")
    (worker,) = children(connector.pid)
    os.kill(worker, signal.SIGKILL)
    # A worker is back within half a second, on the same port: the call goes on with the bot.
    async with asyncio.timeout(5):
        await stream.closed.wait()
    stream = bot.streams[-1] if bot.streams[-1] is not stream else await bot.next_stream(after=len(bot.streams))
    await stream.play(BOT_HZ, 30.0)
    await stream.until_heard(CALLER_HZ)
    await until_heard(call, BOT_HZ)
    await call.hang_up()
    await until_nothing_left(asterisk)
    await connector.until_metric("connector_media_worker_up", lambda up: up == 1, worker="0")
    assert await connector.metric("connector_media_worker_restarts_total", worker="0") == restarts + 1
    await next_call_works(asterisk, caller, bot)


# -- the network --------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def relay(asterisk: LabAsterisk) -> AsyncIterator[TcpRelay]:
    async with TcpRelay(asterisk.ports.http) as each:
        yield each


@pytest_asyncio.fixture(loop_scope="session")
async def remote(
    asterisk: LabAsterisk, make_connector: Callable[..., ConnectorProcess], bot: RecordingBot, relay: TcpRelay
) -> AsyncIterator[ConnectorProcess]:
    """A connector whose way to ARI can be cut; it has an application of its own beside the module's connector."""
    pbx = {"main": {"ari": {"url": f"http://{HOST}:{relay.port}/ari", "app": "remote"}}}
    async with make_connector(bots={"talk": bot.url}, pbx=pbx, ports=asterisk.ports.spare[2:]) as process:
        yield process


async def test_ari_is_cut_during_a_call(
    asterisk: LabAsterisk, remote: ConnectorProcess, relay: TcpRelay, caller: Phone, bot: RecordingBot
) -> None:
    call, stream = await talk(caller, bot, REMOTE)
    relay.cut()
    await remote.until(lambda pbx: pbx["links"]["ari"]["gaps"] == 1 and links(pbx)["ari"] == "up")
    # Audio does not pass through ARI: the call did not notice.
    await stream.until_heard(CALLER_HZ)
    await until_heard(call, BOT_HZ)
    assert len((await remote.pbx())["streams"]) == 1
    assert call.live
    # The events come again: a digit, and the end.
    await call.send_digits("7")
    await stream.wait_for("dtmf")
    await call.hang_up()
    await stream.wait_for("stop")
    await until_nothing_left(asterisk)
    assert await remote.metric("connector_orphans_removed_total", pbx="main", kind="caller") == 0


async def test_a_caller_hangs_up_while_ari_is_cut(
    asterisk: LabAsterisk, remote: ConnectorProcess, relay: TcpRelay, caller: Phone, bot: RecordingBot
) -> None:
    call, stream = await talk(caller, bot, REMOTE)
    relay.cut(again=False)
    await remote.until(lambda pbx: links(pbx)["ari"] == "down")
    await call.hang_up()
    await asterisk.until("core show channels concise", lambda text: "PJSIP/" not in text)
    relay.mend()
    await stream.wait_for("stop")
    await until_nothing_left(asterisk)
    await remote.until(lambda pbx: not pbx["streams"])
    await next_call_works(asterisk, caller, bot, REMOTE)


async def test_a_caller_is_taken_elsewhere_while_ari_is_cut(
    asterisk: LabAsterisk, remote: ConnectorProcess, relay: TcpRelay, caller: Phone, bot: RecordingBot
) -> None:
    call, stream = await talk(caller, bot, REMOTE)
    relay.cut(again=False)
    await remote.until(lambda pbx: links(pbx)["ari"] == "down")
    channels = (await asterisk.cli("core show channels concise")).splitlines()
    name = next(line.split("!")[0] for line in channels if line.startswith("PJSIP/"))
    await asterisk.cli(f"channel redirect {name} from-phones,mark,1")
    await until_heard(call, MARK_HZ)
    relay.mend()
    await stream.wait_for("stop")
    await remote.until(lambda pbx: not pbx["streams"])
    await asterisk.until("core show channels concise", lambda text: len(text.splitlines()) == 1)
    assert call.live
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_a_bot_closes_while_ari_is_cut(
    asterisk: LabAsterisk, remote: ConnectorProcess, relay: TcpRelay, caller: Phone, bot: RecordingBot
) -> None:
    """The caller cannot be handed back now, and must be once ARI is there again."""
    call, stream = await talk(caller, bot, REMOTE)
    relay.cut(again=False)
    await remote.until(lambda pbx: links(pbx)["ari"] == "down")
    await stream.close()
    await remote.until(lambda pbx: not pbx["streams"])
    relay.mend()
    await until_heard(call, MARK_HZ)
    await asterisk.until("core show channels concise", lambda text: len(text.splitlines()) == 1)
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_a_second_connector_of_the_same_application_is_told_of_and_not_fought(
    asterisk: LabAsterisk, make_connector: Callable[..., ConnectorProcess], caller: Phone, bot: RecordingBot
) -> None:
    spare = asterisk.ports.spare
    pbx = {"main": {"ari": {"app": "remote"}}}
    first = make_connector(bots={"talk": bot.url}, pbx=pbx, ports=spare[4:])
    second = make_connector(bots={"talk": bot.url}, pbx=pbx, ports=spare[6:], node={"name": "node2"})
    async with first, second:
        refused = await first.until(lambda pbx: links(pbx)["ari"] == "refused")
        assert "another process" in refused["links"]["ari"]["detail"]
        for _ in range(2):
            await next_call_works(asterisk, caller, bot, REMOTE)
        assert links(await first.pbx()) == {"ami": "up", "ari": "refused"}
        assert links(await second.pbx()) == {"ami": "up", "ari": "up"}
        for process in (first, second):
            assert await process.metric("connector_link_connections_total", pbx="main", link="ari") == 1
        assert (await second.pbx())["links"]["ari"]["gaps"] == 0
