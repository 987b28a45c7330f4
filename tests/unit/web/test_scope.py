"""A supervisor of queue alpha neither sees beta nor hears of it: over the API, over the socket, and in history."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
import pytest

from connector.access.rights import Right, Role
from connector.config_people import AgentSettings
from connector.events import (
    AgentConnected,
    Caller,
    CallerJoined,
    CallOutcome,
    DeviceState,
    DirectoryChanged,
    Event,
    Leg,
    LegStarted,
    Member,
    MemberChanged,
    Outcome,
    Person,
    RangInVain,
    TalkEnded,
    WrapUpEnded,
)
from connector.records import AgentInterval, AgentState, CallRecord, Direction, QueueVisit, TimelineEntry
from connector.web.happenings import KINDS
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Pbxs, Site
from tests.unit.web.test_push import receive, subscribe
from tests.unit.web.test_rest import get

AT = 1_800_000_000.0 - 100.0
NUMBERS = {"alpha": "+4930111222", "beta": "+4940999888"}
OF_CALLS = ("actions", "listening", "listeners", "recordings", "streams")
"""What one does with calls; each such act has a right of its own."""
HIDDEN = re.compile(r"beta|\+4940999888|Ben|PJSIP/ben|2\.beta")
"""What nobody of alpha may read anywhere."""


def joined(queue: str) -> tuple[LegStarted, CallerJoined]:
    uniqueid = f"{1 if queue == 'alpha' else 2}.{queue}"
    leg = Leg(
        uniqueid=uniqueid,
        linkedid=uniqueid,
        channel=f"PJSIP/trunk-{queue}",
        state="Up",
        number=NUMBERS[queue],
        name=f"Caller of {queue}",
        context="from-trunk",
        exten="100",
        started_at=AT,
    )
    caller = Caller(uniqueid=uniqueid, channel=leg.channel, position=1, joined_at=AT, number=leg.number, name=leg.name)
    return (
        LegStarted(pbx="main", at=AT, leg=leg),
        CallerJoined(pbx="main", at=AT, queue=queue, caller=caller, linkedid=uniqueid),
    )


def member(name: str, queue: str) -> MemberChanged:
    made = Member(interface=f"PJSIP/{name}", name=name.capitalize(), device=DeviceState.NOT_IN_USE)
    return MemberChanged(pbx="main", at=AT, queue=queue, member=made, kind="added")


def house() -> Pbxs:
    """Anna serves alpha, Ben beta, Carl both; one caller waits in each."""
    pbxs = Pbxs()
    people = tuple(
        Person(id=each, name=each.capitalize(), teams=(team,), interfaces=(f"PJSIP/{each}",))
        for each, team in (("anna", "first"), ("ben", "second"), ("carl", "first"))
    )
    pbxs.play(
        DirectoryChanged(pbx="main", at=AT, people=people),
        member("anna", "alpha"),
        member("ben", "beta"),
        member("carl", "alpha"),
        member("carl", "beta"),
        *joined("alpha"),
        *joined("beta"),
    )
    return pbxs


def visit(queue: str, agent: str, at: float) -> QueueVisit:
    return QueueVisit(
        queue=queue,
        uniqueid="x",
        joined_at=at,
        ended_at=at + 5,
        outcome=Outcome.ANSWERED,
        position=1,
        wait_s=5.0,
        agent=agent,
    )


def ended(linkedid: str, *visits: QueueVisit, number: str) -> CallRecord:
    timeline = tuple(TimelineEntry(at=each.joined_at, what="joined", detail=each.queue) for each in visits)
    return CallRecord(
        pbx="main",
        at=AT + 60,
        linkedid=linkedid,
        started_at=AT,
        direction=Direction.INBOUND,
        number=number,
        name="",
        dialled="100",
        answered_at=AT + 5,
        visits=visits,
        timeline=timeline,
        legs=2,
    )


async def made(make_site: MakeSite) -> Site:
    site = await make_site(house(), anonymous="", agents={"anna": AgentSettings(interfaces=("PJSIP/anna",))})
    await site.keep(
        ended("10.1", visit("alpha", "anna", AT), number="+4930777000"),
        ended("10.2", visit("beta", "ben", AT), number=NUMBERS["beta"]),
        ended("10.3", visit("alpha", "carl", AT), visit("beta", "ben", AT + 20), number="+4930777001"),
        AgentInterval(
            pbx="main", at=AT + 60, agent="ben", state=AgentState.PAUSED, reason="lunch in beta", started_at=AT
        ),
    )
    return site


async def test_no_list_of_the_api_names_what_is_out_of_scope(make_site: MakeSite) -> None:
    site = await made(make_site)
    headers = await site.token(Role.SUPERVISOR, queues=("alpha",))
    answered = {}
    for endpoint in site.api.endpoints:
        if endpoint.method == "GET" and "{" not in endpoint.path:
            status, body, _ = await get(site, endpoint.path, headers=headers)
            answered[endpoint.path] = status
            assert status in (200, 403, 409), endpoint.path
            assert not HIDDEN.search(json.dumps(body)), endpoint.path
    seen = {path for path, status in answered.items() if status == 200}
    assert seen >= {"/queues", "/agents", "/calls", "/figures/queues", "/figures/agents", "/history/calls",
                    "/reports/queues", "/reports/agents", "/session"}  # fmt: skip
    assert answered["/state"] == answered["/directory/people"] == answered["/audit"] == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/queues/main/alpha", 200),
        ("/queues/main/beta", 404),
        ("/agents/main/anna", 200),
        ("/agents/main/carl", 200),
        ("/agents/main/ben", 404),
        ("/calls/main/1.alpha", 200),
        ("/calls/main/2.beta", 404),
        ("/calls/main/10.1", 200),
        ("/calls/main/10.2", 404),
        ("/calls/main/10.3", 200),
        ("/figures/queues/main/alpha", 200),
        ("/figures/queues/main/beta", 404),
        ("/figures/agents/main/anna", 200),
        ("/figures/agents/main/ben", 404),
        ("/history/calls?queue=beta", 200),
        ("/history/calls?agent=ben", 200),
        ("/history/calls?number=%2B4940999888", 200),
        ("/reports/queues?name=beta", 200),
        ("/reports/agents?name=ben", 200),
    ],
)
async def test_what_is_out_of_scope_is_not_there(make_site: MakeSite, path: str, status: int) -> None:
    site = await made(make_site)
    headers = await site.token(Role.SUPERVISOR, queues=("alpha",))
    got, body, _ = await get(site, path, headers=headers)
    assert got == status
    if got == 200:
        assert not HIDDEN.search(json.dumps(body))
        if "?" in path:
            assert not next(value for value in body.values() if isinstance(value, list)), "a filter tells of nothing"
    admin = await site.token(Role.ADMIN)
    assert (await get(site, path, headers=admin))[0] == 200, "it is there"


def talked(queue: str, agent: str, uniqueid: str, talk_s: float) -> tuple[Event, ...]:
    common: dict[str, Any] = {"pbx": "main", "at": AT, "queue": queue, "uniqueid": uniqueid, "agent": agent}
    return (
        CallOutcome(**common, outcome=Outcome.ANSWERED, wait_s=1.0),
        TalkEnded(**common, talk_s=talk_s, hold_s=talk_s / 10, transferred=queue == "beta"),
        WrapUpEnded(**common, wrap_up_s=talk_s / 5),
        RangInVain(**common, ring_s=talk_s / 2),
    )


SHARED = {"answered": 1, "talks": 1, "talk_s": 30.0, "hold_s": 3.0, "wrap_up_s": 6.0, "rang_in_vain": 1,
          "ring_in_vain_s": 15.0, "transfers": 0, "talk_mean_s": 30.0, "handle_mean_s": 36.0}  # fmt: skip
WHOLE = {"answered": 3, "talks": 3, "talk_s": 430.0, "hold_s": 43.0, "wrap_up_s": 86.0, "rang_in_vain": 3,
         "ring_in_vain_s": 215.0, "transfers": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        ({"role": Role.SUPERVISOR, "queues": ("alpha",)}, SHARED),
        ({"role": Role.VIEWER, "queues": ("main/alpha",)}, SHARED),
        ({"role": Role.SUPERVISOR, "queues": ("alpha", "beta")}, WHOLE),
        ({"role": Role.SUPERVISOR, "teams": ("first",)}, WHOLE),
        ({"role": Role.ADMIN}, WHOLE),
    ],
)
async def test_totals_of_a_person_who_serves_foreign_queues_too_are_those_of_the_own_ones(
    make_site: MakeSite, account: dict[str, Any], expected: dict[str, float]
) -> None:
    site = await made(make_site)
    figures = site.figures["main"]
    for event in (*talked("alpha", "carl", "20.1", 30.0), *talked("beta", "carl", "20.2", 200.0),
                  *talked("beta", "carl", "20.3", 200.0)):  # fmt: skip
        figures.take(event)
    headers = await site.token(**account)
    _, one, _ = await get(site, "/figures/agents/main/carl", headers=headers)
    _, listed, _ = await get(site, "/figures/agents", headers=headers)
    of_list = next(each["figures"] for each in listed["agents"] if each["agent"] == "carl")
    for window in ("today", "m60"):
        for shown in (one["figures"], of_list):
            assert {name: shown[window][name] for name in expected} == expected


async def test_quarters_of_a_person_who_serves_foreign_queues_too_are_not_told(make_site: MakeSite) -> None:
    site = await made(make_site)
    await site.keep(
        *(
            AgentInterval(pbx="main", at=AT + 60, agent=agent, state=AgentState.ON_CALL, reason="", started_at=AT)
            for agent in ("anna", "carl")
        )
    )
    for account, expected in (
        ({"queues": ("alpha",)}, {"anna"}),
        ({"queues": ("alpha", "beta")}, {"anna", "ben", "carl"}),
        ({"teams": ("first",)}, {"anna", "carl"}),
    ):
        headers = await site.token(Role.SUPERVISOR, **account)
        _, report, _ = await get(site, "/reports/agents", headers=headers)
        assert {each["agent"] for each in report["intervals"]} == expected, account


async def test_a_team_is_a_scope_too(make_site: MakeSite) -> None:
    site = await made(make_site)
    headers = await site.token(Role.SUPERVISOR, teams=("second",))
    _, agents, _ = await get(site, "/agents", headers=headers)
    assert [(agent["agent"], agent["queues"]) for agent in agents["agents"]] == [("ben", [])]
    assert (await get(site, "/queues", headers=headers))[1]["queues"] == []
    _, calls, _ = await get(site, "/history/calls", headers=headers)
    assert {call["linkedid"]: [v["agent"] for v in call["visits"]] for call in calls["calls"]} == {
        "10.2": ["ben"],
        "10.3": ["ben"],
    }


async def test_no_scope_is_a_scope_of_nothing(make_site: MakeSite) -> None:
    site = await made(make_site)
    headers = await site.token(Role.SUPERVISOR)
    for path in ("/queues", "/agents", "/calls", "/figures/queues", "/history/calls", "/reports/agents"):
        _, body, _ = await get(site, path, headers=headers)
        assert not next(value for value in body.values() if isinstance(value, list)), path


async def test_a_queue_of_one_pbx_is_not_that_of_another() -> None:
    from connector.access.sight import Sight

    sight = Sight.of(["main/alpha", "gamma"], [], numbers=True)
    assert sight.queue("main", "alpha")
    assert not sight.queue("other", "alpha")
    assert sight.queue("other", "gamma")


async def test_the_socket_tells_nothing_out_of_scope_whatever_is_asked(make_site: MakeSite) -> None:
    site = await made(make_site)
    site.pbxs.states()["main"].queues_current = True
    headers = await site.token(Role.SUPERVISOR, queues=("alpha",))
    for wanted in ({}, {"queues": ["beta"]}, {"agents": ["ben", "PJSIP/carl"]}, {"queues": ["alpha", "beta"]}):
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(f"{site.url}/api/v1/live") as socket,
        ):
            await socket.send_json(subscribe(events=list(KINDS), **wanted))
            snapshot = await receive(socket)
            assert not HIDDEN.search(json.dumps(snapshot))
            kinds = {item["kind"] for item in snapshot["items"]}
            if not wanted:
                assert kinds == {"queue", "member", "caller", "agent"}
            site.pbxs.play(member("ben", "beta"), *joined("beta"), *joined("alpha"))
            site.pbxs.play(
                AgentConnected(
                    pbx="main",
                    at=AT + 1,
                    queue="beta",
                    uniqueid="2.beta",
                    interface="PJSIP/carl",
                    member="Carl",
                    hold_s=1.0,
                    ring_s=1.0,
                )
            )
            site.hub.changed_elsewhere()
            for _ in range(3):
                assert not HIDDEN.search(json.dumps(await receive(socket)))


async def test_taken_out_of_scope_the_live_view_ends(make_site: MakeSite) -> None:
    site = await made(make_site)
    headers = await site.token(Role.SUPERVISOR, queues=("alpha",))
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(f"{site.url}/api/v1/live") as socket,
    ):
        await socket.send_json(subscribe())
        await receive(socket)
        account = site.accounts.all()[0]
        await site.kept_accounts.change(type(account)(name=account.name, role=account.role, queues=("beta",)))
        await site.accounts.refresh()
        while (message := await socket.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT:
            assert not HIDDEN.search(message.data)
        assert socket.close_code == 4401


async def test_viewers_see_no_whole_numbers(make_site: MakeSite) -> None:
    site = await made(make_site)
    headers = await site.token(Role.VIEWER, queues=("*",))
    number = re.compile(r"\d{5,}(?!\.)")

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [each for key, part in value.items() if key != "id" for each in texts(part)]
        if isinstance(value, list):
            return [each for part in value for each in texts(part)]
        return [value] if isinstance(value, str) else []

    for path in ("/calls", "/queues/main/alpha", "/history/calls", "/calls/main/10.1", "/calls/main/1.alpha"):
        _, body, _ = await get(site, path, headers=headers)
        assert not [text for text in texts(body) if number.search(text)], path
    _, whole, _ = await get(site, "/queues/main/alpha", headers=headers)
    assert whole["callers"][0]["number"] == "\u2026222"
    status, _, _ = await get(site, "/history/calls?number=%2B4930777000", headers=headers)
    assert status == 403, "nor can they try numbers until one is found"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(f"{site.url}/api/v1/live") as socket,
    ):
        await socket.send_json(subscribe(events=list(KINDS)))
        assert not [text for text in texts((await receive(socket))["items"]) if number.search(text)]
        site.pbxs.play(*joined("alpha"))
        assert not [text for text in texts((await receive(socket)).get("events")) if number.search(text)]
    unmasked = await make_site(house(), anonymous="", mask_numbers=False)
    headers = await unmasked.token(Role.VIEWER, queues=("*",))
    _, whole, _ = await get(unmasked, "/queues/main/alpha", headers=headers)
    assert whole["callers"][0]["number"] == NUMBERS["alpha"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SUPERVISOR])
async def test_what_changes_things_needs_more_than_seeing(make_site: MakeSite, role: Role) -> None:
    site = await made(make_site)
    headers = await site.token(role, queues=("*",))
    for endpoint in site.api.endpoints:
        if endpoint.method == "GET" or endpoint.tag == "session":
            continue
        assert endpoint.right not in (None, Right.OWN, Right.SEE), endpoint.name
        if endpoint.tag not in OF_CALLS:
            assert endpoint.right is Right.ADMINISTER, endpoint.name
    assert (await get(site, "/directory/people", "POST", json={"id": "x"}, headers=headers))[0] == 403
