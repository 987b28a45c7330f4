"""Bots that are hard to reach, on real Asterisk: what each costs the caller, and what the dialplan is told."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest_asyncio
from aiohttp import web

from connector.lab.asterisk import LabAsterisk
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, until_heard, until_nothing_left
from connector.lab.recording_bot import RecordingBot


class Guide:
    """A server that is asked for the bot's address."""

    def __init__(self) -> None:
        self.answer: Any = {}
        self.asked: list[dict[str, str]] = []
        self.url = ""

    async def _tell(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        return web.json_response(self.answer)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        application = web.Application()
        application.router.add_get("/which", self._tell)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/which"
        yield
        await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guide() -> AsyncIterator[Guide]:
    made = Guide()
    async with made.serving():
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(
    make_connector: Callable[..., ConnectorProcess], bot: RecordingBot, guide: Guide
) -> AsyncIterator[ConnectorProcess]:
    process = make_connector(
        bots={"scripted": bot.url, "guided": guide.url, "fragile": "ws://127.0.0.1:9/"},
        profile={
            "scripted": {"auth": {"kind": "basic", "username": "key", "secret": "token"}},
            "fragile": {"attempts": 1},
        },
        outgoing={"allowed_hosts": ["localhost"], "allow_private": ["localhost"], "breaker_failures": 2},
    )
    async with process:
        yield process


async def dials(connector: ConnectorProcess, profile: str, outcome: str) -> float:
    return await connector.metric("connector_bot_dials_total", profile=profile, outcome=outcome)


async def goes_on(pbx: LabAsterisk, phone: Phone, profile: str) -> str:
    """A call that no bot takes; gives what the dialplan was told."""
    call = await phone.call(f"result_{profile}")
    await until_heard(call, MARK_HZ)
    await call.hang_up()
    return pbx.log_lines("connector result: ")[-1].rpartition(" ")[2]


async def taken(bot: RecordingBot, phone: Phone, profile: str) -> None:
    """A call that the bot takes and hears."""
    after = len(bot.streams)
    call = await phone.call(f"bot_{profile}")
    stream = await bot.next_stream(after=after)
    await stream.until_heard(1000)
    await call.hang_up()


async def test_503_503_101(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    bot.refusals = [503, 503]
    await taken(bot, caller, "scripted")
    assert await dials(connector, "scripted", "bot_unavailable") == 2
    assert await dials(connector, "scripted", "opened") == 1
    assert {headers["authorization"] for headers in bot.upgrades[-3:]} == {"Basic a2V5OnRva2Vu"}
    bot.refusals = [503, 502, 500, 101]
    assert await goes_on(asterisk, caller, "scripted") == "bot_unavailable"
    assert bot.refusals == [101], "three attempts, no more"
    await until_nothing_left(asterisk)


async def test_401_is_final(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    bot.refusals = [401, 401]
    assert await goes_on(asterisk, caller, "scripted") == "bot_rejected"
    assert bot.refusals == [401]
    bot.refusals = []
    await until_nothing_left(asterisk)


async def test_the_address_is_asked_for_at_each_call_and_checked(
    asterisk: LabAsterisk,
    connector: ConnectorProcess,
    bot: RecordingBot,
    guide: Guide,
    caller: Phone,
) -> None:
    guide.answer = {"url": bot.url.replace("127.0.0.1", "localhost")}
    await taken(bot, caller, "guided")
    assert guide.asked[-1]["to"] == "bot_guided"
    for url in (bot.url, "ws://other.example.com/"):
        guide.answer = {"url": url}
        assert await goes_on(asterisk, caller, "guided") == "bot_forbidden"
    await until_nothing_left(asterisk)


async def test_a_bot_that_is_down_is_left_alone(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone
) -> None:
    told = [await goes_on(asterisk, caller, "fragile") for _ in range(3)]
    assert told == ["bot_refused", "bot_refused", "bot_circuit_open"]
    await until_nothing_left(asterisk)


async def test_one_made_over_rest_may_not_reach_this_machine(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    heard = len(bot.upgrades)
    async with (
        aiohttp.ClientSession() as session,
        session.put(f"{connector.url}/api/v1/profiles/forged", json={"settings": {"url": bot.url}}) as answer,
    ):
        assert answer.status == 200
    assert await goes_on(asterisk, caller, "forged") == "bot_forbidden"
    assert len(bot.upgrades) == heard
    await until_nothing_left(asterisk)
