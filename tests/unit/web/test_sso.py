"""Single sign-on at a real provider of OpenID Connect, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from connector.access.accounts import Account, Source
from connector.access.rights import Role
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Site

USERS = [
    {"sub": "1", "preferred_username": "anna", "groups": ["staff", "leads"], "queues": ["alpha"], "teams": "first"},
    {"sub": "2", "preferred_username": "ben", "groups": ["staff"]},
    {"sub": "3", "preferred_username": "root", "groups": ["admins", "staff"]},
    {"sub": "4", "preferred_username": "anna", "groups": ["admins"]},
    {"sub": "5", "preferred_username": "<b>", "groups": ["admins"]},
]
MAPPED = {
    "role_claim": "groups",
    "roles": {"leads": "supervisor", "admins": "admin"},
    "queues_claim": "queues",
    "teams_claim": "teams",
}


@pytest.fixture
async def issuer() -> AsyncIterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    claims = [f"--user-claims={json.dumps(user)}" for user in USERS]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "true", *claims,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while True:
                assert process.returncode is None, "the provider did not start"
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{url}/.well-known/openid-configuration") as answer:
                        if answer.status == 200:
                            break
                await asyncio.sleep(0.05)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def with_provider(make_site: MakeSite, issuer: str, **oidc: Any) -> Site:
    settings = {"issuer": issuer, "client_id": "connector", "client_secret": "shared", "scopes": "openid profile"}
    site = await make_site(anonymous="", oidc={**settings, **oidc})
    site.now = time.time()
    return site


class Visitor:
    """A browser: follows redirects by hand and keeps cookies."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def __aenter__(self) -> Visitor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def at_provider(self, sub: str) -> str:
        """Begins a log-in and logs in at the provider; returns where that sends the browser."""
        async with self.http.get(f"{self.site.url}/api/v1/oidc/login", allow_redirects=False) as answer:
            assert answer.status == 302
            place = answer.headers["Location"]
        query = parse_qs(urlsplit(place).query)
        assert query["code_challenge_method"] == ["S256"]
        async with self.http.post(place, data={"sub": sub}, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            return answer.headers["Location"]

    async def back(self, url: str) -> str:
        async with self.http.get(url, allow_redirects=False) as answer:
            assert answer.status == 302
            return answer.headers["Location"]

    async def session(self) -> dict[str, Any]:
        async with self.http.get(f"{self.site.url}/api/v1/session") as answer:
            view: dict[str, Any] = await answer.json()
            return view

    async def log_in(self, sub: str) -> tuple[str, dict[str, Any]]:
        return await self.back(await self.at_provider(sub)), await self.session()


async def test_groups_of_the_provider_make_roles_and_scopes(make_site: MakeSite, issuer: str) -> None:
    site = await with_provider(make_site, issuer, **MAPPED)
    async with Visitor(site) as anna:
        assert (await anna.session())["sso"] == "Single sign-on"
        place, view = await anna.log_in("1")
        assert place == "/"
        assert (view["name"], view["role"], view["queues"], view["teams"]) == (
            "anna",
            "supervisor",
            ["alpha"],
            ["first"],
        )
        assert view["csrf"]
    async with Visitor(site) as root:
        assert (await root.log_in("3"))[1]["role"] == "admin"
    async with Visitor(site) as ben:
        place, view = await ben.log_in("2")
        assert (place, view["name"]) == ("/#sso=refused", "")
    async with Visitor(site) as impostor:
        place, view = await impostor.log_in("4")
        assert (place, view["name"]) == ("/#sso=refused", ""), "the same name is not the same person"
    async with Visitor(site) as odd:
        assert (await odd.log_in("5"))[0] == "/#sso=refused"
    async with Visitor(site) as anna:
        assert (await anna.log_in("1"))[1]["name"] == "anna", "again, with the account made before"
    done = [(deed.actor, deed.action, deed.result) for deed in site.deeds]
    assert done.count(("anna", "session.begin", "ok")) == 2
    assert ("ben", "session.begin", "refused") in done
    account = site.accounts.account("anna")
    assert account is not None
    assert account.subject == f"{issuer} 1"
    assert not account.password_hash


async def test_without_groups_an_administrator_says_who_may(make_site: MakeSite, issuer: str) -> None:
    site = await with_provider(make_site, issuer)
    async with Visitor(site) as ben:
        assert (await ben.log_in("2"))[0] == "/#sso=refused"
    await site.kept_accounts.add(Account(name="ben", role=Role.VIEWER, queues=("beta",), source=Source.OIDC))
    async with Visitor(site) as ben:
        _, view = await ben.log_in("2")
        assert (view["role"], view["queues"]) == ("viewer", ["beta"])
        async with ben.http.post(f"{site.url}/api/v1/session", json={"name": "ben", "password": "x"}) as answer:
            assert answer.status in (401, 403)
    ben_account = site.accounts.account("ben")
    assert ben_account is not None
    await site.kept_accounts.change(
        Account(name="ben", role=Role.VIEWER, source=Source.OIDC, subject=ben_account.subject, disabled=True)
    )
    async with Visitor(site) as ben:
        assert (await ben.log_in("2"))[0] == "/#sso=refused"


async def test_a_local_account_is_not_taken_over_by_the_same_name(make_site: MakeSite, issuer: str) -> None:
    site = await with_provider(make_site, issuer, **MAPPED)
    await site.kept_accounts.add(Account(name="root", role=Role.ADMIN))
    async with Visitor(site) as root:
        assert (await root.log_in("3"))[0] == "/#sso=refused"


async def test_an_answer_is_for_the_browser_that_began_and_for_once(make_site: MakeSite, issuer: str) -> None:
    site = await with_provider(make_site, issuer, **MAPPED)
    async with Visitor(site) as anna, Visitor(site) as victim:
        url = await anna.at_provider("1")
        assert await victim.back(url) == "/#sso=expired", "nobody is logged in as somebody else by a link"
        assert await anna.back(url.replace("state=", "state=x")) == "/#sso=expired"
        assert (await anna.session())["name"] == ""
        url = await anna.at_provider("1")
        assert await anna.back(url) == "/"
        assert await anna.back(url) == "/#sso=expired"
        url = await anna.at_provider("1")
        other = url.replace("code=", "code=x")
        assert await anna.back(other) == "/#sso=failed"


async def test_what_is_signed_by_somebody_else_or_for_another_is_refused(
    make_site: MakeSite, issuer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    from connector.web.auth.oidc import Provider

    site = await with_provider(make_site, issuer, **MAPPED)
    ask, forged = Provider._ask, RSAKey.generate_key(2048)

    async def with_forged_token(self: Provider, url: str, **options: Any) -> dict[str, Any]:
        answer = await ask(self, url, **options)
        if "id_token" in answer:
            claims = {"iss": issuer, "sub": "3", "aud": "connector", "exp": 4_000_000_000, "groups": ["admins"]}
            answer["id_token"] = jwt.encode({"alg": "RS256"}, claims, forged)
        return answer

    monkeypatch.setattr(Provider, "_ask", with_forged_token)
    async with Visitor(site) as eve:
        assert await eve.back(await eve.at_provider("3")) == "/#sso=failed"

    async def with_its_own_key(self: Provider, url: str, **options: Any) -> dict[str, Any]:
        answer = await with_forged_token(self, url, **options)
        return {"keys": [forged.as_dict(private=False)]} if "keys" in answer else answer

    monkeypatch.setattr(Provider, "_ask", with_its_own_key)
    async with Visitor(site) as eve:
        assert await eve.back(await eve.at_provider("3")) == "/#sso=failed", "it has not our nonce"


async def test_a_provider_that_is_away_is_said(make_site: MakeSite) -> None:
    site = await with_provider(make_site, "http://127.0.0.1:1")
    async with Visitor(site) as anna:
        assert await anna.back(f"{site.url}/api/v1/oidc/login") == "/#sso=unreachable"
        assert await anna.back(f"{site.url}/api/v1/oidc/callback?code=x&state=y") == "/#sso=expired"
