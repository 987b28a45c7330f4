"""The API: what it answers, how it refuses, and that its document tells the truth."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from sqlalchemy import text
from yarl import URL

from connector.access.rights import Role
from connector.acd.directory import Directory
from connector.config_people import AgentSettings
from connector.events import Endpoint, EndpointsSnapshot, Outcome, Person
from connector.records import CallRecord, Direction, QueueVisit, TimelineEntry
from connector.web.rest.problems import CONTENT_TYPE
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Pbxs, Site, recorded

SNAPSHOT = Path(__file__).parents[3] / "docs" / "schemas" / "openapi.json"


def shift(*pbxs: str) -> Pbxs:
    played = Pbxs(*(pbxs or ("main",)))
    played.play(*recorded())
    return played


def call(number: int, at: float, *, outcome: Outcome = Outcome.ANSWERED, agent: str = "PJSIP/agent1") -> CallRecord:
    visit = QueueVisit(
        queue="support", uniqueid=f"u{number}", joined_at=at - 60, ended_at=at - 50, outcome=outcome, agent=agent
    )
    return CallRecord(
        pbx="main",
        at=at,
        linkedid=f"call/{number}",
        started_at=at - 60,
        direction=Direction.INBOUND,
        number=str(number),
        name="",
        dialled="500",
        answered_at=None,
        visits=(visit,),
        timeline=(TimelineEntry(at=at, what="ended"),),
        legs=2,
    )


async def get(site: Site, path: str, method: str = "GET", **options: Any) -> tuple[int, Any, aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, URL(f"{site.url}/api/v1{path}", encoded=True), **options) as answer,
    ):
        body = await answer.read()
        return answer.status, json.loads(body) if body else None, answer


# -- live -------------------------------------------------------------------------------------------------------


async def test_queues_agents_and_calls_are_those_of_the_state(make_site: MakeSite) -> None:
    pbxs = shift()
    site = await make_site(pbxs)
    state = pbxs.states()["main"]
    _, listed, _ = await get(site, "/queues")
    assert [queue["queue"] for queue in listed["queues"]] == sorted(state.queues)
    _, whole, _ = await get(site, "/queues/main/support")
    assert {member["interface"] for member in whole["members"]} == set(state.queues["support"].members)
    assert [caller["position"] for caller in whole["callers"]] == [1]
    assert whole["queue"]["waiting"] == 1
    _, agents, _ = await get(site, "/agents")
    assert {agent["agent"] for agent in agents["agents"]} == set(state.agents)
    _, agent, _ = await get(site, "/agents/main/PJSIP%2Fagent1")
    assert agent["interfaces"] == ["PJSIP/agent1"]
    _, calls, _ = await get(site, "/calls?queue=support")
    (going_on,) = calls["calls"]
    _, one, _ = await get(site, f"/calls/main/{going_on['linkedid']}")
    assert one["live"] == going_on
    assert one["finished"] is None


async def test_lists_are_paged_without_loss_or_repetition(make_site: MakeSite) -> None:
    pbxs = Pbxs("main", "other")
    for name in ("main", "other"):
        for number in range(5):
            pbxs.states()[name].queue(f"q/{number}")
    site = await make_site(pbxs)
    seen: list[tuple[str, str]] = []
    after = ""
    while True:
        _, page, _ = await get(site, f"/queues?limit=3&after={after}")
        assert len(page["queues"]) <= 3
        seen += [(queue["pbx"], queue["queue"]) for queue in page["queues"]]
        after = page["next"].replace("/", "%2F")
        if not after:
            break
    assert seen == [(pbx, f"q/{number}") for pbx in ("main", "other") for number in range(5)]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/queues?pbx=nowhere", 404, "There is no PBX 'nowhere'."),
        ("/queues/main/nothing", 404, "main has no queue 'nothing'."),
        ("/agents/main/nobody", 404, "main has no agent 'nobody'."),
        ("/calls/main/1.1", 404, "main has no call '1.1'."),
        ("/queues?limit=0", 400, "limit"),
        ("/queues?limit=1001", 400, "limit"),
        ("/queues?limit=1&limit=2", 400, "more than once"),
        ("/queues?unknown=1", 400, "unknown"),
        ("/agents?state=asleep", 400, "asleep"),
        ("/history/calls?after=rubbish", 400, "after"),
        ("/nothing", 404, "not found"),
    ],
)
async def test_refusals_say_what_and_what_to_do(make_site: MakeSite, path: str, status: int, words: str) -> None:
    site = await make_site(shift())
    got, problem, answer = await get(site, path)
    assert (got, problem["status"], answer.content_type) == (status, status, CONTENT_TYPE)
    assert words in problem["detail"]
    assert problem["remedy"]
    assert problem["type"].startswith("urn:connector:problem:")


async def test_a_wrong_method_names_the_right_ones(make_site: MakeSite) -> None:
    site = await make_site()
    status, problem, answer = await get(site, "/queues", "DELETE")
    assert (status, problem["title"]) == (405, "Method not allowed")
    assert "GET" in answer.headers["Allow"]


async def test_a_defect_hides_its_insides(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site = await make_site()

    def broken() -> Any:
        raise RuntimeError("secret insides")

    monkeypatch.setattr(site.pbxs, "states", broken)
    status, problem, _ = await get(site, "/queues")
    assert (status, problem["type"]) == (500, "urn:connector:problem:internal-error")
    assert "insides" not in json.dumps(problem)


# -- history ----------------------------------------------------------------------------------------------------


async def test_finished_calls_are_filtered_and_paged_by_key(make_site: MakeSite) -> None:
    site = await make_site()
    at = site.now - 100.0
    same_time = [call(number, at) for number in range(5)]
    await site.keep(*same_time, call(7, at - 1.5, outcome=Outcome.ABANDONED, agent=""), call(8, at - 2 * 86_400))
    seen: list[str] = []
    after = ""
    while True:
        _, page, _ = await get(site, f"/history/calls?limit=2&after={after}")
        seen += [each["linkedid"] for each in page["calls"]]
        after = page["next"].replace("/", "%2F")
        if not after:
            break
    assert seen == ["call/4", "call/3", "call/2", "call/1", "call/0", "call/7"]
    _, page, _ = await get(site, "/history/calls?outcome=abandoned")
    assert [each["number"] for each in page["calls"]] == ["7"]
    _, page, _ = await get(site, f"/history/calls?until={at - 1000}&since=0")
    assert [each["number"] for each in page["calls"]] == ["8"]
    _, one, _ = await get(site, "/calls/main/call%2F7")
    assert one["finished"]["linkedid"] == "call/7"
    assert one["timeline"] == [{"at": at - 1.5, "what": "ended", "detail": ""}]


async def test_reports_are_paged_by_time_and_name(make_site: MakeSite) -> None:
    site = await make_site()
    start = int(site.now // 900) * 900 - 3600
    for quarter in range(2):
        for number, queue in enumerate(("a/b", "c")):
            record = call(10 * quarter + number, start + 900.0 * quarter + 100)
            visit = msgspec.structs.replace(record.visits[0], queue=queue)
            await site.keep(msgspec.structs.replace(record, visits=(visit,)))
    seen: list[tuple[int, str]] = []
    after = ""
    while True:
        _, page, _ = await get(site, f"/reports/queues?limit=1&after={after}")
        seen += [(row["starts_at"], row["queue"]) for row in page["intervals"]]
        after = page["next"].replace("/", "%2F")
        if not after:
            break
    assert seen == [(start, "a/b"), (start, "c"), (start + 900, "a/b"), (start + 900, "c")]
    assert page["intervals"][0]["outcomes"]["answered"] == 1
    _, page, _ = await get(site, "/reports/agents?name=PJSIP%2Fagent1")
    assert [row["handled"] for row in page["intervals"]] == [2, 2]


async def test_a_dead_database_is_said_and_spares_the_rest(make_site: MakeSite) -> None:
    site = await make_site(shift())
    async with site.database.write() as connection:
        await connection.execute(text("drop table calls"))
        await connection.execute(text("drop table queue_aggregates"))
    status, problem, _ = await get(site, "/history/calls")
    assert (status, problem["type"]) == (503, "urn:connector:problem:history-unavailable")
    assert "no such table" in problem["cause"]
    assert (await get(site, "/reports/queues"))[0] == 503
    assert (await get(site, "/queues"))[0] == 200


# -- directory --------------------------------------------------------------------------------------------------


async def test_people_are_added_changed_and_removed_each_interface_once(make_site: MakeSite) -> None:
    site = await make_site()
    phone = {"pbx": "main", "interface": "PJSIP/alice"}
    anna = {"id": "anna", "name": "Anna Ö", "teams": ["a", "a"], "skills": "German", "interfaces": [phone]}
    status, made, answer = await get(site, "/directory/people", "POST", json=anna)
    assert (status, made["teams"], made["source"]) == (201, ["a"], "api")
    assert answer.headers["Location"] == "/api/v1/directory/people/anna"
    status, problem, _ = await get(site, "/directory/people", "POST", json={"id": "anna"})
    assert (status, problem["detail"]) == (409, "There is a person anna already.")
    status, problem, _ = await get(site, "/directory/people", "POST", json={"id": "ben", "interfaces": [phone]})
    assert status == 409
    assert problem["detail"] == "PJSIP/alice belongs to anna; ben cannot have it too."
    status, problem, _ = await get(
        site, "/directory/people", "POST", json={"id": "ben", "interfaces": [{"pbx": "x", "interface": "PJSIP/b"}]}
    )
    assert (status, problem["detail"]) == (404, "There is no PBX 'x'.")
    status, changed, _ = await get(site, "/directory/people/anna", "PUT", json={"name": "Anna"})
    assert (status, changed["name"], changed["interfaces"]) == (200, "Anna", [])
    assert (await get(site, "/directory/people/anna", "DELETE"))[0] == 204
    assert (await get(site, "/directory/people/anna", "DELETE"))[0] == 404
    assert (await get(site, "/directory/people/anna", "PUT", json={}))[0] == 404


async def test_a_device_has_one_owner_however_it_is_written(make_site: MakeSite) -> None:
    site = await make_site()

    async def add(person: str, interface: str) -> int:
        body = {"id": person, "interfaces": [{"pbx": "main", "interface": interface}]}
        return (await get(site, "/directory/people", "POST", json=body))[0]

    assert await add("anna", "Local/7@agents/n") == 201
    assert await add("ben", "Local/7@agents") == 409
    assert await add("ben", "Local/8@agents") == 201
    both = await asyncio.gather(*(add(f"c{n}", f"Local/9@agents{'/n' * (n % 2)}") for n in range(6)))
    assert sorted(both) == [201, 409, 409, 409, 409, 409]
    Directory(
        Person(id=person.id, name="", interfaces=tuple(own.interface for own in person.interfaces))
        for person in site.directories[-1]
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"id": "../etc"}, "id"),
        ({"id": "a", "more": 1}, "more"),
        ({}, "id"),
        ({"id": "a", "interfaces": [{"pbx": "main", "interface": "no-technology"}]}, "interface"),
        ({"id": "a", "skills": "x" * 4001}, "skills"),
    ],
)
async def test_people_that_cannot_be_are_refused(make_site: MakeSite, body: dict[str, Any], words: str) -> None:
    site = await make_site()
    status, problem, _ = await get(site, "/directory/people", "POST", json=body)
    assert status == 400
    assert words in problem["detail"]


async def test_a_body_must_be_json_and_small(make_site: MakeSite) -> None:
    site = await make_site()
    assert (await get(site, "/directory/people", "POST", data="id=a"))[0] == 415
    json_type = {"Content-Type": "application/json"}
    assert (await get(site, "/directory/people", "POST", data="{", headers=json_type))[0] == 400
    assert (await get(site, "/directory/people", "POST", data=b'{"id": "\xff"}', headers=json_type))[0] == 400
    assert (await get(site, "/directory/people", "POST", data=b" " * 70_000, headers=json_type))[0] == 413


async def test_identities_are_free_allocated_or_available(make_site: MakeSite) -> None:
    pbxs = Pbxs()
    site = await make_site(pbxs)
    _, listed, _ = await get(site, "/directory/identities")
    assert (listed["complete"], bool(listed["note"])) == (False, True)
    phones = tuple(Endpoint(name=f"PJSIP/{name}", online=True) for name in ("a", "b", "c"))
    pbxs.play(EndpointsSnapshot(pbx="main", at=1.0, endpoints=phones))
    for person, phone in (("anna", "PJSIP/a"), ("ben", "PJSIP/b")):
        body = {"id": person, "interfaces": [{"pbx": "main", "interface": phone}]}
        assert (await get(site, "/directory/people", "POST", json=body))[0] == 201

    async def names(query: str) -> list[str]:
        _, listed, _ = await get(site, f"/directory/identities?{query}")
        assert listed["complete"]
        return [each["interface"] for each in listed["identities"]]

    assert await names("") == ["PJSIP/a", "PJSIP/b", "PJSIP/c"]
    assert await names("which=free") == ["PJSIP/c"]
    assert await names("which=allocated") == ["PJSIP/a", "PJSIP/b"]
    assert await names("which=available&person=anna") == ["PJSIP/a", "PJSIP/c"]


async def test_people_of_the_settings_stay_as_they_are(make_site: MakeSite) -> None:
    site = await make_site(agents={"anna": AgentSettings(name="Anna", interfaces=("PJSIP/anna",))})
    _, listed, _ = await get(site, "/directory/people")
    assert [(person["id"], person["source"]) for person in listed["people"]] == [("anna", "config")]
    for method, body in (("PUT", {}), ("DELETE", None)):
        status, problem, _ = await get(site, "/directory/people/anna", method, json=body)
        assert status == 409
        assert "settings file" in problem["detail"]
    phone = {"pbx": "main", "interface": "PJSIP/anna"}
    status, problem, _ = await get(site, "/directory/people", "POST", json={"id": "ben", "interfaces": [phone]})
    assert (status, "belongs to anna" in problem["detail"]) == (409, True)
    assert not site.directories
    assert (await get(site, "/directory/people", "POST", json={"id": "ben"}))[0] == 201
    assert [[person.id for person in people] for people in site.directories] == [["anna", "ben"]]


async def test_figures_are_those_of_the_counts(make_site: MakeSite) -> None:
    pbxs = Pbxs()
    site = await make_site(pbxs)
    pbxs.play(*recorded())
    site.now = recorded()[-1].at
    _, listed, _ = await get(site, "/figures/queues")
    outcomes = pbxs.states()["main"].outcomes
    for queue in listed["queues"]:
        assert queue["figures"]["today"]["offered"] == sum(outcomes.get(queue["queue"], {}).values())
    _, one, _ = await get(site, "/figures/queues/main/support")
    assert one["figures"] == next(each["figures"] for each in listed["queues"] if each["queue"] == "support")
    _, agents, _ = await get(site, "/figures/agents")
    assert {agent["agent"]: agent["figures"]["today"]["answered"] for agent in agents["agents"]} == {
        "PJSIP/agent1": 1,
        "PJSIP/agent2": 1,
    }
    _, agent, _ = await get(site, "/figures/agents/main/PJSIP%2Fagent1")
    assert agent in agents["agents"]
    assert (await get(site, "/figures/agents/main/nobody"))[0] == 404
    assert (await get(site, "/figures/queues/main/nothing"))[0] == 404


# -- the document -----------------------------------------------------------------------------------------------


async def test_the_published_document_is_the_served_one(make_site: MakeSite) -> None:
    site = await make_site()
    _, served, _ = await get(site, "/openapi.json")
    assert served == json.loads(SNAPSHOT.read_text()), "write it anew: python -m connector.web.schemas docs/schemas"


@pytest.mark.timeout(240)
async def test_requests_of_all_kinds_find_the_document_true(make_site: MakeSite, tmp_path: Path) -> None:
    """Schemathesis makes requests from the document, right ones and wrong ones, and holds every answer against it."""
    site = await make_site(shift(), anonymous="")
    headers = await site.token(Role.ADMIN)
    await site.keep(*(call(number, site.now - number - 1) for number in range(5)))
    # 422: a body of the described shape that no schema can tell to be useless, such as the URL of a profile.
    (tmp_path / "schemathesis.toml").write_text(
        "[checks.positive_data_acceptance]\n"
        'expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "422", "429", "5xx"]\n'
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "schemathesis.cli", "run", f"{site.url}/api/v1/openapi.json"),
        *("--header", f"Authorization: {headers['Authorization']}"),
        "--suppress-health-check=filter_too_much",
        # It would take its own rights away.
        *(f"--exclude-operation-id={name}" for name in ("change_account", "remove_account")),
        *("--max-examples", "8", "--seed", "1", "--workers", "1", "--generation-database", "none", "--no-color"),
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
