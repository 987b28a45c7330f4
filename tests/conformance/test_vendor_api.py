"""Bots that end or pass on a real call by their vendor's REST interface: unmodified, but for where they find it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from aiohttp import web

from connector.lab.call import Call
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard
from tests.conformance.conftest import Front, MakeConnector, PipecatBot, python, until

CALLER_HZ, BOT_HZ = 1_000, 600
ACCOUNT, TOKEN = "account0", "token-of-the-laboratory"
OPTIONS = {"twilio": "account_sid", "telnyx": "user_id", "plivo": "account_id"}
VALIDATE = """
import json, sys
from twilio.request_validator import RequestValidator
token, url, form, signature = sys.argv[1:]
validator = RequestValidator(token)
fields = json.loads(form)
assert validator.validate(url, fields, signature)
assert not validator.validate(url, {**fields, "StreamEvent": "stream-error"}, signature)
"""
CLIENT = """
import sys
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

class Here(TwilioHttpClient):
    def request(self, method, url, *args, **kwargs):
        return super().request(method, url.replace("https://api.twilio.com", base), *args, **kwargs)

base, account, token, call, act = sys.argv[1:]
client = Client(account, token, http_client=Here())
found = client.calls(call)
assert found.fetch().status == "in-progress"
if act == "transfer":
    print(found.update(twiml="<Response><Dial><Client>echo</Client></Dial></Response>").status)
else:
    print(found.update(status="completed").status)
"""


class Told:
    """Is told what becomes of streams.

    Attributes:
        url: Where.
        forms: Form and signature of each.
    """

    def __init__(self) -> None:
        self.url = ""
        self.forms: list[tuple[dict[str, str], str]] = []

    async def take(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.forms.append((form, request.headers["X-Twilio-Signature"]))
        return web.Response()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told() -> AsyncIterator[Told]:
    made = Told()
    application = web.Application()
    application.router.add_post("/status", made.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/status"
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(
    make_connector: MakeConnector, pipecat: PipecatBot, front: Front, told: Told
) -> AsyncIterator[ConnectorProcess]:
    profiles: dict[str, dict[str, Any]] = {
        name: {
            "url": f"ws://127.0.0.1:{pipecat.port}/auto",
            "dialect": {"name": name, option: ACCOUNT},
            "handover": {"allow": ["extension:echo@*"]},
        }
        for name, option in OPTIONS.items()
    }
    profiles["twilio"] |= {"status_callback": told.url, "auth": {"kind": "twilio", "secret": TOKEN}}
    accounts = {name: {ACCOUNT: {"secret": TOKEN}} for name in OPTIONS}
    process = make_connector(profiles, vendor_api={**accounts, "dial_context": "from-phones"})
    for profile in process.settings["profile"].values():
        profile["url"] = f"ws://127.0.0.1:{pipecat.port}/hang_up?api={process.url}"
    front.target = urlsplit(process.url).port or 0
    async with process:
        yield process


async def begin(pipecat: PipecatBot, caller: Phone, vendor: str) -> tuple[Call, dict[str, Any]]:
    before = len(await pipecat.calls())
    call = await caller.call(f"bot_{vendor}")
    await call.wait_answered()
    await until_heard(call, BOT_HZ)

    async def seen() -> dict[str, Any] | None:
        calls = await pipecat.calls()
        return calls[before] if len(calls) > before and "data" in calls[before] else None

    return call, await until(seen, "the bot knows its call")


@pytest.mark.parametrize("vendor", OPTIONS)
async def test_pipecat_hangs_up_the_callers_call_when_its_pipeline_ends(
    connector: ConnectorProcess, pipecat: PipecatBot, caller: Phone, vendor: str
) -> None:
    call, _ = await begin(pipecat, caller, vendor)
    await call.send_digits("13")  # interrupted, or the pipeline would end after its half a minute of tone
    async with asyncio.timeout(20):
        await call.ended.wait()
    await connector.until_metric(
        "connector_streams_total", lambda value: value == 1, pbx="main", profile=vendor, cause="bot_hung_up"
    )
    assert await connector.metric("connector_vendor_requests_total", vendor=vendor, result="ok") == 1


async def test_twilios_own_package_accepts_the_signature_of_a_status_callback(
    connector: ConnectorProcess, pipecat: PipecatBot, caller: Phone, told: Told
) -> None:
    call, seen = await begin(pipecat, caller, "twilio")
    await call.hang_up()
    form, signature = await until(
        lambda: next((each for each in told.forms if each[0]["CallSid"] == seen["data"]["call_id"]), None), "told"
    )
    assert form["StreamEvent"] == "stream-started"
    command = [python(), "-c", VALIDATE, TOKEN, told.url, json.dumps(form), signature]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("act", ["transfer", "hang_up"])
async def test_twilios_own_package_passes_a_call_on_and_ends_one(
    connector: ConnectorProcess, pipecat: PipecatBot, caller: Phone, act: str
) -> None:
    call, seen = await begin(pipecat, caller, "twilio")
    command = [python(), "-c", CLIENT, connector.url, ACCOUNT, TOKEN, seen["data"]["call_id"], act]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == {"transfer": "in-progress", "hang_up": "completed"}[act]
    if act == "transfer":
        await until_heard(call, CALLER_HZ)  # Echo()
        await call.hang_up()
    async with asyncio.timeout(10):
        await call.ended.wait()
