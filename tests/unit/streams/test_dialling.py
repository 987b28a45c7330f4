"""Attempts, backoff, circuit breaker, and addresses that are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Any, cast

import pytest

from connector.config_profiles import OutgoingSettings, ProfileSettings
from connector.media.control import EndCause, OpenStream
from connector.media.engine import MediaEngine, StreamFailed
from connector.net.credentials import Secrets
from connector.net.fetch import FetchCause, Fetched, Fetcher, FetchFailed
from connector.streams.breaker import Breakers
from connector.streams.dialling import Dialler

REQUEST = OpenStream(
    stream_id="s1",
    pbx="main",
    call_id="main:1.1",
    url="",
    dialect="twilio",
    parameters={"from": "alice"},
    headers={},
    connect_timeout_ms=1,
    playout_max_ms=1000,
    prebuffer_ms=40,
    max_message_bytes=1024,
)


class Engine:
    """Answers attempts in turn: None takes the call."""

    def __init__(self, *outcomes: EndCause | None) -> None:
        self.outcomes = list(outcomes)
        self.requests: list[OpenStream] = []

    async def open(self, request: OpenStream, *, near: object = None) -> str:
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise StreamFailed(outcome, "as the test says")
        return "handle"


class Site:
    """Answers what is asked for."""

    def __init__(self, *answers: Fetched | FetchFailed) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    async def fetch(self, method: str, url: str, **options: Any) -> Fetched:
        self.asked.append({"method": method, "url": url, **options})
        answer = self.answers.pop(0)
        if isinstance(answer, FetchFailed):
            raise answer
        return answer


class Desk:
    """A dialler with a clock of its own."""

    def __init__(self, engine: Engine, site: Site | None = None, **outgoing: Any) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.outcomes: list[tuple[str, str]] = []
        self.engine = engine
        self.dialler = Dialler(
            engine=cast(MediaEngine, engine),
            outgoing=OutgoingSettings.model_validate(outgoing),
            secrets=Secrets({"CONNECTOR_SECRET_bot": "s"}, None),
            fetcher=cast(Fetcher, site or Site()),
            clock=lambda: 1_800_000_000.0,
            monotonic=lambda: self.now,
            random=Random(1),
            count=lambda profile, outcome: self.outcomes.append((profile, outcome)),
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def dial(self, *, trusted: bool = True, **settings: Any) -> Any:
        profile = ProfileSettings.model_validate({"url": "wss://bot.example.com/", **settings})
        return await self.dialler.open(REQUEST, "p", profile, trusted=trusted)

    async def fails(self, **settings: Any) -> EndCause:
        with pytest.raises(StreamFailed) as failure:
            await self.dial(**settings)
        return failure.value.cause


UNAVAILABLE, REFUSED, REJECTED = EndCause.BOT_UNAVAILABLE, EndCause.BOT_REFUSED, EndCause.BOT_REJECTED


@pytest.mark.parametrize(
    ("outcomes", "attempts"),
    [
        ([REJECTED], 1),
        ([EndCause.BOT_TLS], 1),
        ([EndCause.BOT_FORBIDDEN], 1),
        ([EndCause.WORKER_LOST], 1),
        ([UNAVAILABLE, UNAVAILABLE, UNAVAILABLE], 3),
        ([REFUSED, REFUSED], 2),
        ([EndCause.BOT_DNS, EndCause.BOT_DNS], 2),
        ([EndCause.BOT_TIMEOUT, EndCause.BOT_TIMEOUT], 2),
        ([UNAVAILABLE, REJECTED], 2),
    ],
)
async def test_how_often_is_tried(outcomes: list[EndCause], attempts: int) -> None:
    desk = Desk(Engine(*outcomes))
    assert await desk.fails() is outcomes[-1]
    assert len(desk.engine.requests) == attempts
    assert desk.outcomes == [("p", cause.value) for cause in outcomes]


async def test_503_503_101() -> None:
    desk = Desk(Engine(UNAVAILABLE, UNAVAILABLE, None))
    assert await desk.dial() == "handle"
    first, second = desk.slept
    assert 0.08 <= first <= 0.12 < 0.16 <= second <= 0.24
    assert desk.outcomes[-1] == ("p", "opened")


async def test_there_is_one_deadline_for_all_attempts() -> None:
    desk = Desk(Engine(UNAVAILABLE, UNAVAILABLE, None))
    assert await desk.fails(dial_timeout_ms=250) is UNAVAILABLE
    assert len(desk.engine.requests) == 1 or desk.now < 0.25
    timeouts = [request.connect_timeout_ms for request in desk.engine.requests]
    assert timeouts[0] == 250
    assert timeouts == sorted(timeouts, reverse=True)


async def test_a_broken_bot_is_left_alone_and_tried_again() -> None:
    desk = Desk(Engine(*[REFUSED] * 7, None, None), breaker_failures=3, breaker_seconds=5)
    for _ in range(3):
        await desk.fails(attempts=1)
    assert await desk.fails(attempts=1) is EndCause.BOT_CIRCUIT_OPEN
    assert len(desk.engine.requests) == 3
    desk.now += 5
    assert await desk.fails(attempts=1) is REFUSED, "one call tries it"
    assert await desk.fails(attempts=1) is EndCause.BOT_CIRCUIT_OPEN
    desk.now += 9.9
    assert await desk.fails(attempts=1) is EndCause.BOT_CIRCUIT_OPEN, "twice as long the second time"
    desk.engine.outcomes = [None, None]
    desk.now += 0.2
    assert await desk.dial() == "handle"
    assert await desk.dial() == "handle"


async def test_a_bot_that_refuses_calls_is_not_broken() -> None:
    desk = Desk(Engine(*[REJECTED] * 20), breaker_failures=3)
    assert {await desk.fails() for _ in range(20)} == {REJECTED}


async def test_only_one_call_tries_a_bot_that_was_broken() -> None:
    now = 0.0
    breakers = Breakers(failures=1, open_s=1, monotonic=lambda: now)
    breakers.failed("wss://h/a?call=1")
    assert not breakers.allows("wss://h/a?call=2"), "the query does not make another bot"
    assert breakers.allows("wss://h/b")
    now = 1.0
    assert [breakers.allows("wss://h/a") for _ in range(3)] == [True, False, False]
    breakers.gave_up("wss://h/a")
    assert breakers.allows("wss://h/a")


async def test_headers_prove_who_we_are() -> None:
    desk = Desk(Engine(None))
    await desk.dial(auth={"kind": "bearer", "secret": "env:bot"}, headers={"X-Key": "k"})
    assert desk.engine.requests[0].headers == {"Authorization": "Bearer s", "X-Key": "k"}
    assert await Desk(Engine()).fails(headers={"X-Key": "env:gone"}) is EndCause.BOT_FORBIDDEN


def said(body: bytes, status: int = 200) -> Fetched:
    return Fetched(status, {}, body)


async def test_the_address_is_asked_for_at_each_call() -> None:
    site = Site(said(b'{"url": "wss://one.example.com/x?token=1", "more": 1}'))
    desk = Desk(Engine(None), site)
    await desk.dial(url="https://ask.example.com/route", auth={"kind": "bearer", "secret": "env:bot"})
    assert desk.engine.requests[0].url == "wss://one.example.com/x?token=1"
    assert not desk.engine.requests[0].reach.trusted, "what a server answers is not the operator's word"
    (asked,) = site.asked
    assert asked["url"] == "https://ask.example.com/route"
    assert asked["params"] == {"callId": "main:1.1", "streamId": "s1", "from": "alice"}
    assert asked["headers"] == {"Authorization": "Bearer s"}


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ([said(b"wss://x/")], REJECTED),
        ([said(b'{"url": "https://x/"}')], REJECTED),
        ([said(b'{"url": "wss://user:pw@x/"}')], REJECTED),
        ([said(b'{"url": "ws://127.0.0.1/"}')], EndCause.BOT_FORBIDDEN),
        ([said(b"", 404)], REJECTED),
        ([said(b"", 503), said(b"", 502), said(b"", 500)], UNAVAILABLE),
        ([FetchFailed(FetchCause.DNS, "x"), FetchFailed(FetchCause.TIMEOUT, "x")], EndCause.BOT_TIMEOUT),
        ([FetchFailed(FetchCause.TOO_LARGE, "x")], REJECTED),
        ([FetchFailed(FetchCause.TLS, "x")], EndCause.BOT_TLS),
    ],
)
async def test_an_address_that_is_not_told(answers: Iterable[Any], cause: EndCause) -> None:
    site = Site(*answers)
    assert await Desk(Engine(), site).fails(url="https://ask.example.com/") is cause
    assert site.answers == []


async def test_who_hangs_up_meanwhile_leaves_the_circuit_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(Engine(REFUSED), breaker_failures=1)
    await desk.fails(attempts=1)
    desk.now += 5

    async def never(_request: OpenStream, *, near: object = None) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(desk.engine, "open", never)
    dialling = asyncio.create_task(desk.dial())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    dialling.cancel()
    await asyncio.wait({dialling})
    monkeypatch.setattr(desk.engine, "open", Engine(None).open)
    assert await desk.dial() == "handle"
