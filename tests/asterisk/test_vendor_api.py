"""Bots hang up and update their calls by the REST interfaces of their vendors, on real Asterisk."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, until_heard, until_nothing_left
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.useragent import HOST

CALLER_HZ = 1000
TOKEN = "token-of-the-laboratory"
OPTIONS = {
    "twilio": {"account_sid": "ac0"},
    "telnyx": {"user_id": "user0"},
    "plivo": {"account_id": "ma0"},
    "exotel": {"account_sid": "exo0"},
}


class Listener:
    """Is told what becomes of streams: event and id of the stream of each."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        application = web.Application()
        application.router.add_post("/", self._take)
        self.runner = web.AppRunner(application)

    async def _take(self, request: web.Request) -> web.Response:
        if request.content_type == "application/json":
            body = await request.json()
            data = body.get("data", {})
            stream = data.get("payload", {}).get("stream_id", "") or body.get("stream", "")
            self.told.append((data.get("event_type") or body["event"], stream))
        else:
            form = await request.post()
            self.told.append((str(form["StreamEvent"]), str(form["StreamSid"])))
        return web.Response()

    async def until(self, event: str, stream: str) -> None:
        async with asyncio.timeout(10):
            while (event, stream) not in self.told:  # noqa: ASYNC110 - polled, as everything beside Asterisk
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def listener() -> AsyncIterator[Listener]:
    made = Listener()
    await made.runner.setup()
    await web.TCPSite(made.runner, HOST, 0).start()
    yield made
    await made.runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(
    make_connector: Callable[..., ConnectorProcess], bot: RecordingBot, listener: Listener
) -> AsyncIterator[Any]:
    profiles: dict[str, dict[str, Any]] = {
        name: {"dialect": {"name": name, **options}, "handover": {"allow": ["dialplan", "extension:echo@*"]}}
        for name, options in OPTIONS.items()
    }
    accounts = {name: {next(iter(options.values())): {"secret": TOKEN}} for name, options in OPTIONS.items()}
    told = f"http://{HOST}:{listener.runner.addresses[0][1]}/"
    for profile in profiles.values():
        profile["status_callback"] = told
    profiles["gone"] = {"url": "ws://127.0.0.1:1/", "status_callback": told, "dialect": {"name": "twilio"}}
    process = make_connector(
        bots=dict.fromkeys(OPTIONS, bot.url),
        profile=profiles,
        vendor_api={**accounts, "dial_context": "from-phones"},
    )
    async with process:
        yield process


async def begin(caller: Phone, bot: RecordingBot, vendor: str) -> tuple[Call, BotStream]:
    after = len(bot.streams)
    call = await caller.call(f"bot_{vendor}")
    stream = await bot.next_stream(after=after)
    await call.wait_answered()
    await stream.wait_for("start")
    return call, stream


async def ask(connector: ConnectorProcess, method: str, path: str, login: str = "", **body: Any) -> tuple[int, str]:
    pair = base64.b64encode(f"{login}:{TOKEN}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}" if login else f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, connector.url + path, headers=headers, **body) as answer,
    ):
        return answer.status, await answer.text()


def twilio_path(stream: BotStream) -> str:
    return f"/2010-04-01/Accounts/{stream.start['accountSid']}/Calls/{stream.start['callSid']}.json"


async def hang_up(connector: ConnectorProcess, vendor: str, stream: BotStream) -> tuple[int, str]:
    start = stream.start
    match vendor:
        case "twilio":
            return await ask(connector, "POST", twilio_path(stream), "ac0", data={"Status": "completed"})
        case "telnyx":
            return await ask(connector, "POST", f"/v2/calls/{start['call_control_id']}/actions/hangup")
        case _:
            return await ask(connector, "DELETE", f"/v1/Account/ma0/Call/{start['callId']}/", "ma0")


STATUS = {
    "twilio": ("stream-started", "stream-stopped"),
    "telnyx": ("streaming.started", "streaming.stopped"),
}


def stream_id(vendor: str, stream: BotStream) -> str:
    """As the bot was told it."""
    start = stream.all("start")[0].message
    return str(start["streamSid"] if vendor == "twilio" else start["stream_id"])


@pytest.mark.parametrize(("vendor", "done", "again"), [("twilio", 200, 404), ("telnyx", 200, 422), ("plivo", 204, 404)])
async def test_a_bot_hangs_up_the_callers_call(
    asterisk: LabAsterisk,
    connector: ConnectorProcess,
    bot: RecordingBot,
    caller: Phone,
    listener: Listener,
    vendor: str,
    done: int,
    again: int,
) -> None:
    call, stream = await begin(caller, bot, vendor)
    if vendor in STATUS:
        await listener.until(STATUS[vendor][0], stream_id(vendor, stream))
    assert (await hang_up(connector, vendor, stream))[0] == done
    async with asyncio.timeout(10):
        await call.ended.wait()
    await connector.until_metric(
        "connector_streams_total", lambda value: value == 1, pbx="main", profile=vendor, cause="bot_hung_up"
    )
    await until_nothing_left(asterisk)
    if vendor in STATUS:
        await listener.until(STATUS[vendor][1], stream_id(vendor, stream))
    assert (await hang_up(connector, vendor, stream))[0] == again, "as the vendor answers for a call that is over"


async def test_twiml_sends_a_call_to_an_extension_that_the_profile_allows(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    call, stream = await begin(caller, bot, "twilio")
    refused = "<Response><Dial><Number>+49900123</Number></Dial></Response>"
    status, text = await ask(connector, "POST", twilio_path(stream), "ac0", data={"Twiml": refused})
    assert (status, "handover.allow" in text) == (400, True)
    allowed = "<Response><Dial><Client>echo</Client></Dial></Response>"
    status, text = await ask(connector, "POST", twilio_path(stream), "ac0", data={"Twiml": allowed})
    assert status == 200, text
    await until_heard(call, CALLER_HZ)
    await call.hang_up()
    async with asyncio.timeout(10):  # deeds are written in batches
        results: set[str] = set()
        while results != {"not_allowed", "ok"}:
            deeds = (await connector.get("/api/v1/audit?action=call.transfer&actor=twilio:ac0"))["deeds"]
            results = {deed["result"] for deed in deeds}
            await asyncio.sleep(0.05)
    await until_nothing_left(asterisk)


async def test_exotel_counts_a_stream_and_stops_it_and_the_call_goes_on(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot, caller: Phone
) -> None:
    call, stream = await begin(caller, bot, "exotel")
    status, text = await ask(connector, "GET", "/v1/accounts/exo0/activestreams", "exo0")
    assert (status, '"active_streams":1' in text) == (200, True), text
    leg = stream.start["call_sid"]
    assert (await ask(connector, "POST", f"/v2/accounts/exo0/legs/{leg}/actions/stop_stream", "exo0"))[0] == 200
    await until_heard(call, MARK_HZ)
    await call.hang_up()
    await until_nothing_left(asterisk)


async def test_a_bot_that_is_not_there_is_told_of_as_an_error(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, listener: Listener
) -> None:
    call = await caller.call("bot_gone")
    await until_heard(call, MARK_HZ)
    async with asyncio.timeout(10):
        while not any(event == "stream-error" for event, _ in listener.told):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await call.hang_up()
    await until_nothing_left(asterisk)
