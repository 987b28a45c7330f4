"""Who may come in, and from where."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from connector.access.rights import Role, TokenScope
from connector.config import HttpSettings
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Site


async def status(site: Site, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, site.url + path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        ) as answer,
    ):
        return answer.status, answer.headers


PATHS = ("/api/v1/state", "/api/v1/queues", "/api/v1/openapi.json", "/api/v1/live", "/api/nothing", "/metrics")


@pytest.mark.parametrize(
    "offered",
    ["", "Bearer", "Bearer wrong", "Bearer act_0123_456", "Basic YTpi", "Bearer ä", "Bearer act_ID_wrong", "whole"],
)
async def test_without_a_token_nothing_of_the_api_is_told(make_site: MakeSite, offered: str) -> None:
    site = await make_site(anonymous="")
    good = (await site.token(Role.ADMIN))["Authorization"]
    offered = good + "x" if offered == "whole" else offered.replace("ID", good.split("_")[1])
    for path in PATHS:
        code, headers = await status(site, path, Authorization=offered)
        assert code == 401, path
        assert headers["WWW-Authenticate"].startswith("Bearer")


async def test_with_a_token_all_is_as_far_as_its_scopes_go(make_site: MakeSite) -> None:
    site = await make_site(anonymous="")
    whole = await site.token(Role.ADMIN)
    for path in ("/api/v1/state", "/api/v1/queues", "/api/v1/openapi.json", "/metrics"):
        assert (await status(site, path, **whole))[0] == 200, path
    reader = await site.token(Role.ADMIN, TokenScope.READ)
    scraper = await site.token(Role.VIEWER, TokenScope.METRICS)
    for path, read, scraped in (
        ("/api/v1/queues", 200, 403),
        ("/api/v1/state", 403, 403),
        ("/api/v1/accounts", 403, 403),
        ("/api/v1/audit", 403, 403),
        ("/metrics", 403, 200),
        ("/api/v1/live", 426, 403),
    ):
        assert (await status(site, path, **reader))[0] == read, path
        assert (await status(site, path, **scraper))[0] == scraped, path
    assert (await status(site, "/healthz"))[0] == 200, "a probe of an orchestrator has no token"
    assert (await status(site, "/"))[0] == 200, "the page itself tells nothing"


async def test_a_token_ends_with_its_time_its_account_or_itself(make_site: MakeSite) -> None:
    site = await make_site(anonymous="")
    admin = await site.token(Role.ADMIN)
    async with aiohttp.ClientSession(headers=admin) as session:
        body = {"label": "short", "scopes": ["read"], "days": 1}
        async with session.post(f"{site.url}/api/v1/accounts/admin-0/tokens", json=body) as answer:
            made = await answer.json()
            assert answer.status == 201
        short = {"Authorization": f"Bearer {made['token']}"}
        assert (await status(site, "/api/v1/queues", **short))[0] == 200
        site.now += 86_400
        assert (await status(site, "/api/v1/queues", **short))[0] == 401
        site.now -= 86_400
        async with session.delete(f"{site.url}/api/v1/accounts/admin-0/tokens/{made['id']}") as answer:
            assert answer.status == 204
        assert (await status(site, "/api/v1/queues", **short))[0] == 401
        other = await site.token(Role.VIEWER, queues=("*",))
        assert (await status(site, "/api/v1/queues", **other))[0] == 200
        fields = {"role": "viewer", "queues": ["*"], "disabled": True}
        async with session.put(f"{site.url}/api/v1/accounts/viewer-1", json=fields) as answer:
            assert answer.status == 200
        assert (await status(site, "/api/v1/queues", **other))[0] == 401


@pytest.mark.parametrize(("metrics", "code"), [("login", 401), ("open", 200), ("off", 404)])
async def test_metrics_have_a_switch_of_their_own(make_site: MakeSite, metrics: str, code: int) -> None:
    site = await make_site(anonymous="", metrics=metrics)
    assert (await status(site, "/metrics"))[0] == code
    assert (await status(site, "/api/v1/state"))[0] == 401


@pytest.mark.parametrize(("health", "code"), [("login", 401), ("open", 200), ("off", 404)])
async def test_so_has_health(make_site: MakeSite, health: str, code: int) -> None:
    site = await make_site(anonymous="", health=health)
    for path in ("/healthz", "/readyz"):
        assert (await status(site, path))[0] == code


async def test_a_programs_websocket_may_offer_its_token_as_a_subprotocol(make_site: MakeSite) -> None:
    site = await make_site(anonymous="")
    token = (await site.token(Role.VIEWER, TokenScope.READ))["Authorization"].removeprefix("Bearer ")
    async with aiohttp.ClientSession() as session:
        protocols = ("connector.v1", f"bearer.{token}")
        async with session.ws_connect(f"{site.url}/api/v1/live", protocols=protocols) as socket:
            assert socket.protocol == "connector.v1", "the token is not sent back"
        async with session.ws_connect(f"{site.url}/api/v1/live", protocols=(f"bearer.{token}",)):
            pass
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"{site.url}/api/v1/live", protocols=("connector.v1", "bearer.wrong"))


async def test_a_name_pointed_at_us_is_refused_where_nobody_logs_in(make_site: MakeSite) -> None:
    site = await make_site(allowed_origins=("https://wall.example",))
    for host, expected in {
        "evil.example": 403,
        "evil.example:8089": 403,
        "127.0.0.1.evil.example": 403,
        "localhost:8089": 200,
        "127.0.0.1": 200,
        "[::1]:8089": 200,
        "wall.example": 200,
        "[": 403,
    }.items():
        assert (await status(site, "/api/v1/state", Host=host))[0] == expected, host
    token = await site.token(Role.ADMIN)
    assert (await status(site, "/api/v1/state", Host="pbx.example", **token))[0] == 200


async def test_a_foreign_page_cannot_use_a_browser_that_may(make_site: MakeSite) -> None:
    site = await make_site(allowed_origins=("https://wall.example",))
    own = site.url
    for origin, expected in {"https://evil.example": 403, "null": 403, own: 200, "https://wall.example": 200}.items():
        assert (await status(site, "/api/v1/state", Origin=origin))[0] == expected, origin
        code, _ = await status(site, "/api/v1/directory/people/x", "DELETE", Origin=origin)
        assert code == (404 if expected == 200 else 403)


async def test_forwarded_headers_count_only_from_a_trusted_proxy(make_site: MakeSite) -> None:
    forwarded = {
        "X_Forwarded_For": "192.0.2.66, 198.51.100.7",
        "X_Forwarded_Proto": "https",
        "X_Forwarded_Host": "wall.example",
    }
    for trusted, remote, code in (((), "127.0.0.1", 403), (("127.0.0.0/8",), "198.51.100.7", 404)):
        site = await make_site(trusted_proxies=trusted)
        found, _ = await status(
            site, "/api/v1/directory/people/x", "DELETE", Origin="https://wall.example", Host="127.0.0.1", **forwarded
        )
        assert found == 403, "anonymous is for names of this machine alone"
        token = await site.token(Role.ADMIN)
        found, _ = await status(
            site, "/api/v1/directory/people/x", "DELETE", Origin="https://wall.example", **forwarded, **token
        )
        assert found == code
        if trusted:
            assert site.deeds[-1].remote == remote, "the hop that our proxy saw, not what the client claims"


async def test_every_answer_has_the_protecting_headers(make_site: MakeSite) -> None:
    site = await make_site(anonymous="")
    for path in ("/", "/metrics", "/api/v1/state", "/nothing", "/api/v1/nothing", "/api/v1/session"):
        _, headers = await status(site, path)
        assert headers["X-Content-Type-Options"] == "nosniff", path
        policy = headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy, path
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "pbx.example"])
def test_nobody_listens_widely_in_the_clear(host: str) -> None:
    with pytest.raises(ValidationError, match=r"passwords would go there in the clear: set tls_certificate"):
        HttpSettings(host=host)
    assert HttpSettings(host=host, trusted_proxies=("10.0.0.1",)).host == host
    assert HttpSettings(host=host, plain=True).host == host
    with pytest.raises(ValidationError, match="anonymous must be empty there"):
        HttpSettings(host=host, plain=True, anonymous="viewer")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "::1", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert HttpSettings(host=host).anonymous == ""


@pytest.mark.parametrize(
    "settings",
    [
        {"tls_certificate": "/x.pem"},
        {"trusted_proxies": ["proxy.example"]},
        {"anonymous": "root"},
        {"allowed_origins": ["wall.example"]},
        {"allowed_origins": ["https://wall.example/path"]},
        {"oidc": {"issuer": "http://login.example"}},
    ],
)
def test_settings_that_protect_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpSettings(**settings)
