"""Logging in with a password, and what keeps others from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from connector.access.accounts import Account, hash_of
from connector.access.passwords import hashed
from connector.access.rights import Role
from connector.web.auth.guard import CSRF_HEADER
from connector.web.push.socket import ACCESS_CHANGED
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Site

PASSWORD = "correct horse battery"
HASH = hashed(PASSWORD)


class Browser:
    """Keeps cookies and sends the token against forgery as the page does."""

    def __init__(self, site: Site, http: aiohttp.ClientSession) -> None:
        self.site = site
        self.http = http
        self.csrf = ""

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {CSRF_HEADER: self.csrf} if self.csrf else {}
        async with self.http.request(
            method, f"{self.site.url}/api/v1{path}", json=body, headers={**sent, **headers}
        ) as answer:
            self.cookie = answer.headers.get("Set-Cookie", "")
            text = await answer.read()
            return answer.status, (await answer.json(content_type=None) if text else None)

    async def log_in(self, name: str = "anna", password: str = PASSWORD) -> int:
        status, view = await self.ask("POST", "/session", {"name": name, "password": password})
        if status == 200:
            self.csrf = view["csrf"]
        return status


@asynccontextmanager
async def browser(site: Site) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        yield Browser(site, http)


async def with_anna(make_site: MakeSite, role: Role = Role.ADMIN, **http: Any) -> Site:
    site = await make_site(anonymous="", **http)
    await site.kept_accounts.add(Account(name="anna", role=role, queues=("*",), password_hash=HASH))
    return site


async def test_logging_in_and_out(make_site: MakeSite) -> None:
    site = await with_anna(make_site)
    async with browser(site) as page:
        _, before = await page.ask("GET", "/session")
        assert (before["name"], before["csrf"], before["rights"]) == ("", "", [])
        assert (await page.ask("GET", "/queues"))[0] == 401
        assert await page.log_in() == 200
        assert "HttpOnly" in page.cookie
        assert "SameSite=Strict" in page.cookie
        assert "Secure" not in page.cookie, "it did not come by TLS"
        secret = page.cookie.split(";")[0].partition("=")[2]
        _, view = await page.ask("GET", "/session")
        assert (view["name"], view["role"], view["queues"]) == ("anna", "admin", None)
        assert "administer" in view["rights"]
        assert (await page.ask("GET", "/queues"))[0] == 200
        kept = await site.kept_accounts.all()
        assert list(kept.sessions) == [hash_of(secret)], "only the hash is kept"
        assert (await page.ask("DELETE", "/session"))[0] == 204
        assert (await page.ask("GET", "/queues", Cookie=f"connector={secret}"))[0] == 401, "it ended here, not there"
    assert [(deed.action, deed.actor, deed.target, deed.result) for deed in site.deeds] == [
        ("session.begin", "anonymous", "anna", "ok"),
        ("session.end", "anna", "anna", "ok"),
    ]


async def test_behind_a_proxy_with_tls_the_cookie_goes_by_tls_alone(make_site: MakeSite) -> None:
    site = await with_anna(make_site, trusted_proxies=("127.0.0.1",))
    async with browser(site) as page:
        await page.ask("POST", "/session", {"name": "anna", "password": PASSWORD}, **{"X-Forwarded-Proto": "https"})
        assert page.cookie.startswith("__Host-connector=")
        assert "Secure" in page.cookie
        assert "Path=/" in page.cookie


async def test_a_request_that_acts_must_come_from_our_page(make_site: MakeSite) -> None:
    site = await with_anna(make_site)
    async with browser(site) as page:
        await page.log_in()
        csrf, page.csrf = page.csrf, ""
        for sent in ("", "wrong", "0" * 64):
            status, problem = await page.ask("POST", "/directory/people", {"id": "ben"}, **{CSRF_HEADER: sent})
            assert (status, problem["type"]) == (403, "urn:connector:problem:forged")
        assert (await page.ask("GET", "/queues"))[0] == 200, "reading needs none"
        assert (await page.ask("POST", "/directory/people", {"id": "ben"}, **{CSRF_HEADER: csrf}))[0] == 201
        form = aiohttp.FormData({"name": "anna", "password": PASSWORD})
        async with page.http.post(f"{site.url}/api/v1/session", data=form, headers={CSRF_HEADER: csrf}) as answer:
            assert answer.status == 415, "no form of another site logs anybody in"


async def test_a_websocket_with_a_cookie_says_which_page_opens_it(make_site: MakeSite) -> None:
    site = await with_anna(make_site)
    async with browser(site) as page:
        await page.log_in()
        for headers, expected in (({}, 403), ({"Origin": "https://evil.example"}, 403), ({"Origin": site.url}, 101)):
            try:
                async with page.http.ws_connect(f"{site.url}/api/v1/live", headers=headers):
                    assert expected == 101
            except aiohttp.WSServerHandshakeError as error:
                assert error.status == expected  # noqa: PT017


async def test_guessing_is_slowed_down_by_account_and_does_not_tell_names(make_site: MakeSite) -> None:
    site = await with_anna(make_site)
    async with browser(site) as page:
        for name in ("anna", "nobody"):
            for _ in range(5):
                assert await page.log_in(name, "wrong password") == 401
            status, problem = await page.ask("POST", "/session", {"name": name, "password": PASSWORD})
            assert (status, problem["type"]) == (429, "urn:connector:problem:too-many-tries"), name
        site.now += 31
        assert await page.log_in() == 200
        for _ in range(4):
            await page.log_in("anna", "wrong password")
        assert await page.log_in() == 200, "a right one has the tries forgotten"


async def test_an_address_is_slowed_down_whatever_the_names(make_site: MakeSite) -> None:
    site = await with_anna(make_site)
    async with browser(site) as page:
        codes = [await page.log_in(f"name{n}", "wrong password") for n in range(31)]
    assert codes == [401] * 30 + [429]


async def test_logging_out_everywhere_ends_every_browser_and_its_live_view(make_site: MakeSite) -> None:
    site = await with_anna(make_site, Role.VIEWER)
    async with browser(site) as one, browser(site) as other:
        await one.log_in()
        await other.log_in()
        headers = {"Origin": site.url}
        async with other.http.ws_connect(f"{site.url}/api/v1/live", headers=headers) as live:
            await live.send_str('{"type": "subscribe"}')
            assert (await live.receive_json())["type"] == "snapshot"
            assert (await one.ask("DELETE", "/sessions"))[0] == 204
            while (message := await live.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            assert live.close_code == ACCESS_CHANGED
        assert (await other.ask("GET", "/queues"))[0] == 401


async def test_a_session_has_an_end(make_site: MakeSite) -> None:
    site = await with_anna(make_site, session_hours=1)
    async with browser(site) as page:
        await page.log_in()
        site.now += 3_599
        assert (await page.ask("GET", "/queues"))[0] == 200
        site.now += 1
        assert (await page.ask("GET", "/queues"))[0] == 401
        await site.kept_accounts.forget_expired(site.now)
        assert not (await site.kept_accounts.all()).sessions


async def test_a_new_password_needs_the_old_one_and_ends_the_sessions(make_site: MakeSite) -> None:
    site = await with_anna(make_site)
    async with browser(site) as page:
        await page.log_in()
        for old, new, expected in (
            ("wrong password", "another password", 401),
            (PASSWORD, "short", 422),
            (PASSWORD, "anna-anna-anna", 422),
            (PASSWORD, "another password", 204),
        ):
            assert (await page.ask("PUT", "/session/password", {"old": old, "new": new}))[0] == expected
        assert (await page.ask("GET", "/queues"))[0] == 401
        assert await page.log_in() == 401
        assert await page.log_in(password="another password") == 200
    assert not any(word in repr(site.deeds) for word in (PASSWORD, "another password"))


async def test_what_the_page_keeps_belongs_to_its_user(make_site: MakeSite) -> None:
    site = await with_anna(make_site, Role.VIEWER)
    async with browser(site) as page:
        await page.log_in()
        assert (await page.ask("GET", "/session/preferences"))[1] == {"preferences": {}}
        views = {"preferences": {"views": [{"queues": ["support"]}], "language": "de"}}
        assert (await page.ask("PUT", "/session/preferences", views))[0] == 204
        assert (await page.ask("GET", "/session/preferences"))[1] == views
        assert (await page.ask("PUT", "/session/preferences", {"preferences": {"x": "y" * 33_000}}))[0] == 400


async def test_the_last_administrator_stays_one(make_site: MakeSite) -> None:
    site = await with_anna(make_site)
    async with browser(site) as page:
        await page.log_in()
        assert (await page.ask("PUT", "/accounts/anna", {"role": "viewer"}))[0] == 409
        assert (await page.ask("PUT", "/accounts/anna", {"role": "admin", "disabled": True}))[0] == 409
        assert (await page.ask("DELETE", "/accounts/anna"))[0] == 409
        new = {"name": "ben", "role": "admin", "password": PASSWORD}
        assert (await page.ask("POST", "/accounts", new))[0] == 201
        assert (await page.ask("POST", "/accounts", new))[0] == 409
        assert (await page.ask("DELETE", "/accounts/anna"))[0] == 204
        assert (await page.ask("GET", "/queues"))[0] == 401, "who is gone is out at once"


async def test_a_disabled_account_cannot_log_in(make_site: MakeSite) -> None:
    site = await make_site(anonymous="")
    await site.kept_accounts.add(Account(name="anna", role=Role.ADMIN, password_hash=HASH, disabled=True))
    async with browser(site) as page:
        assert await page.log_in() == 401


async def test_accounts_are_for_administrators(make_site: MakeSite) -> None:
    site = await with_anna(make_site, Role.SUPERVISOR)
    async with browser(site) as page:
        await page.log_in()
        for method, path, body in (
            ("GET", "/accounts", None),
            ("POST", "/accounts", {"name": "eve", "role": "admin"}),
            ("PUT", "/accounts/anna", {"role": "admin"}),
            ("POST", "/accounts/anna/tokens", {"label": "x", "scopes": ["admin"]}),
        ):
            assert (await page.ask(method, path, body))[0] == 403


async def test_a_session_of_another_node_is_found(make_site: MakeSite) -> None:
    site = await with_anna(make_site)
    async with browser(site) as page:
        await page.log_in()
        secret = page.cookie.split(";")[0].partition("=")[2]
    site.accounts._known = type(site.accounts._known)({}, {}, {})
    site.now += 1
    async with browser(site) as other:
        assert (await other.ask("GET", "/queues", Cookie=f"connector={secret}"))[0] == 200


@pytest.mark.parametrize("name", ["an na", "", "x" * 65, "a:b", "../x", "<b>", "anonymous"])
async def test_names_of_accounts_are_plain(make_site: MakeSite, name: str) -> None:
    site = await make_site()
    async with browser(site) as page:
        assert (await page.ask("POST", "/accounts", {"name": name, "role": "viewer"}))[0] == 400
