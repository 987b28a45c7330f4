"""Profiles over REST."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Site

URL = {"url": "wss://bot.example.com/media"}


@pytest.fixture
async def site(make_site: MakeSite) -> Site:
    return await make_site()


async def ask(site: Site, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{site.url}/api/v1/profiles{path}", json=body) as answer,
    ):
        return answer.status, await answer.json() if answer.status != 204 else None


async def test_a_profile_from_its_beginning_to_its_end(site: Site) -> None:
    status, made = await ask(site, "POST", "", {"name": "sales", "settings": {**URL, "match": {"dids": ["+49*"]}}})
    assert (status, made["version"], made["source"]) == (201, 1, "api")
    assert made["settings"]["match"]["dids"] == ["+49*"]
    assert made["settings"]["max_session_minutes"] == 60, "what is not given is shown as it is in effect"
    status, changed = await ask(site, "PUT", "/sales", {"settings": {**URL, "enabled": False}, "version": 1})
    assert (status, changed["version"]) == (200, 2)
    assert (await ask(site, "GET", "/sales"))[1] == changed
    _, listed = await ask(site, "GET", "")
    assert [each["name"] for each in listed["profiles"]] == ["fixed", "sales"]
    assert (await ask(site, "DELETE", "/sales?version=1"))[0] == 409
    assert (await ask(site, "DELETE", "/sales?version=2"))[0] == 204
    _, versions = await ask(site, "GET", "/sales/versions")
    assert [each["version"] for each in versions["versions"]] == [3, 2, 1]
    assert (await ask(site, "GET", "/sales"))[0] == 404
    deeds = [(deed.action, deed.target, deed.result) for deed in site.deeds]
    assert deeds == [
        ("profile.add", "sales", "ok"),
        ("profile.replace", "sales", "ok"),
        ("profile.remove", "sales", "outdated"),
        ("profile.remove", "sales", "ok"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "", {"name": "sales", "settings": {"url": "ftp://x"}}, 422, "url: must be a URL that starts with"),
        ("POST", "", {"name": "sales", "settings": {**URL, "colour": 1}}, 422, "colour: unknown key"),
        ("POST", "", {"name": "Sales", "settings": URL}, 400, "name"),
        ("POST", "", {"name": "fixed", "settings": URL}, 409, "already"),
        ("PUT", "/fixed", {"settings": URL}, 409, "in the settings file"),
        ("DELETE", "/fixed", None, 409, "in the settings file"),
        ("DELETE", "/nobody", None, 404, "no profile nobody"),
        ("GET", "/nobody/versions", None, 404, "no profile nobody"),
        ("PUT", "/new", {"settings": URL, "version": 3}, 409, "version 0 now"),
    ],
)
async def test_what_cannot_be_done_is_said(
    site: Site, method: str, path: str, body: Any, status: int, words: str
) -> None:
    found, problem = await ask(site, method, path, body)
    assert found == status
    assert words in problem["detail"]


async def test_no_answer_shows_a_secret(site: Site) -> None:
    settings = {**URL, "auth": {"kind": "bearer", "secret": "top-secret"}, "headers": {"X-Key": "top-secret"}}
    answers = [
        await ask(site, "POST", "", {"name": "sales", "settings": settings}),
        await ask(site, "GET", "/sales"),
        await ask(site, "GET", ""),
        await ask(site, "GET", "/sales/versions"),
        await ask(site, "PUT", "/sales", {"settings": {**settings, "colour": 1}}),
    ]
    assert "top-secret" not in str(answers)


def test_the_document_says_what_a_profile_may_hold(site: Site) -> None:
    schema = site.api.document["components"]["schemas"]["NewProfile"]["properties"]["settings"]
    assert "percent" in schema["properties"]["match"]["properties"]
