"""A browser phone's password: to whom it is given, and that it stays nowhere."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from connector.access.rights import Role
from connector.asterisk.phone_credentials import PhoneCredentials
from connector.config import PbxSettings
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Pbxs, Site
from tests.unit.web.test_rest import get

WEB = {"pbx": "main", "interface": "PJSIP/web"}
DESK = {"pbx": "main", "interface": "PJSIP/desk"}
AWAY = {"pbx": "away", "interface": "PJSIP/web"}
SECRET = "p4ssw0rd"


async def site_with_anna(make_site: MakeSite) -> tuple[Site, dict[str, str]]:
    site = await make_site(Pbxs("main", "away"), anonymous="")
    headers = await site.token(Role.ADMIN)
    anna = {"id": "anna", "interfaces": [WEB, DESK, AWAY]}
    assert (await get(site, "/directory/people", "POST", json=anna, headers=headers))[0] == 201
    site.deeds.clear()
    return site, headers


async def test_it_is_given_to_an_administrator_kept_nowhere_and_written_down(make_site: MakeSite) -> None:
    site, headers = await site_with_anna(make_site)
    with capture_logs() as logs:
        status, phone, answer = await get(
            site, "/directory/people/anna/browser-phone", "POST", json=WEB, headers=headers
        )
    assert status == 200
    assert phone == {
        "interface": "PJSIP/web",
        "websocket": "wss://pbx.example/ws",
        "user": "web",
        "username": "web-user",
        "password": "p4ssw0rd-of-web",
        "realm": "",
    }
    assert answer.headers["Cache-Control"] == "no-store"
    (deed,) = site.deeds
    assert (deed.actor, deed.action, deed.target, deed.pbx, deed.detail, deed.result) == (
        "admin-0:test", "phone.credentials", "anna", "main", "PJSIP/web", "ok",
    )  # fmt: skip
    assert SECRET not in repr(deed)
    assert SECRET not in repr(logs)


@pytest.mark.parametrize(
    ("person", "body", "status", "kind"),
    [
        ("anna", DESK, 409, "no-credentials"),
        ("anna", AWAY, 403, "not-allowed"),
        ("anna", {"pbx": "main", "interface": "PJSIP/other"}, 404, "not-found"),
        ("ben", WEB, 404, "not-found"),
    ],
)
async def test_nobody_elses_no_desk_phones_and_no_other_pbxs(
    make_site: MakeSite, person: str, body: dict[str, Any], status: int, kind: str
) -> None:
    site, headers = await site_with_anna(make_site)
    got, problem, _ = await get(site, f"/directory/people/{person}/browser-phone", "POST", json=body, headers=headers)
    assert (got, problem["type"].rpartition(":")[2]) == (status, kind)
    assert [deed.result for deed in site.deeds] == [kind]
    assert problem["remedy"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SUPERVISOR])
async def test_only_administrators(make_site: MakeSite, role: Role) -> None:
    site, _ = await site_with_anna(make_site)
    headers = await site.token(role, queues=("*",))
    status, problem, _ = await get(site, "/directory/people/anna/browser-phone", "POST", json=WEB, headers=headers)
    assert status == 403
    assert SECRET not in repr(problem)


async def test_never_to_nobody_even_where_nobody_is_an_administrator(make_site: MakeSite) -> None:
    site = await make_site()
    assert (await get(site, "/directory/people", "POST", json={"id": "anna", "interfaces": [WEB]}))[0] == 201
    status, problem, _ = await get(site, "/directory/people/anna/browser-phone", "POST", json=WEB)
    assert (status, problem["detail"]) == (403, "Passwords are given to nobody who has not logged in.")


def test_it_shows_nowhere_by_accident() -> None:
    found = PhoneCredentials(user="web", username="web", password=SECRET, realm="")
    assert SECRET not in repr(found)


def test_it_is_off_unless_set() -> None:
    assert PbxSettings.model_fields["browser_phone_credentials"].default is False
