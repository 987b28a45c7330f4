"""Who may come in."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from connector.config import HttpSettings
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Site

TOKEN = "0123456789abcdef"


async def status(site: Site, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, site.url + path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        ) as answer,
    ):
        return answer.status, answer.headers


@pytest.mark.parametrize("offered", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ä"])
async def test_without_the_token_nothing_of_the_api_is_told(make_site: MakeSite, offered: str) -> None:
    site = await make_site(token=TOKEN)
    for path in ("/api/v1/state", "/api/v1/queues", "/api/v1/openapi.json", "/api/v1/live", "/api/nothing", "/metrics"):
        code, headers = await status(site, path, Authorization=offered)
        assert code == 401, path
        assert headers["WWW-Authenticate"].startswith("Bearer")


async def test_with_the_token_all_is(make_site: MakeSite) -> None:
    site = await make_site(token=TOKEN)
    for path in ("/api/v1/state", "/api/v1/queues", "/metrics"):
        assert (await status(site, path, Authorization=f"Bearer {TOKEN}"))[0] == 200
    assert (await status(site, "/healthz"))[0] == 200, "a probe of an orchestrator has no token"
    assert (await status(site, "/"))[0] == 200, "the page itself tells nothing"


async def test_metrics_can_be_left_open(make_site: MakeSite) -> None:
    site = await make_site(token=TOKEN, token_for_metrics=False)
    assert (await status(site, "/metrics"))[0] == 200
    assert (await status(site, "/api/v1/state"))[0] == 401


async def test_a_browsers_websocket_offers_the_token_as_a_subprotocol(make_site: MakeSite) -> None:
    site = await make_site(token=TOKEN)
    async with aiohttp.ClientSession() as session:
        protocols = ("connector.v1", f"bearer.{TOKEN}")
        async with session.ws_connect(f"{site.url}/api/v1/live", protocols=protocols) as socket:
            assert socket.protocol == "connector.v1", "the token is not sent back"
        async with session.ws_connect(f"{site.url}/api/v1/live", protocols=(f"bearer.{TOKEN}",)):
            pass
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"{site.url}/api/v1/live", protocols=("connector.v1", "bearer.wrong"))


async def test_a_name_pointed_at_us_is_refused_without_a_token(make_site: MakeSite) -> None:
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
    with_token = await make_site(token=TOKEN)
    code, _ = await status(with_token, "/api/v1/state", Host="pbx.example", Authorization=f"Bearer {TOKEN}")
    assert code == 200


async def test_a_foreign_page_cannot_use_a_browser_that_may(make_site: MakeSite) -> None:
    site = await make_site(allowed_origins=("https://wall.example",))
    own = site.url
    for origin, expected in {"https://evil.example": 403, "null": 403, own: 200, "https://wall.example": 200}.items():
        assert (await status(site, "/api/v1/state", Origin=origin))[0] == expected, origin
        code, _ = await status(site, "/api/v1/directory/people/x", "DELETE", Origin=origin)
        assert code == (404 if expected == 200 else 403)


async def test_every_answer_has_the_protecting_headers(make_site: MakeSite) -> None:
    site = await make_site(token=TOKEN)
    for path in ("/", "/metrics", "/api/v1/state", "/nothing", "/api/v1/nothing"):
        _, headers = await status(site, path)
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], path


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "pbx.example"])
def test_nobody_listens_widely_without_a_token(host: str) -> None:
    with pytest.raises(ValidationError, match=r"there is no token: set http\.token, or listen on 127\.0\.0\.1"):
        HttpSettings(host=host)
    assert HttpSettings(host=host, token=TOKEN).host == host  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert HttpSettings(host=host).token.get_secret_value() == ""


@pytest.mark.parametrize(
    "settings",
    [
        {"token": "short"},
        {"token": "with spaces in between"},
        {"allowed_origins": ["wall.example"]},
        {"allowed_origins": ["https://wall.example/path"]},
    ],
)
def test_settings_that_protect_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpSettings(**settings)
