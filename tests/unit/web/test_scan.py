"""What a scanner for web faults looks for, at every route that there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from connector.access import passwords
from connector.access.accounts import Account
from connector.access.rights import Role
from connector.web.server import HSTS, Web
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Site

PASSWORD = "correct horse battery"
UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip
SOCKETS = ("/api/v1/live", "/api/v1/listen")


def routes(site: Site) -> Iterator[tuple[str, str]]:
    """Method and path of each, with a word for every parameter."""
    for route in site.web.application().router.routes():
        if route.method not in ("HEAD", "*") and isinstance(route, web.ResourceRoute):
            yield route.method, re.sub(r"\{[^}]*\}", "x", route.resource.canonical if route.resource else "/")


async def logged_in(site: Site, http: aiohttp.ClientSession) -> None:
    """A browser with an administrator's cookie."""
    await site.kept_accounts.add(
        Account(name="root", role=Role.ADMIN, password_hash=passwords.hashed(PASSWORD, name="root"))
    )
    await site.accounts.refresh()
    async with http.post(f"{site.url}/api/v1/session", json={"name": "root", "password": PASSWORD}) as answer:
        assert answer.status == 200, await answer.text()


async def asked(http: aiohttp.ClientSession, method: str, url: str, **headers: str) -> tuple[int, Any]:
    async with http.request(method, url, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers


async def test_every_answer_of_every_route_protects_the_browser(make_site: MakeSite) -> None:
    site = await make_site(anonymous="")
    seen = 0
    async with aiohttp.ClientSession() as http:
        for method, path in (*routes(site), ("GET", "/nothing"), ("PATCH", "/api/v1/state"), ("GET", "/static/x")):
            status, headers = await asked(http, method, site.url + path)
            where = f"{method} {path}: {status}"
            assert headers["X-Content-Type-Options"] == "nosniff", where
            assert "default-src 'none'" in headers["Content-Security-Policy"], where
            assert "unsafe" not in headers["Content-Security-Policy"], where
            assert headers["Permissions-Policy"] == "camera=(), geolocation=(), microphone=(self)", where
            assert headers["Server"] == "connector", f"{where}: tells versions"
            assert "Access-Control-Allow-Origin" not in headers, where
            assert "Strict-Transport-Security" not in headers, "there is no TLS here"
            seen += 1
    assert seen > 60


async def test_a_websocket_is_opened_with_the_same_headers(make_site: MakeSite) -> None:
    site = await make_site()
    async with aiohttp.ClientSession() as http, http.get(f"{site.url}/api/v1/live", headers=UPGRADE) as answer:
        assert answer.status == 101
        assert answer.headers["Server"] == "connector"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_where_we_do_tls_browsers_keep_to_it(make_site: MakeSite) -> None:
    site = await make_site()
    with_tls = site.web._settings.model_copy(update={"tls_certificate": "/x"})
    application = Web(
        settings=with_tls, registry=site.web._registry, not_ready=list, accounts=site.accounts
    ).application()
    answer = web.Response()
    for each in application.on_response_prepare:
        await each(None, answer)  # type: ignore[arg-type]
    assert answer.headers.items() >= HSTS.items()


async def test_nothing_acts_on_a_cookie_alone(make_site: MakeSite) -> None:
    site = await make_site(anonymous="")
    acting = 0
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        await logged_in(site, http)
        assert (await asked(http, "GET", f"{site.url}/api/v1/state"))[0] == 200
        for method, path in routes(site):
            if method == "GET":
                continue
            assert (await asked(http, method, site.url + path))[0] == 403, f"{method} {path}"
            acting += 1
    assert acting > 30


async def test_no_route_and_no_websocket_serves_a_foreign_page(make_site: MakeSite) -> None:
    site = await make_site(anonymous="")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        await logged_in(site, http)
        for method, path in routes(site):
            if path.startswith("/api/"):
                for origin in ("https://evil.example", "null"):
                    status, _ = await asked(http, method, site.url + path, Origin=origin)
                    assert status == 403, f"{method} {path} from {origin}"
        found = {path for method, path in routes(site) if method == "GET"}
        for path in SOCKETS:
            assert path in found
            for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
                status, _ = await asked(http, "GET", site.url + path, **UPGRADE, **headers)
                assert status == 403, f"{path} with {headers}"
            own = {"Origin": site.url, **UPGRADE}
            assert (await asked(http, "GET", site.url + path, **own))[0] != 403, f"{path} is our own page's"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "OPTIONS", "PROPFIND"])
async def test_other_methods_do_nothing(make_site: MakeSite, method: str) -> None:
    site = await make_site(anonymous="")
    async with aiohttp.ClientSession() as http:
        for path in ("/", "/api/v1/state", "/metrics"):
            status, _ = await asked(http, method, site.url + path)
            assert status in (400, 401, 404, 405), path
