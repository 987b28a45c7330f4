"""Webhooks: signed, in order, not lost, not to where they must not go."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import jsonschema
import msgspec
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from pydantic import ValidationError

from connector.config import WebhookSettings
from connector.events import (
    AgentCalled,
    AgentConnected,
    CallerJoined,
    CallOutcome,
    MemberChanged,
    MemberRemoved,
    Outcome,
)
from connector.net.reach import is_public
from connector.web.happenings import AnyHappening, CallerId, CallerJoinedHappening, Happenings, JoinedData, Recipient
from connector.web.hooks import webhooks as webhooks_module
from connector.web.hooks.outbox import Delivery, Outbox
from connector.web.hooks.signature import HEADER, sign, verify
from connector.web.hooks.webhooks import Webhooks, wants
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Pbxs, recorded, until

SECRET = "a secret of some length"
SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


@cache
def schema() -> Any:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / "webhook.json").read_text()))


def happening(number: int, queue: str = "support", *agents: str) -> AnyHappening:
    return CallerJoinedHappening(
        id=f"id{number}",
        at=float(number),
        pbx="main",
        queue=queue,
        uniqueid=f"u{number}",
        recipients=tuple(Recipient(interface=f"PJSIP/{name}", agent=name) for name in agents or ("anna",)),
        data=JoinedData(queue=queue, callerId=CallerId(id="100", name="Zoë"), queuedCalls=1),
    )


class Receiver:
    """Takes webhooks and answers as told."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes, dict[str, str]]] = []
        self.answers: list[web.Response | float | int] = []
        application = web.Application()
        application.router.add_post("/hook", self._hook)
        self.server = TestServer(application)

    async def _hook(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        answer = self.answers.pop(0) if self.answers else web.Response(status=204)
        self.taken.append((json.loads(body)["id"], body, dict(request.headers)))
        if isinstance(answer, int):
            return web.Response(status=answer)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return web.Response(status=204)
        return answer

    @property
    def url(self) -> str:
        return str(self.server.make_url("/hook"))

    @property
    def ids(self) -> list[str]:
        return [each[0] for each in self.taken]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.server.start_server()
    yield made
    await made.server.close()


class Running:
    """Webhooks under way."""

    def __init__(self, webhooks: Webhooks) -> None:
        self.webhooks = webhooks

    async def __aenter__(self) -> Webhooks:
        self._task = asyncio.create_task(self.webhooks.run())
        return self.webhooks

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        assert self._task.cancelled(), self._task.exception()


def running(path: Path, resolver: AbstractResolver | None = None, clock: Any = time.time, **endpoints: Any) -> Running:
    return Running(
        Webhooks(
            {
                name: WebhookSettings(**{"secret": SECRET, "allow_private": True, **settings})
                for name, settings in endpoints.items()
            },
            path / "outbox.sqlite",
            clock=clock,
            random=Random(1),
            resolver=resolver,
            first_retry_s=0.002,
        )
    )


# -- what is told -------------------------------------------------------------------------------------------------


def test_a_shift_is_told_in_the_seven_events_to_those_concerned() -> None:
    pbxs, told = Pbxs(), list[AnyHappening]()
    happenings = Happenings(states=pbxs.states, tell=told.append)
    pbxs.listeners.append(happenings.on_item)
    outcomes: list[CallOutcome] = []
    pbxs.listeners.append(lambda item: outcomes.append(item) if isinstance(item, CallOutcome) else None)
    pbxs.play(*recorded())
    by_event: dict[str, list[Any]] = {}
    for each in told:
        schema().validate(json.loads(msgspec.json.encode(each)))
        by_event.setdefault(str(each.__struct_config__.tag), []).append(each)
    expected = {
        "caller-joined": CallerJoined,
        "agent-called": AgentCalled,
        "agent-connected": AgentConnected,
        "queue-member-removed": MemberRemoved,
    }
    for event, kind in expected.items():
        assert len(by_event[event]) == sum(isinstance(each, kind) for each in recorded()), event
    added = [each for each in recorded() if isinstance(each, MemberChanged) and each.kind == "added"]
    assert len(by_event["queue-member-added"]) == len(added)
    assert len(by_event["call.hangup"]) == len(by_event["agent-connected"])
    abandoned = sum(each.outcome is Outcome.ABANDONED for each in outcomes)
    assert len(by_event["call-abandoned"]) == abandoned < len(outcomes), "a timeout is no abandoned call"
    for each in by_event["agent-called"]:
        assert len(each.recipients) == 1, "only who is rung"
        assert each.data.callerId.id, "the caller is named"
    joined = by_event["caller-joined"][0]
    assert {to.interface for to in joined.recipients} >= {"PJSIP/agent1", "PJSIP/agent2"}
    assert joined.data.queuedCalls == 1


def test_the_same_event_twice_has_the_same_id() -> None:
    event = next(each for each in recorded() if isinstance(each, AgentCalled))
    pbxs, told = Pbxs(), list[AnyHappening]()
    pbxs.listeners.append(Happenings(states=pbxs.states, tell=told.append).on_item)
    other = msgspec.structs.replace(event, interface="PJSIP/other")
    pbxs.play(event, event, other)
    assert told[0].id == told[1].id != told[2].id


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, True),
        ({"events": ["caller-joined"]}, True),
        ({"events": ["agent-called"]}, False),
        ({"queues": ["support", "sales"]}, True),
        ({"queues": ["sales"]}, False),
        ({"agents": ["anna"]}, True),
        ({"agents": ["PJSIP/anna"]}, True),
        ({"agents": ["ben"]}, False),
    ],
)
def test_an_endpoint_gets_what_it_asked_for(settings: dict[str, Any], expected: bool) -> None:
    endpoint = WebhookSettings(url="https://crm.example/hook", secret=SECRET, **settings)  # type: ignore[arg-type]
    assert wants(endpoint, happening(1)) is expected
    nobody = msgspec.structs.replace(happening(1), recipients=())
    assert not wants(endpoint, nobody), "what concerns no member is told to nobody"


