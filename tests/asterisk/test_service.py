"""The connector as a service: it stops without cutting calls off, and takes changed profiles without a stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, until_heard, until_nothing_left
from connector.lab.recording_bot import RecordingBot

CALLER_HZ = 1000
BOT_HZ = 600


async def not_ready(connector: ConnectorProcess) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{connector.url}/readyz") as answer:
        return await answer.text() if answer.status == 503 else ""


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


async def until_draining(connector: ConnectorProcess) -> None:
    async def stopping() -> bool:
        return "stopping" in await not_ready(connector)

    await until(stopping)


async def test_running_calls_end_by_themselves_and_new_ones_go_on_in_the_dialplan(
    asterisk: LabAsterisk, make_connector: Callable[..., ConnectorProcess], bot: RecordingBot, caller: Phone
) -> None:
    async with make_connector(bots={"talk": bot.url}, node={"drain_s": 60}) as connector:
        after = len(bot.streams)
        call = await caller.call("bot_talk")
        stream = await bot.next_stream(after=after)
        await call.wait_answered()
        connector.send_signal(signal.SIGTERM)
        await until_draining(connector)

        other = await caller.call("bot_talk")
        await until_heard(other, MARK_HZ)
        await other.hang_up()

        await stream.play(BOT_HZ, 2.0)
        await until_heard(call, BOT_HZ)
        await stream.until_heard(CALLER_HZ)
        await call.hang_up()
        assert await connector.ended() == 0
        await until_nothing_left(asterisk)


@pytest.mark.parametrize("second_signal", [False, True], ids=["limit", "second signal"])
async def test_at_the_limit_or_a_second_signal_calls_are_handed_back(
    asterisk: LabAsterisk,
    make_connector: Callable[..., ConnectorProcess],
    bot: RecordingBot,
    caller: Phone,
    second_signal: bool,
) -> None:
    async with make_connector(bots={"talk": bot.url}, node={"drain_s": 600 if second_signal else 0.5}) as connector:
        after = len(bot.streams)
        call = await caller.call("bot_talk")
        await bot.next_stream(after=after)
        await call.wait_answered()
        connector.send_signal(signal.SIGTERM)
        if second_signal:
            await until_draining(connector)
            connector.send_signal(signal.SIGTERM)
        await until_heard(call, MARK_HZ)
        assert await connector.ended() == 0
        await call.hang_up()
        await until_nothing_left(asterisk)


async def test_sighup_takes_changed_profiles_and_refuses_wrong_ones(
    asterisk: LabAsterisk,
    make_connector: Callable[..., ConnectorProcess],
    bot: RecordingBot,
    caller: Phone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = tmp_path / "connector.toml"
    settings.write_text(f'[profile.first]\nurl = "{bot.url}"\n')
    monkeypatch.setenv("CONNECTOR_CONFIG", str(settings))
    async with make_connector(bots={}) as connector:
        running = await _talk(caller, bot, "first")
        settings.write_text('[profile.first]\nurl = "ftp://no.websocket"\n')
        connector.send_signal(signal.SIGHUP)
        await _until_logged(connector, "reload_refused")
        assert connector.log_file is not None
        assert '"event":' not in connector.log_file.read_text("utf-8")
        settings.write_text(f'[log]\nformat = "json"\n[profile.second]\nurl = "{bot.url}"\n')
        connector.send_signal(signal.SIGHUP)
        await _until_logged(connector, '"event": "reloaded"')  # as JSON, which the log was not before
        other = await _talk(caller, bot, "second")
        gone = await caller.call("bot_first")
        await until_heard(gone, MARK_HZ)
        assert (await connector.pbx())["streams"], "the call that ran through both reloads still runs"
        for call in (running, other, gone):
            await call.hang_up()
        await until_nothing_left(asterisk)


async def _talk(caller: Phone, bot: RecordingBot, profile: str) -> Call:
    after = len(bot.streams)
    call = await caller.call(f"bot_{profile}")
    await bot.next_stream(after=after)
    return await call.wait_answered()


async def _until_logged(connector: ConnectorProcess, event: str) -> None:
    async def logged() -> bool:
        assert connector.log_file is not None
        return event in connector.log_file.read_text("utf-8")

    await until(logged)


async def test_systemd_is_told(
    make_connector: Callable[..., ConnectorProcess], bot: RecordingBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        connector = make_connector(bots={"talk": bot.url})

        async def until_told(word: str) -> None:
            async with asyncio.timeout(10):
                while word not in (await asyncio.get_running_loop().sock_recv(sock, 4096)).decode():
                    pass

        async with connector:
            await until_told("READY=1")
            await until_told("WATCHDOG=1")
            await until_told("WATCHDOG=1")
            os.kill(connector.pid, signal.SIGTERM)
            await until_told("STOPPING=1")
            assert await connector.ended() == 0
