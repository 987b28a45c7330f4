"""Who is told of streams: in whose words, in what order, how often, and what becomes of what cannot be told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connector.config_profiles import ProfileSettings
from connector.dialects import telnyx, twilio
from connector.net.credentials import Secrets, twilio_signature
from connector.net.fetch import Fetcher
from connector.net.reach import ANYWHERE, Reach
from connector.records import StreamBegan, StreamRecord
from connector.store.profiles import KeptProfile
from connector.streams.book import ProfileBook
from connector.streams.status import PENDING_MAX, StatusCallbacks
from connector.streams.statusshapes import Status, StreamEvent, body_of

AC = "AC" + "1" * 32


class Nothing:
    async def current(self) -> list[KeptProfile]:
        return []

    async def versions(self, name: str) -> list[KeptProfile]:
        return []

    async def put(self, profile: KeptProfile) -> None:
        raise AssertionError


class Listener:
    """An HTTP server that answers as it is told, then 204."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, str], dict[str, str]]] = []
        self.answers: list[int] = []
        self.more = asyncio.Event()
        application = web.Application()
        application.router.add_post("/status", self._take)
        self.server = TestServer(application, host="127.0.0.1")

    async def _take(self, request: web.Request) -> web.Response:
        json = request.content_type == "application/json"
        body = await request.json() if json else {key: str(value) for key, value in (await request.post()).items()}
        self.told.append((body, dict(request.headers)))
        self.more.set()
        return web.Response(status=self.answers.pop(0) if self.answers else 204)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.told) < count:
                self.more.clear()
                await self.more.wait()


