"""Streams over REST and the push connection: whole for who sees all, for others within their scope and masked."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from connector.access.rights import Role
from connector.access.sight import Sight
from connector.media.control import EndCause, StreamOutcome, StreamStats, outcome_of
from connector.media.diagnosis import Diagnosis, Fault
from connector.media.quality import Quality, Sound
from connector.records import StreamRecord
from connector.streams.seen import LiveStream, Stage
from connector.web.push.filters import Filter
from connector.web.push.hub import Feed, Hub
from connector.web.push.messages import StreamItem
from connector.web.push.viewer import Copy
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Site, until
from tests.unit.web.test_push import drain, receive, subscribe
from tests.unit.web.test_rest import get
from tests.unit.web.test_scope import AT, house

FOREIGN = re.compile(r"beta|\+4940999888|stream-b|Ben")
"""What nobody of alpha may read anywhere."""


def stream(name: str, queue: str, *, uniqueid: str, **more: Any) -> LiveStream:
    made = LiveStream(
        pbx="main",
        stream_id=name,
        uniqueid=uniqueid,
        profile="ears",
        dialect="twilio",
        mode="assist",
        peer="wss://bot.example.com:8443",
        stage=Stage.LIVE,
        started_at=AT,
        queue=queue,
        faults=(Diagnosis(Fault.LOSS, "4.0 % of the caller's packets never came", "look at the network"),),
        stats=StreamStats(packets_in=50, packets_out=49),
        quality=Quality(mos=4.1, caller=Sound(now_dbfs=-21.04), bot=Sound(now_dbfs=-96.0)),
        phone=None,
    )
    return replace(made, **more)


ALPHA = stream("stream-a", "alpha", uniqueid="1.alpha")
BETA = stream("stream-b", "beta", uniqueid="2.beta", profile="beta-ears")
NOBODYS = stream("stream-n", "", uniqueid="9.9", quality=None, stage=Stage.CONNECTING)
ON_QUEUE_BETA = replace(BETA, stream_id="stream-b2", queue="")
"""Its profile names no queue; the call came to one."""


async def made(make_site: MakeSite) -> Site:
    site = await make_site(house(), anonymous="")
    site.streams = [ALPHA, BETA, ON_QUEUE_BETA, NOBODYS]
    return site


async def test_who_sees_all_sees_each_whole(make_site: MakeSite) -> None:
    site = await made(make_site)
    headers = await site.token(Role.ADMIN)
    _, body, _ = await get(site, "/streams", headers=headers)
    assert [each["stream"] for each in body["streams"]] == ["stream-a", "stream-b", "stream-b2", "stream-n"]
    whole = body["streams"][0]
    assert whole | {"meters": None, "faults": None} == {
        "pbx": "main", "stream": "stream-a", "linkedid": "1.alpha", "uniqueid": "1.alpha", "profile": "ears",
        "dialect": "twilio", "mode": "assist", "peer": "wss://bot.example.com:8443", "state": "live",
        "started_at": AT, "queues": ["alpha"], "agent": "", "teams": [], "number": "+4930111222",
        "name": "Caller of alpha", "faults": None, "meters": None,
    }  # fmt: skip
    assert whole["faults"][0]["fault"] == "loss"
    assert (whole["meters"]["caller_dbfs"], whole["meters"]["bot_dbfs"], whole["meters"]["mos"]) == (-21.0, -96.0, 4.1)
    assert whole["meters"]["counters"]["packets_in"] == 50
    assert body["streams"][3]["meters"] is None
    assert (await get(site, "/streams/main/stream-b", headers=headers))[1]["profile"] == "beta-ears"
    for query, found in (
        ("queue=beta", ["stream-b", "stream-b2"]),
        ("profile=beta-ears", ["stream-b", "stream-b2"]),
        ("state=connecting", ["stream-n"]),
        ("limit=1", ["stream-a"]),
        ("after=main/stream-b", ["stream-b2", "stream-n"]),
    ):
        _, body, _ = await get(site, f"/streams?{query}", headers=headers)
        assert [each["stream"] for each in body["streams"]] == found, query


@pytest.mark.parametrize("role", [Role.SUPERVISOR, Role.VIEWER])
async def test_the_api_shows_a_supervisor_their_streams_alone(make_site: MakeSite, role: Role) -> None:
    site = await made(make_site)
    headers = await site.token(role, queues=("alpha",))
    for path in ("/streams", "/streams?queue=beta", "/streams?profile=beta-ears", "/streams/main/stream-a"):
        _, body, _ = await get(site, path, headers=headers)
        assert not FOREIGN.search(json.dumps(body)), path
    _, body, _ = await get(site, "/streams", headers=headers)
    assert [each["stream"] for each in body["streams"]] == ["stream-a"]
    assert body["streams"][0]["number"] == ("+4930111222" if role is Role.SUPERVISOR else "\u2026222")
    for hidden in ("stream-b", "stream-b2", "stream-n"):
        assert (await get(site, f"/streams/main/{hidden}", headers=headers))[0] == 404
    assert (await get(site, "/streams", headers=await site.token(Role.SUPERVISOR)))[1]["streams"] == []


async def test_a_team_sees_the_streams_of_its_people(make_site: MakeSite) -> None:
    site = await made(make_site)
    state = site.pbxs.states()["main"]
    state.legs["2.beta"].agent = "ben"
    headers = await site.token(Role.SUPERVISOR, teams=("second",))
    _, body, _ = await get(site, "/streams", headers=headers)
    assert [(each["stream"], each["agent"], each["queues"]) for each in body["streams"]] == [
        ("stream-b", "ben", []),
        ("stream-b2", "ben", []),
    ]


async def test_the_socket_shows_a_supervisor_their_streams_alone(make_site: MakeSite) -> None:
    site = await made(make_site)
    headers = await site.token(Role.SUPERVISOR, queues=("alpha",))
    for wanted in ({}, {"meters": True}, {"queues": ["beta"]}, {"queues": ["alpha", "beta"], "meters": True}):
        await shown(site, ALPHA, BETA, ON_QUEUE_BETA, NOBODYS)
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(f"{site.url}/api/v1/live") as socket,
        ):
            await socket.send_json(subscribe(**wanted))
            told = await until_quiet(socket)
            # All change, and all end: nothing of the foreign ones comes, not even that they are gone.
            await shown(site, *(replace(each, stage=Stage.HELD) for each in (ALPHA, BETA, ON_QUEUE_BETA, NOBODYS)))
            told += await until_quiet(socket)
            await shown(site)
            told += await until_quiet(socket)
            text = json.dumps(told)
            assert not FOREIGN.search(text)
            assert "stream-n" not in text
            if wanted.get("queues") == ["beta"]:
                assert "stream-a" not in text
                continue
            snapshot, held, gone = told
            assert [each["id"] for each in snapshot["items"] if each["kind"] == "stream"] == ["main/stream-a"]
            assert held["changed"][0]["state"] == "held"
            assert gone["removed"] == [{"kind": "stream", "id": "main/stream-a"}]


async def shown(site: Site, *streams: LiveStream) -> None:
    """These run now, and the hub has seen it."""
    wanted = {(f"main/{each.stream_id}", each.stage) for each in streams}
    site.streams = list(streams)
    site.hub.changed_elsewhere()
    items = site.hub.shelf.items
    await until(lambda: {(each.id, each.state) for each in items.values() if isinstance(each, StreamItem)} == wanted)


async def until_quiet(socket: aiohttp.ClientWebSocketResponse) -> list[Any]:
    """What comes until the connector has nothing to tell."""
    told: list[Any] = []
    while (message := await receive(socket))["type"] != "heartbeat":
        told.append(message)
    return told


def push(hub: Hub) -> None:
    """What the look of each second does."""
    hub.shelf.touch_streams()
    hub.flush()


def items(feed: Feed, copy: Copy) -> dict[str, Any]:
    drain(feed, copy)
    return {id_: item for (kind, id_), item in copy.items.items() if kind == "stream"}


def test_meters_are_for_those_who_ask_and_no_change_for_others() -> None:
    streams = [ALPHA]
    pbxs = house()
    hub = Hub(pbxs, lambda _pbx: streams, clock=lambda: 1.0, run_id="run")
    plain, metered = hub.attach(Filter(), None), hub.attach(Filter(meters=True), None)
    copies = Copy(), Copy()
    hub.shelf.metered = True
    hub.changed_elsewhere()
    hub.flush()
    assert items(plain, copies[0])["main/stream-a"].meters is None
    assert items(metered, copies[1])["main/stream-a"].meters.counters.packets_in == 50
    streams[0] = replace(ALPHA, stats=StreamStats(packets_in=100))
    push(hub)
    assert plain.take() is None, "nothing that they see has changed"
    assert items(metered, copies[1])["main/stream-a"].meters.counters.packets_in == 100
    streams[0] = replace(ALPHA, faults=())
    push(hub)
    assert items(plain, copies[0])["main/stream-a"].faults == ()
    streams.clear()
    push(hub)
    assert not items(plain, copies[0])
    assert not items(metered, copies[1])


def test_one_who_comes_back_is_told_of_streams_as_of_all_else() -> None:
    streams = [ALPHA]
    hub = Hub(house(), lambda _pbx: streams, clock=lambda: 1.0, run_id="run")
    wanted = Filter(meters=True, sight=Sight.of(["alpha"], [], numbers=False))
    hub.shelf.metered = True
    hub.changed_elsewhere()
    hub.flush()
    feed, copy = hub.attach(wanted, None), Copy()
    assert items(feed, copy)["main/stream-a"].number == "\u2026222"
    hub.detach(feed)
    streams[:] = [BETA, replace(ALPHA, stream_id="stream-c")]
    push(hub)
    feed = hub.attach(wanted, copy.resume)
    assert list(items(feed, copy)) == ["main/stream-c"]
    assert hub.resumed == 1


async def test_streams_are_looked_at_by_the_clock_and_not_by_what_changes(make_site: MakeSite) -> None:
    site = await made(make_site)
    headers = await site.token(Role.ADMIN)
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(f"{site.url}/api/v1/live") as socket,
    ):
        await socket.send_json(subscribe(meters=True))
        await receive(socket)
        site.streams = [ALPHA]
        message = await receive(socket)
        assert message["type"] == "heartbeat", "between two looks nothing of a stream is sent"
        watching = asyncio.create_task(site.hub.watch_streams(every_s=0.02))
        while message["type"] == "heartbeat":
            message = await receive(socket)
        assert [each["id"] for each in message["changed"]] == ["main/stream-a"]
        await until(lambda: site.hub.shelf.metered)
    await until(lambda: not site.hub.shelf.metered)
    watching.cancel()
    await asyncio.wait({watching})


def record(name: str, queue: str, **more: Any) -> StreamRecord:
    fields = {
        "pbx": "main", "at": AT + 60, "stream_id": name, "uniqueid": "u", "profile": "ears", "dialect": "twilio",
        "mode": "assist", "peer": "wss://bot.example.com", "queue": queue, "cause": "call_ended", "detail": "",
        "started_at": AT, "setup_s": 0.1, "stats": {"packets_in": 3}, "quality": {"mos": 4.0, "faults": []},
    }  # fmt: skip
    return StreamRecord(**{**fields, **more})


async def test_history_has_the_streams_of_the_scope(make_site: MakeSite) -> None:
    site = await made(make_site)
    await site.keep(
        record("stream-a", "alpha"),
        record("stream-b", "beta", at=AT + 61, cause="bot_refused", profile="beta-ears"),
        record("stream-n", ""),
    )
    headers = await site.token(Role.SUPERVISOR, queues=("main/alpha",))
    _, body, _ = await get(site, "/history/streams", headers=headers)
    (only,) = body["streams"]
    assert not FOREIGN.search(json.dumps(body))
    assert (only["stream"], only["outcome"], only["dialect"], only["counters"]) == (
        "stream-a", "completed", "twilio", {"packets_in": 3},
    )  # fmt: skip
    assert only["quality"]["mos"] == 4.0
    admin = await site.token(Role.ADMIN)
    ids: Callable[[Any], list[str]] = lambda page: [each["stream"] for each in page["streams"]]  # noqa: E731
    _, first, _ = await get(site, "/history/streams?limit=1", headers=admin)
    assert ids(first) == ["stream-b"]
    _, rest, _ = await get(site, f"/history/streams?after={first['next']}", headers=admin)
    assert ids(rest) == ["stream-n", "stream-a"]
    for query in ("cause=bot_refused", "queue=beta", "profile=beta-ears"):
        assert ids((await get(site, f"/history/streams?{query}", headers=admin))[1]) == ["stream-b"]


def test_every_cause_has_an_outcome_and_what_is_not_known_to_be_well_failed() -> None:
    by = {outcome: {cause for cause in EndCause if outcome_of(cause) is outcome} for outcome in StreamOutcome}
    assert by[StreamOutcome.HANDED_OVER] == {EndCause.HANDED_OVER, EndCause.CALL_MOVED}
    assert by[StreamOutcome.STOPPED] == {EndCause.STOPPED, EndCause.SESSION_LIMIT, EndCause.SHUTDOWN}
    assert {cause for cause in EndCause if cause.value.startswith("bot_")} - by[StreamOutcome.FAILED] == {
        EndCause.BOT_CLOSED,
        EndCause.BOT_HUNG_UP,
    }