@pytest.mark.parametrize(
    "settings",
    [
        {"events": ["agent-fired"]},
        {"secret": "short"},
        {"url": "ftp://crm.example"},
        {"url": "https://u:p@crm.example"},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WebhookSettings(**{"url": "https://crm.example", "secret": SECRET, **settings})


# -- delivery -----------------------------------------------------------------------------------------------------


async def test_deliveries_are_signed_and_in_order(tmp_path: Path, receiver: Receiver) -> None:
    async with running(tmp_path, crm={"url": receiver.url}) as webhooks:
        for number in range(30):
            webhooks.on_happening(happening(number))
        await until(lambda: len(receiver.taken) == 30)
    assert receiver.ids == [f"id{number}" for number in range(30)]
    for _, body, headers in receiver.taken:
        schema().validate(json.loads(body))
        assert verify(SECRET, body, headers[HEADER], time.time())
        assert headers["X-Connector-Event"] == "caller-joined"
        assert headers["X-Connector-Attempt"] == "1"


def test_a_signature_holds_secret_body_and_time() -> None:
    header = sign(SECRET, b"body", 1_000)
    assert verify(SECRET, b"body", header, 1_299)
    assert not verify(SECRET, b"body", header, 1_301), "an old one, sent again"
    assert not verify(SECRET, b"body", header, 699), "one of the future"
    assert not verify(SECRET, b"Body", header, 1_000)
    assert not verify(SECRET + "x", b"body", header, 1_000)
    assert not verify(SECRET, b"body", header.replace("t=1000", "t=1001"), 1_000)
    for broken in ("", "t=,v1=", "v1=abc", "t=abc,v1=abc", "t=\u00b2,v1=\u00e4", ",,="):
        assert not verify(SECRET, b"body", broken, 1_000)


async def test_a_failure_is_tried_again_and_holds_up_what_follows(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500, web.Response(status=429, headers={"Retry-After": "0.01"})]
    async with running(tmp_path, crm={"url": receiver.url}) as webhooks:
        webhooks.on_happening(happening(1))
        webhooks.on_happening(happening(2))
        await until(lambda: len(receiver.taken) == 4)
        await until(lambda: webhooks.stats["crm"].attempts["delivered"] == 2)  # type: ignore[index]
        assert webhooks.stats["crm"].last_error == ""
    assert receiver.ids == ["id1", "id1", "id1", "id2"]
    assert [headers["X-Connector-Attempt"] for _, _, headers in receiver.taken] == ["1", "2", "3", "1"]


async def test_one_endpoint_does_not_hold_up_another(tmp_path: Path, receiver: Receiver) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        async with running(tmp_path, dead={"url": dead}, crm={"url": receiver.url}) as webhooks:
            webhooks.on_happening(happening(1))
            await until(lambda: receiver.ids == ["id1"])
            await until(lambda: webhooks.stats["dead"].last_error)
            assert "cannot connect" in webhooks.stats["dead"].last_error


async def test_a_refusal_for_good_is_a_dead_letter_and_can_be_revived(tmp_path: Path, receiver: Receiver) -> None:
    moved = web.Response(status=302, headers={"Location": "http://169.254.169.254/"})
    receiver.answers = [404, moved]
    async with running(tmp_path, crm={"url": receiver.url}) as webhooks:
        for number in (1, 2, 3):
            webhooks.on_happening(happening(number))
        await until(lambda: receiver.ids == ["id1", "id2", "id3"])
        letters = await webhooks.use(lambda outbox: outbox.dead_letters("crm", 0, 10))
        assert [(each.id, each.error.partition(":")[0]) for each in letters] == [
            ("id1", "answered 404"),
            ("id2", "answered 302"),
        ]
        assert await webhooks.revive("crm") == 2
        await until(lambda: receiver.ids == ["id1", "id2", "id3", "id1", "id2"])


async def test_what_is_not_delivered_outlives_the_process_and_is_told_once(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [503] * 1000
    async with running(tmp_path, crm={"url": receiver.url}) as webhooks:
        webhooks.on_happening(happening(1))
        await until(lambda: receiver.taken)
        webhooks.on_happening(happening(2))  # may still be in memory when it ends
    receiver.answers.clear()
    receiver.taken.clear()
    async with running(tmp_path, crm={"url": receiver.url}) as webhooks:
        await until(lambda: len(receiver.taken) == 2)
        webhooks.on_happening(happening(1))  # the same event, heard again
        webhooks.on_happening(happening(3))
        await until(lambda: "id3" in receiver.ids)
    assert receiver.ids == ["id1", "id2", "id3"]


async def test_what_is_too_old_is_given_up(tmp_path: Path, receiver: Receiver) -> None:
    now = [time.time()]
    receiver.answers = [500, 500]
    async with running(tmp_path, clock=lambda: now[0], crm={"url": receiver.url, "max_age_hours": 1}) as webhooks:
        webhooks.on_happening(happening(1))
        await until(lambda: receiver.taken)
        now[0] += 3_601.0
        await until(lambda: webhooks.stats["crm"].attempts["dead"])  # type: ignore[index]
        (letter,) = await webhooks.use(lambda outbox: outbox.dead_letters("crm", 0, 10))
        assert "answered 500" in letter.error


async def test_too_many_cost_the_oldest(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    rows = [("crm", f"id{number}", "e", b"{}", 0.0) for number in range(10)]
    assert outbox.add(rows, {"crm": 4}) == {"crm": 6}
    head = outbox.head("crm")
    assert head is not None
    assert head.id == "id6"
    assert outbox.backlog("crm").pending == 4
    outbox.close()


async def test_memory_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks_module, "INCOMING_MAX", 3)
    webhooks = running(tmp_path, crm={"url": "https://crm.example"}).webhooks
    for number in range(5):
        webhooks.on_happening(happening(number))
    assert len(webhooks._incoming) == 3
    assert webhooks.stats["crm"].dropped == 2


async def test_a_dead_outbox_loses_nothing(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks_module, "OUTBOX_RETRY_S", 0.01)
    working = Outbox.add

    def broken(*_: Any) -> Any:
        raise sqlite3.OperationalError("disk is full")

    monkeypatch.setattr(Outbox, "add", broken)
    async with running(tmp_path, crm={"url": receiver.url}) as webhooks:
        webhooks.on_happening(happening(1))
        await until(lambda: webhooks.outbox_failures)
        webhooks.on_happening(happening(2))
        monkeypatch.setattr(Outbox, "add", working)
        await until(lambda: receiver.ids == ["id1", "id2"])


async def test_a_slow_receiver_is_cut_off_and_a_long_answer_not_read(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [2.0, web.Response(body=b"x" * 50_000_000)]
    async with running(tmp_path, crm={"url": receiver.url, "timeout_ms": 500}) as webhooks:
        webhooks.on_happening(happening(1))
        await until(lambda: webhooks.stats["crm"].attempts["delivered"] == 1)  # type: ignore[index]
        assert webhooks.stats["crm"].attempts["retry"] >= 1  # type: ignore[index]


# -- where they may go --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::", "192.0.2.1",
    ],
)  # fmt: skip
def test_private_addresses_are_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_public_addresses_are_known(address: str) -> None:
    assert is_public(address)


class Names(AbstractResolver):
    """A name server of the test's own."""

    def __init__(self, **hosts: list[str]) -> None:
        self.hosts = hosts

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self.hosts[host.partition(".")[0]]
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "inside.example", "mixed.example", "[::1]", "localhost"])
async def test_nothing_goes_into_our_own_networks(tmp_path: Path, receiver: Receiver, host: str) -> None:
    url = receiver.url.replace("127.0.0.1", host)
    names = Names(inside=["127.0.0.1"], mixed=["8.8.8.8", "127.0.0.1"], localhost=["127.0.0.1"])
    async with running(tmp_path, resolver=names, crm={"url": url, "allow_private": False}) as webhooks:
        webhooks.on_happening(happening(1))
        letters: list[Delivery] = []
        async with asyncio.timeout(5):
            while not letters:
                letters = await webhooks.use(lambda outbox: outbox.dead_letters("crm", 0, 10))
        assert "a private address; set allow_private" in letters[0].error
    assert receiver.taken == []
    async with running(tmp_path, resolver=names, crm={"url": receiver.url}) as webhooks:
        webhooks.on_happening(happening(2))
        await until(lambda: receiver.ids == ["id2"])