class Told:
    """The callbacks under test, before a listener."""

    def __init__(self, listener: Listener, reach: Reach) -> None:
        self.listener = listener
        self.outcomes: Counter[str] = Counter()
        self.slept: list[float] = []
        url = str(listener.server.make_url("/status"))
        auth = {"kind": "twilio", "secret": "env:TOKEN"}
        profile = {
            "url": "wss://bot.example/",
            "dialect": {"name": "twilio", "account_sid": AC},
            "status_callback": url,
            "auth": auth,
        }
        self.url = url
        self.book = ProfileBook(
            {
                "support": ProfileSettings.model_validate(profile),
                "silent": ProfileSettings.model_validate({**profile, "status_callback": ""}),
            },
            Nothing(),
            clock=lambda: 1.0,
        )
        self.callbacks = StatusCallbacks(
            self.book,
            reach=lambda _trusted: reach,
            fetcher=Fetcher(max_answer_bytes=65_536),
            secrets=Secrets({"CONNECTOR_SECRET_TOKEN": "token"}, None),
            timeout_s=2.0,
            count=lambda outcome: self.outcomes.update([outcome]),
            clock=lambda: 1.0,
            random=Random(1),
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def until(self, outcome: str, count: int) -> None:
        async with asyncio.timeout(5):
            while self.outcomes[outcome] < count:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    listener = Listener()
    await listener.server.start_server()
    made = Told(listener, ANYWHERE)
    running = asyncio.create_task(made.callbacks.run())
    yield made
    running.cancel()
    await asyncio.wait([running])
    await listener.server.close()


def began(stream_id: str = "s1", profile: str = "support") -> StreamBegan:
    return StreamBegan(pbx="main", at=1_700_000_000.25, stream_id=stream_id, uniqueid="1.1", profile=profile)


def ended(cause: str, stream_id: str = "s1", *, profile: str = "support", setup_s: float | None = 0.1) -> StreamRecord:
    return StreamRecord(
        pbx="main",
        at=1_700_000_001.0,
        stream_id=stream_id,
        uniqueid="1.1",
        profile=profile,
        cause=cause,
        detail="why",
        started_at=1_700_000_000.0,
        setup_s=setup_s,
        stats={},
    )


async def test_twilios_form_is_told_in_order_and_signed(told: Told) -> None:
    told.callbacks.on_event(began(profile="silent"))
    told.callbacks.on_event(began())
    told.callbacks.on_event(ended("bot_closed"))
    await told.listener.until(2)
    forms = [form for form, _ in told.listener.told]
    ids = twilio.vendor_ids(twilio.TwilioOptions(account_sid=AC), "main:1.1", "s1")
    assert forms[0] == {
        "AccountSid": AC,
        "CallSid": ids.call,
        "StreamSid": ids.stream,
        "StreamName": "support",
        "StreamEvent": "stream-started",
        "Timestamp": "2023-11-14T22:13:20.250Z",
    }
    assert [form["StreamEvent"] for form in forms] == ["stream-started", "stream-stopped"]
    for form, headers in told.listener.told:
        assert headers["X-Twilio-Signature"] == twilio_signature("token", told.url, form)
    await told.until("delivered", 2)


@pytest.mark.parametrize(
    ("cause", "setup_s", "events"),
    [
        ("bot_refused", None, ["stream-error"]),
        ("bot_lost", 0.1, ["stream-error", "stream-stopped"]),
        ("caller_hung_up", None, []),
        ("caller_hung_up", 0.1, ["stream-stopped"]),
    ],
)
async def test_what_is_an_error(told: Told, cause: str, setup_s: float | None, events: list[str]) -> None:
    told.callbacks.on_event(ended(cause, setup_s=setup_s))
    told.callbacks.on_event(began("last"))
    await told.until("delivered", len(events) + 1)
    assert sorted(form["StreamEvent"] for form, _ in told.listener.told) == sorted([*events, "stream-started"])
    errors = [form.get("StreamError") for form, _ in told.listener.told if form["StreamEvent"] == "stream-error"]
    assert all(error == f"{cause}: why" for error in errors)


async def test_a_server_that_fails_is_asked_again_and_one_that_refuses_is_not(told: Told) -> None:
    told.listener.answers = [503, 429, 204]
    told.callbacks.on_event(began())
    await told.until("delivered", 1)
    assert len(told.listener.told) == 3
    assert [0.8 <= told.slept[0] <= 1.2, 4.0 <= told.slept[1] <= 6.0] == [True, True]
    told.listener.answers = [404, 204]
    told.callbacks.on_event(ended("bot_closed"))
    await told.until("failed", 1)
    assert len(told.listener.told) == 4
    told.listener.answers = [500, 500, 500, 204]
    told.callbacks.on_event(began("s2"))
    await told.until("failed", 2)
    assert len(told.listener.told) == 7


async def test_a_private_address_is_refused_at_once() -> None:
    listener = Listener()
    await listener.server.start_server()
    told = Told(listener, Reach())
    running = asyncio.create_task(told.callbacks.run())
    told.callbacks.on_event(began())
    await told.until("failed", 1)
    assert (listener.told, told.slept) == ([], [])
    running.cancel()
    await asyncio.wait([running])
    await listener.server.close()


async def test_what_waits_is_bounded() -> None:
    listener = Listener()
    await listener.server.start_server()
    told = Told(listener, ANYWHERE)  # nobody runs it
    for number in range(PENDING_MAX + 3):
        told.callbacks.on_event(began(f"s{number}"))
    assert told.outcomes == {"dropped": 3}
    await listener.server.close()


def status(event: StreamEvent) -> Status:
    return Status(event=event, profile="p", call_id="main:1", stream_id="s", cause="bot_lost", detail="why", at=1.5)


def test_telnyx_has_its_webhooks() -> None:
    settings = ProfileSettings.model_validate({"url": "wss://bot.example/", "dialect": "telnyx"})
    ids = telnyx.vendor_ids(telnyx.TelnyxOptions(), "main:1", "s")
    for event, kind in zip(StreamEvent, ("started", "stopped", "failed"), strict=True):
        data: dict[str, Any] = msgspec.json.decode(body_of(status(event), settings).json)["data"]
        assert (data["record_type"], data["event_type"]) == ("event", f"streaming.{kind}")
        assert (data["payload"]["call_control_id"], data["payload"]["stream_id"]) == (ids.call, ids.stream)
        assert ("failure_reason" in data["payload"]) == (kind == "failed")


def test_other_dialects_get_json_of_ours() -> None:
    settings = ProfileSettings.model_validate({"url": "wss://bot.example/", "dialect": "raw"})
    assert msgspec.json.decode(body_of(status(StreamEvent.ERROR), settings).json) == {
        "event": "stream-error",
        "profile": "p",
        "dialect": "raw",
        "call": "main:1",
        "stream": "s",
        "cause": "bot_lost",
        "detail": "why",
        "at": 1.5,
    }
