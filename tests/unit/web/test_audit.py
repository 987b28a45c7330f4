"""Every deed through the API is kept: who, what, when, to what, and what came of it."""

from __future__ import annotations

from typing import Any

import pytest

from connector.access.rights import Role
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Pbxs, Site
from tests.unit.web.test_rest import get

READS = {"GET", "HEAD"}


async def test_whatever_acts_has_a_deed_and_what_reads_has_none(make_site: MakeSite) -> None:
    site = await make_site()
    acting = {each.name for each in site.api.endpoints if each.method not in READS}
    assert acting
    assert acting == {each.name for each in site.api.endpoints if each.deed is not None}


ANNA = {"id": "anna", "name": "Anna", "interfaces": [{"pbx": "main", "interface": "PJSIP/anna"}], "teams": ["first"]}
PHONE = {"pbx": "main", "interface": "PJSIP/web"}


@pytest.mark.parametrize(
    ("method", "path", "body", "action", "target", "result"),
    [
        ("POST", "/directory/people", ANNA, "person.add", "anna", "ok"),
        ("POST", "/directory/people", {"id": "ben"}, "person.add", "ben", "conflict"),
        ("PUT", "/directory/people/ben", {"name": "B"}, "person.replace", "ben", "ok"),
        ("PUT", "/directory/people/carl", {}, "person.replace", "carl", "not-found"),
        ("DELETE", "/directory/people/ben", None, "person.remove", "ben", "ok"),
        ("DELETE", "/directory/people/carl", None, "person.remove", "carl", "not-found"),
        ("POST", "/tests/ami", {"pbx": "main"}, "test.ami", "main", "failed"),
        ("POST", "/tests/sip-websocket", {"pbx": "nowhere"}, "test.sip-websocket", "nowhere", "not-found"),
        ("POST", "/directory/people/ben/browser-phone", PHONE, "phone.credentials", "ben", "forbidden"),
        ("POST", "/webhooks/none/revive", None, "webhook.revive", "none", "not-found"),
    ],
)
async def test_a_deed_is_kept_whatever_came_of_it(
    make_site: MakeSite, method: str, path: str, body: Any, action: str, target: str, result: str
) -> None:
    site = await make_site(Pbxs())
    await get(site, "/directory/people", "POST", json={"id": "ben"})
    site.deeds.clear()
    await get(site, path, method, json=body)
    (deed,) = site.deeds
    assert (deed.action, deed.target, deed.result, deed.at) == (action, target, result, site.now)
    assert (deed.actor, deed.remote) == ("anonymous", "127.0.0.1")
    if body is ANNA:
        assert deed.detail == "name 'Anna', uses PJSIP/anna of main, teams first"


async def test_the_token_is_named_and_never_kept(make_site: MakeSite) -> None:
    site = await make_site(anonymous="")
    headers = await site.token(Role.ADMIN)
    await get(site, "/directory/people", "POST", json={"id": "ben"}, headers=headers)
    await get(site, "/directory/people", "POST", json={"id": "carl"})
    (deed,) = site.deeds
    assert deed.actor == "admin-0:test"
    assert headers["Authorization"].rpartition("_")[2] not in repr(deed)


async def test_who_may_not_is_a_deed_too(make_site: MakeSite) -> None:
    site = await make_site(anonymous="")
    headers = await site.token(Role.SUPERVISOR, queues=("*",))
    assert (await get(site, "/directory/people", "POST", json={"id": "ben"}, headers=headers))[0] == 403
    assert [(deed.actor, deed.result) for deed in site.deeds] == [("supervisor-0:test", "forbidden")]


async def test_reading_and_what_is_no_request_of_ours_is_no_deed(make_site: MakeSite) -> None:
    site = await make_site()
    await get(site, "/directory/people")
    await get(site, "/directory/people", "POST", json={"id": "../etc"})
    assert not site.deeds


async def test_a_defect_is_a_deed_too(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site = await make_site()

    async def broken(_self: object, _person: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr("connector.web.directory.WholeDirectory.add", broken)
    assert (await get(site, "/directory/people", "POST", json={"id": "ben"}))[0] == 500
    assert [deed.result for deed in site.deeds] == ["internal-error"]


async def deeds(site: Site, query: str) -> tuple[list[str], str]:
    _, page, _ = await get(site, f"/audit{query}")
    return [deed["target"] for deed in page["deeds"]], page["next"]


async def test_deeds_are_read_back_by_page_actor_and_action(make_site: MakeSite) -> None:
    site = await make_site()
    for name in ("a", "b", "c"):
        await get(site, "/directory/people", "POST", json={"id": name})
        site.now += 1
    await get(site, "/directory/people/a", "DELETE")
    site.now += 1
    await site.keep(*site.deeds)
    assert await deeds(site, "") == (["a", "c", "b", "a"], "")
    first, following = await deeds(site, "?limit=3")
    rest, end = await deeds(site, f"?limit=3&after={following}")
    assert (first + rest, end) == (["a", "c", "b", "a"], "")
    assert (await deeds(site, "?action=person.remove"))[0] == ["a"]
    assert (await deeds(site, "?actor=kim"))[0] == []