# -- the API ------------------------------------------------------------------------------------------------------


async def test_the_api_tells_how_they_stand(make_site: MakeSite, receiver: Receiver) -> None:
    receiver.answers = [400] * 3
    settings = WebhookSettings(url=receiver.url + "?key=hidden", secret=SECRET, allow_private=True)  # type: ignore[arg-type]
    site = await make_site(hooks={"crm": settings})
    for number in (1, 2, 3):
        site.webhooks.on_happening(happening(number))
    await until(lambda: site.webhooks.stats["crm"].attempts["dead"] == 3)  # type: ignore[index]
    async with aiohttp.ClientSession(f"{site.url}/api/v1/") as session:

        async def get(path: str, method: str = "GET") -> tuple[int, Any]:
            async with session.request(method, path) as answer:
                return answer.status, await answer.json()

        _, listed = await get("webhooks")
        (crm,) = listed["webhooks"]
        assert (crm["pending"], crm["dead"], crm["failed"], crm["last_error"]) == (0, 3, 3, "answered 400")
        assert "hidden" not in json.dumps(listed)
        _, page = await get("webhooks/crm/dead-letters?limit=2")
        assert [each["id"] for each in page["dead_letters"]] == ["id1", "id2"]
        schema().validate(page["dead_letters"][0]["body"])
        _, page = await get(f"webhooks/crm/dead-letters?after={page['next']}")
        assert ([each["id"] for each in page["dead_letters"]], page["next"]) == (["id3"], 0)
        assert await get("webhooks/crm/revive", "POST") == (200, {"revived": 3})
        await until(lambda: len(receiver.taken) == 6)
        assert (await get("webhooks/none/dead-letters"))[0] == 404
